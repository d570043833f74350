// The filters that pictures and videos go through in ffmpeg: upright, in time, scaled.
import { ORIENT_FILTERS } from '../orient.ts';
import type { ImageHeader } from '../image-header.ts';
import type { Fit, Scaler, Size } from '../scale.ts';

/** What a picture's file says of its pixels' aspect is left aside, as in browsers. */
export function pictureFilters(
  { orientation }: Pick<ImageHeader, 'orientation'>,
  fit: Fit,
  size: Size,
  scaler: Scaler,
): string {
  return [...ORIENT_FILTERS[orientation], 'setsar=1', ...fitFilters(fit, size, scaler)].join(',');
}

/**
 * The first picture is at 0: a sound track that starts earlier, an edit list or a cut would otherwise make ffmpeg repeat it
 * or take others when it resamples.
 */
export function videoFilters(fps: number, fit: Fit, size: Size, scaler: Scaler): string {
  const rate = Number.isInteger(fps) ? String(fps) : `${Math.round(fps * 1000)}/1000`;
  return ['setpts=PTS-STARTPTS', `fps=${rate}`, ...fitFilters(fit, size, scaler)].join(',');
}

/** To RGB at once where it is to be accurate: a later conversion would have ffmpeg's default flags again. */
const SCALER_FLAGS: Readonly<Record<Scaler, readonly [flags: string, after: readonly string[]]>> = {
  original: ['', []],
  accurate: [':flags=bicubic+accurate_rnd+full_chroma_int+full_chroma_inp', ['format=rgb24']],
};

/** One of the original's aspect policies. `crop` and `pad` keep the shape that is meant to be seen, with square pixels. */
export function fitFilters(fit: Fit, { width: w, height: h }: Size, scaler: Scaler): string[] {
  const [flags, after] = SCALER_FLAGS[scaler];
  if (fit === 'stretch') return [`scale=${w}:${h}${flags}`, ...after];
  const choose = fit === 'crop' ? 'max' : 'min';
  const width = `${choose}(${w}\\,max(1\\,round(${h}*iw*sar/ih)))`;
  const height = `${choose}(${h}\\,max(1\\,round(${w}*ih/sar/iw)))`;
  const place = fit === 'crop' ? `crop=${w}:${h}` : `pad=${w}:${h}:(ow-iw)/2:(oh-ih)/2:black`;
  return [`scale=${width}:${height}${flags}`, ...after, place];
}
