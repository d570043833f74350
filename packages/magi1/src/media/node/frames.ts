// Checks that every writer makes on what it is given.
import { Magi1Error, describeValue } from '@magi1/tensor';
import type { VideoMetadata } from '../mp4.ts';
import type { VideoOptions } from '../types.ts';

export function checkSize(what: string, { width, height, fps }: Pick<VideoOptions, 'width' | 'height' | 'fps'>): void {
  for (const [name, value] of Object.entries({ width, height })) {
    if (!Number.isInteger(value) || value < 1 || value > 16384) {
      throw new Magi1Error(`${what}: ${name} from 1 to 16384 expected, got ${value}`);
    }
  }
  if (!(fps > 0 && fps <= 1000)) throw new Magi1Error(`${what}: fps above 0 and up to 1000 expected, got ${fps}`);
}

export function checkEvenSize(what: string, { width, height }: Pick<VideoOptions, 'width' | 'height'>): void {
  if (width % 2 !== 0 || height % 2 !== 0) {
    throw new Magi1Error(
      `${what}: mp4 needs an even width and height, got ${width}x${height}; write PNGs to a folder instead`,
    );
  }
}

/** Views of the single frames in [count, height, width, 3]. */
export function splitFrames(
  what: string,
  frames: Uint8Array,
  count: number,
  width: number,
  height: number,
): Uint8Array[] {
  const size = width * height * 3;
  // Others convert without a word when they are copied: floats from 0 to 1 would be a black video.
  if (!((frames as unknown) instanceof Uint8Array))
    throw new Magi1Error(`${what}: frames as a Uint8Array expected, got ${describeValue(frames)}`);
  if ((count as unknown) === undefined)
    throw new Magi1Error(`${what}: the number of frames is missing: write(frames, count)`);
  if (!Number.isInteger(count) || count < 0 || frames.length !== count * size) {
    throw new Magi1Error(
      `${what}: ${count} frames of ${width}x${height} RGB are ${count * size} bytes, got ${frames.length} bytes`,
    );
  }
  return Array.from({ length: count }, (_, i) => frames.subarray(i * size, (i + 1) * size));
}

/** Text inside the file is for titles; a whole record belongs into the sidecar. */
const MOST_TEXT = 2 ** 16;

export function checkMetadata(what: string, metadata: VideoMetadata | undefined): void {
  for (const [name, value] of Object.entries((metadata ?? {}) as Readonly<Record<string, unknown>>)) {
    if (value === undefined) continue;
    if (typeof value !== 'string' || value.includes('\0') || value.length > MOST_TEXT)
      throw new Magi1Error(
        `${what}: metadata ${name}: text of up to ${MOST_TEXT} characters without NUL expected, got ${typeof value === 'string' ? `${value.length} characters` : typeof value}`,
      );
  }
}
