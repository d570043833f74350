// A copy between tensors as data: nested loops with a stride on either side.
import type { Tensor } from '@magi1/tensor';

/** One loop: its length and how many elements a step moves on in source and target. */
export interface CopyLoop {
  readonly length: number;
  readonly source: number;
  readonly target: number;
}

export interface StridedCopy {
  readonly source: Tensor;
  readonly target: Tensor;
  /** Elements to the first one. */
  readonly sourceOffset: number;
  readonly targetOffset: number;
  /** Outermost first, at most MOST_LOOPS; a copy of one element has none. */
  readonly loops: readonly CopyLoop[];
}

export const MOST_LOOPS = 8;

/** Loops from lengths and strides given axis by axis. */
export function copyLoops(
  lengths: readonly number[],
  source: readonly number[],
  target: readonly number[],
): CopyLoop[] {
  return lengths.map((length, axis) => ({ length, source: source[axis]!, target: target[axis]! }));
}

/** The fewest loops that do the same: without those of length 1, neighbours joined where both sides allow; at least one. */
export function joinedLoops(loops: readonly CopyLoop[]): CopyLoop[] {
  const out: CopyLoop[] = [];
  for (const loop of loops) {
    if (loop.length === 1) continue;
    const outer = out.at(-1);
    const continues = outer?.source === loop.length * loop.source && outer.target === loop.length * loop.target;
    if (outer !== undefined && continues) out[out.length - 1] = { ...loop, length: outer.length * loop.length };
    else out.push(loop);
  }
  return out.length > 0 ? out : [{ length: 1, source: 1, target: 1 }];
}
