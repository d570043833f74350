// Decoded frames, and the checks on them. uint8 RGB, row-major.
import { Magi1Error, describeValue } from '@magi1/tensor';

/** Decoded frames: what `loadImage` and `loadVideo` give, and take. */
export interface RgbFrames {
  /** RGB, [frameCount, height, width, 3]. */
  readonly data: Uint8Array;
  readonly frameCount: number;
  readonly width: number;
  readonly height: number;
}

/** What a stretch of frames is called by: a path, bytes, a Blob, or frames that are decoded already. */
export type MediaInput = string | URL | Uint8Array | ArrayBuffer | Blob | RgbFrames;

export const MAX_SIDE = 16384;
/** Of one picture: beyond it, it is refused before it is decoded. */
export const MAX_PIXELS = MAX_SIDE * MAX_SIDE;

/** Whether an input is decoded frames; refuses what is not an input at all. */
export function isRgbFrames(what: string, input: MediaInput): input is RgbFrames {
  if (typeof input === 'object' && input !== null) {
    if ('data' in input) return true;
    if (ArrayBuffer.isView(input) || input instanceof ArrayBuffer || input instanceof Blob || input instanceof URL)
      return false;
  }
  if (typeof input === 'string') return false;
  throw new Magi1Error(`${what}: a path, bytes or decoded frames expected, got ${describeValue(input)}`);
}

/** Throws unless the sides are whole and within what is handled here. */
export function checkSides(what: string, sides: { readonly width: number; readonly height: number }): void {
  for (const name of ['width', 'height'] as const) {
    const value = sides[name];
    if (!Number.isInteger(value) || value < 1 || value > MAX_SIDE)
      throw new Magi1Error(`${what}: ${name} from 1 to ${MAX_SIDE} expected, got ${describeValue(value)}`);
  }
}

/** Throws unless frames are what they say. */
export function checkFrames(what: string, { data, frameCount, width, height }: RgbFrames): void {
  checkSides(what, { width, height });
  if (!Number.isInteger(frameCount) || frameCount < 1)
    throw new Magi1Error(`${what}: at least one frame expected, got frameCount ${describeValue(frameCount)}`);
  const size = frameCount * height * width * 3;
  if (!(data instanceof Uint8Array) && !((data as unknown) instanceof Uint8ClampedArray))
    throw new Magi1Error(`${what}: data must be a Uint8Array, got ${describeValue(data)}`);
  if (data.length !== size)
    throw new Magi1Error(
      `${what}: ${frameCount} frames of ${width}x${height} RGB are ${size} bytes, got ${data.length} bytes`,
    );
}

/** Frame `index` alone, a view. */
export function frameAt({ data, width, height }: RgbFrames, index: number): Uint8Array {
  const size = width * height * 3;
  return data.subarray(index * size, (index + 1) * size);
}

/** The first or the last frames, at most `count` of them: a view. */
export function takeFrames(frames: RgbFrames, count: number, from: 'start' | 'end'): RgbFrames {
  const frameCount = Math.min(frames.frameCount, count);
  const size = frames.width * frames.height * 3;
  const first = from === 'start' ? 0 : frames.frameCount - frameCount;
  return { ...frames, data: frames.data.subarray(first * size, (first + frameCount) * size), frameCount };
}
