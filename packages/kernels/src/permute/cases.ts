import type { OpCase } from '@magi1/tensor';
import { MOST_LOOPS } from '../support/families/strided-copy/loops.ts';
import { randomShape } from '../support/random-shapes.ts';
import type { PermuteParams } from './index.ts';

const permutation = (
  name: string,
  shape: number[],
  axes: number[],
  benchmarkOnly = false,
): OpCase<'x', never, PermuteParams> => ({
  name,
  inputs: { x: { shape, dtype: 'f32' } },
  params: { axes },
  tolerance: 0,
  ...(benchmarkOnly ? { benchmarkOnly } : {}),
});

export const cases: readonly OpCase<'x', never, PermuteParams>[] = [
  permutation('transpose', [5, 7], [1, 0]),
  permutation('021', [3, 4, 5], [0, 2, 1]),
  permutation('vae.unpatch', [2, 1, 3, 2, 2, 3, 5], [0, 6, 1, 4, 2, 3, 5]),
  permutation('rank8', [2, 1, 2, 3, 1, 2, 2, 3], [7, 0, 6, 1, 5, 2, 4, 3]),
  permutation('021.large', [64, 256, 192], [0, 2, 1], true),
  permutation('210.large', [64, 256, 192], [2, 1, 0], true),
];

export function randomCase(random: (below: number) => number): OpCase<'x', never, PermuteParams> {
  const shape = randomShape(random, 1 + random(MOST_LOOPS), 4000);
  const left = shape.map((_, axis) => axis);
  const axes = shape.map(() => left.splice(random(left.length), 1)[0]!);
  return permutation('random', shape, axes);
}
