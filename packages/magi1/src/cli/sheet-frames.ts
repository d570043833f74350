// Frames for a contact sheet, evenly spaced over a video whose chunks come one by one.
import type { VideoChunk } from '../pipelines/request.ts';

const MOST_FRAMES = 12;

export class SheetFrames {
  readonly #chosen: readonly number[];
  readonly #size: number;
  readonly #kept: Uint8Array[] = [];

  /** `total` frames will come, of `size` bytes each. */
  constructor(total: number, size: number) {
    const count = Math.min(MOST_FRAMES, total);
    this.#chosen = Array.from({ length: count }, (_, i) => Math.round((i * (total - 1)) / Math.max(1, count - 1)));
    this.#size = size;
  }

  /** Frames in a row, of which the first is number `firstFrame` of the video. */
  add({ frames, firstFrame, frameCount }: Pick<VideoChunk, 'frames' | 'firstFrame' | 'frameCount'>): void {
    for (const index of this.#chosen) {
      const at = (index - firstFrame) * this.#size;
      if (index >= firstFrame && index < firstFrame + frameCount) this.#kept.push(frames.slice(at, at + this.#size));
    }
  }

  get count(): number {
    return this.#kept.length;
  }

  get frames(): Uint8Array {
    return Uint8Array.from(Buffer.concat(this.#kept));
  }
}
