// The sliding window over chunks: which chunks a stage works on, and which part of their steps it takes them through.
import { Magi1Error } from '@magi1/tensor';
import { RequestError, option, worded } from '../wording.ts';

export interface Stage {
  readonly chunkStart: number;
  readonly chunkEnd: number;
  /** Parts of the step axis, in units of numSteps / windowSize: the newest chunk is in part tStart, the oldest in tEnd - 1. */
  readonly tStart: number;
  readonly tEnd: number;
}

/** All stages of a run. `chunkOffset` whole prefix chunks come first and are not worked on. */
export function planStages(chunks: number, windowSize: number, chunkOffset: number): Stage[] {
  return Array.from({ length: chunks - chunkOffset + windowSize - 1 }, (_, k) => {
    const newest = chunkOffset + k;
    return {
      chunkStart: Math.max(chunkOffset, newest - windowSize + 1),
      chunkEnd: Math.min(chunks, newest + 1),
      tStart: Math.max(0, newest - chunks + 1),
      tEnd: Math.min(windowSize, newest - chunkOffset + 1),
    };
  });
}

export interface ChunkCountInput {
  /** New video frames wanted; up to temporalDownsample - 1 are dropped, then whole chunks are made. */
  readonly numFrames: number;
  readonly prefixLatentFrames: number;
  readonly chunkWidth: number;
  readonly temporalDownsample: number;
}

/** Chunks of the whole latent video, prefix included. */
export function countChunks({
  numFrames,
  prefixLatentFrames,
  chunkWidth,
  temporalDownsample,
}: ChunkCountInput): number {
  if (!Number.isInteger(numFrames) || numFrames < temporalDownsample)
    throw new RequestError(
      worded`${option('numFrames')}: a whole number from ${temporalDownsample} up expected, got ${numFrames}`,
    );
  return Math.ceil((Math.floor(numFrames / temporalDownsample) + prefixLatentFrames) / chunkWidth);
}

/** Refuses step counts that the window or the key ranges cannot divide, naming the nearest that they can. */
export function checkSteps(numSteps: number, windowSize: number, rangeCount: number): void {
  if (!Number.isInteger(windowSize) || windowSize < 1)
    throw new Magi1Error(`window_size: expected a whole number from 1 up, got ${windowSize}`);
  if (!Number.isInteger(numSteps) || numSteps < 1)
    throw new RequestError(worded`${option('numInferenceSteps')}: a whole number from 1 up expected, got ${numSteps}`);
  const unit = leastCommonMultiple(windowSize, Math.max(1, rangeCount));
  if (numSteps % unit === 0) return;
  const below = Math.floor(numSteps / unit) * unit;
  const nearest = below === 0 ? `${unit}` : `${below} and ${below + unit}`;
  const ranges = rangeCount > 1 ? ` and the ${rangeCount} key ranges of noise2clean_kvrange` : '';
  throw new RequestError(
    worded`${option('numInferenceSteps')}: ${numSteps} does not divide by the window of ${windowSize}${ranges}; nearest valid: ${nearest}`,
  );
}

function leastCommonMultiple(a: number, b: number): number {
  let [x, y] = [a, b];
  while (y !== 0) [x, y] = [y, x % y];
  return (a / x) * b;
}
