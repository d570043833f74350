// The leading frames of a video, through ffmpeg: resampled in time, then scaled, then RGB, as the original does.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import { checkFrames, checkSides, isRgbFrames } from '../rgb-frames.ts';
import type { MediaInput } from '../rgb-frames.ts';
import { OWN_SCALER, scaleFrames } from '../scale.ts';
import type { LoadedFrames, VideoInputOptions } from '../types.ts';
import { findFfmpegReader } from './ffmpeg.ts';
import type { Ffmpeg } from './ffmpeg.ts';
import { fitFilters, readFrames } from './ffmpeg-read.ts';
import { byteLength, bytesOf, checkFile, checkNoText, inputPath, nameInput } from './read-input.ts';

/** The original's prefix. */
const DEFAULT_FRAMES = 32;
/** Per frame: a decoder holds many of them at once. 8K is half of it. */
const MAX_VIDEO_PIXELS = 2 ** 26;

/** Throws unless videos can be read on this machine. */
export async function requireVideoReader(what: string): Promise<Ffmpeg> {
  const ffmpeg = await findFfmpegReader();
  if ('unusable' in ffmpeg)
    throw new Magi1Error(
      `${what}: reading videos needs ffmpeg (${ffmpeg.unusable}); install it, or give decoded frames`,
    );
  return ffmpeg;
}

export async function loadVideo(input: MediaInput, options: VideoInputOptions): Promise<LoadedFrames> {
  const what = nameInput('video', input);
  const { width, height, fps, maxFrames = DEFAULT_FRAMES, fit = 'stretch', signal } = options;
  checkSides(`${what}: target`, { width, height });
  if (!(fps > 0 && fps <= 1000))
    throw new Magi1Error(`${what}: fps above 0 and up to 1000 expected, got ${String(fps)}`);
  if (!Number.isInteger(maxFrames) || maxFrames < 1)
    throw new Magi1Error(`${what}: maxFrames must be a whole number from 1, got ${String(maxFrames)}`);
  signal?.throwIfAborted();
  if (isRgbFrames(what, input)) {
    checkFrames(what, input);
    const frameCount = Math.min(input.frameCount, maxFrames);
    const data = input.data.subarray(0, frameCount * input.height * input.width * 3);
    const frames = scaleFrames({ ...input, data, frameCount }, { width, height }, fit);
    return { ...frames, decoder: `given frames, ${OWN_SCALER}` };
  }
  const path = inputPath(what, input);
  if (path !== undefined) await checkFile(what, path);
  else if (byteLength(input) === 0) throw new FileFormatError(`${what}: it is empty`);
  const ffmpeg = await requireVideoReader(what);
  if (path !== undefined) return decode(what, ffmpeg, resolve(path), { ...options, maxFrames, fit });
  // ffmpeg has to jump about in most formats, which a pipe does not allow.
  const folder = await mkdtemp(join(tmpdir(), 'magi1-video-'));
  try {
    const file = join(folder, 'video');
    await writeFile(file, await bytesOf(input), signal ? { signal } : {});
    return await decode(what, ffmpeg, file, { ...options, maxFrames, fit });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function decode(
  what: string,
  ffmpeg: Ffmpeg,
  path: string,
  {
    width,
    height,
    fps,
    maxFrames,
    fit,
    signal,
  }: VideoInputOptions & Required<Pick<VideoInputOptions, 'maxFrames' | 'fit'>>,
): Promise<LoadedFrames> {
  await checkNoText(what, path);
  const rate = Number.isInteger(fps) ? String(fps) : `${Math.round(fps * 1000)}/1000`;
  const data = await readFrames(ffmpeg, {
    what,
    input: ['-i', `file:${path}`],
    filters: [`fps=${rate}`, ...fitFilters(fit, width, height)].join(','),
    maxPixels: MAX_VIDEO_PIXELS,
    size: { width, height },
    maxFrames,
    signal,
  });
  const frameCount = data.length / (width * height * 3);
  if (frameCount === 0) throw new FileFormatError(`${what}: there is no frame in it`);
  return { data, frameCount, width, height, decoder: `ffmpeg ${ffmpeg.version}` };
}
