// The given start of a video: how much of an image or a clip a run takes.
import { usablePrefixFrames } from '../media/prefix-frames.ts';
import type { RgbFrames } from '../media/rgb-frames.ts';
import { option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';

/** What the original takes of a clip. */
export const DEFAULT_PREFIX_FRAMES = 32;

export interface Prefix {
  /** Frames that are encoded, and the latent frames they become. */
  readonly frames: number;
  readonly latentFrames: number;
  /** The pictures, at least `frames` of them; undefined where they have not been read yet. */
  readonly pictures?: RgbFrames | undefined;
  readonly notes: readonly string[];
}

export const NO_PREFIX: Prefix = { frames: 0, latentFrames: 0, notes: [] };

/**
 * How much is taken of a clip when `wanted` frames are asked for; all of them are assumed to be there if the clip has
 * not been read. Frames that fill no latent frame are left out and said in the notes.
 * @returns what is wrong, where nothing of it can be used
 */
export function fitPrefix(pictures: RgbFrames | undefined, wanted: number, fps: number): Prefix | string {
  const available = pictures?.frameCount ?? wanted;
  const { used, latentFrames, note } = usablePrefixFrames(Math.min(available, wanted), fps);
  if (used === 0) return note ?? `no prefix can be made of ${available} frames`;
  const notes = note === undefined ? [] : [note];
  if (available < wanted) notes.unshift(`the clip has ${available} frames at ${fps} fps: all of them are the prefix`);
  return { frames: used, latentFrames, pictures, notes };
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
