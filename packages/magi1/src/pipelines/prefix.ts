// The given start of a video: how much of an image or a clip a run takes.
import { usablePrefixFrames } from '../media/prefix-frames.ts';
import { takeFrames } from '../media/rgb-frames.ts';
import type { RgbFrames } from '../media/rgb-frames.ts';
import type { Fit, Size } from '../media/scale.ts';
import type { VideoEnd } from '../media/types.ts';
import { option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';

/** What the original takes of a clip. */
export const DEFAULT_PREFIX_FRAMES = 32;

/** What becomes of the frames of a clip. */
export interface ClipCounts {
  /** Which end of it is continued. */
  readonly from: VideoEnd;
  /** At the run's frame rate; of a clip that is continued from its start no more are read than are wanted. */
  readonly framesRead: number;
  readonly framesContinued: number;
  readonly framesDropped: number;
}

export interface Prefix {
  /** Frames that are encoded, and the latent frames they become. */
  readonly frames: number;
  readonly latentFrames: number;
  /** The pictures, of which the first `frames` are taken; undefined where they have not been read yet. */
  readonly pictures?: RgbFrames | undefined;
  /** Of a clip that has been read. */
  readonly clip?: ClipCounts | undefined;
  readonly notes: readonly string[];
}

export const NO_PREFIX: Prefix = { frames: 0, latentFrames: 0, notes: [] };

/**
 * How much is taken of a clip when `wanted` frames are asked for; all of them are assumed to be there if the clip has
 * not been read. Frames that fill no latent frame are left out, at the end that is not continued.
 * @returns what is wrong, where nothing of it can be used
 */
export function fitPrefix(
  pictures: (RgbFrames & { readonly clipFrames?: number }) | undefined,
  wanted: number,
  fps: number,
  from: VideoEnd,
): Prefix | string {
  const available = pictures?.frameCount ?? wanted;
  const { used, latentFrames, note } = usablePrefixFrames(Math.min(available, wanted), fps, from);
  if (used === 0) return note ?? `no prefix can be made of ${available} frames`;
  const notes = note === undefined ? [] : [note];
  if (pictures === undefined) return { frames: used, latentFrames, notes };
  const framesRead = Math.max(pictures.clipFrames ?? 0, available);
  const clip = { from, framesRead, framesContinued: used, framesDropped: framesRead - used };
  const all = pictures.clipFrames !== undefined || !('decoder' in pictures);
  return {
    frames: used,
    latentFrames,
    pictures: takeFrames(takeFrames(pictures, wanted, from), used, from),
    clip,
    notes: [describeClip(clip, fps, all), ...notes],
  };
}

/** One line for a user. */
function describeClip(
  { from, framesRead, framesContinued: used, framesDropped: rest }: ClipCounts,
  fps: number,
  all: boolean,
) {
  const frames = framesRead === 1 ? '1 frame' : `${framesRead} frames`;
  const read = `clip: ${frames} read at ${fps} fps, `;
  const unread = all ? '' : '; what follows is not read';
  if (rest === 0) return `${read}${used === 1 ? 'it is' : 'all are'} continued${unread}`;
  const [which, where] = from === 'end' ? ['last', 'before'] : ['first', 'after'];
  const taken = used === 1 ? `the ${which} one is` : `the ${which} ${used} are`;
  return `${read}${taken} continued, the ${rest} ${where} ${used === 1 ? 'it' : 'them'} ${rest === 1 ? 'is' : 'are'} dropped${unread}`;
}

/** From which change of its shape on a user is told. */
const NOTICEABLE = 1.05;

/** Where a picture is squeezed. */
export function shapeNotes(what: string, shape: Size | undefined, target: Size | undefined, fit: Fit = 'stretch') {
  if (shape === undefined || target === undefined || fit !== 'stretch') return [];
  const change = (target.width / target.height) * (shape.height / shape.width);
  const factor = Math.max(change, 1 / change);
  if (factor < NOTICEABLE) return [];
  return [
    `${what}: ${shape.width}x${shape.height} is squeezed into ${target.width}x${target.height}, ${factor.toFixed(2)} times as ${change < 1 ? 'narrow' : 'wide'} as it should be; fit pad or crop keeps its shape`,
  ];
}

/** What is wrong with a number of prefix frames that was asked for, whatever the clip. */
export function prefixFault(wanted: number, fps: number): Wording | undefined {
  const { used, note } = usablePrefixFrames(wanted, fps);
  if (used === wanted) return undefined;
  let above = wanted;
  while (above < wanted + fps && usablePrefixFrames(above, fps).used !== above) above++;
  const nearest = [used, above].filter((frames) => frames > 0 && usablePrefixFrames(frames, fps).used === frames);
  return worded`${option('prefixFrames')}: ${note ?? `${wanted} frames cannot be used`}${nearest.length > 0 ? `; nearest valid: ${nearest.join(' and ')}` : ''}`;
}
