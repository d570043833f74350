import type { CaseOf } from '@magi1/tensor';
import type { ResizeTrilinear } from './contract.ts';

export const cases: readonly CaseOf<ResizeTrilinear>[] = [
  { name: 'mixed', inputs: { x: { shape: [4, 3, 5, 7], dtype: 'f32' } }, params: { size: [3, 8, 5] } },
  { name: 'to-one', inputs: { x: { shape: [2, 4, 4, 3], dtype: 'f32' } }, params: { size: [1, 1, 9] } },
  { name: 'pieces', inputs: { x: { shape: [5, 9, 7, 8], dtype: 'f32' } }, params: { size: [3, 20, 9] } },
  { name: 'lines.pieces', inputs: { x: { shape: [5, 9, 7, 3], dtype: 'f32' } }, params: { size: [5, 20, 9] } },
  {
    name: 'vae.pos_embed',
    inputs: { x: { shape: [4, 32, 32, 1024], dtype: 'f32' } },
    params: { size: [3, 32, 32] },
    benchmarkOnly: true,
  },
];

export function randomCase(random: (below: number) => number): CaseOf<ResizeTrilinear> {
  const size = [1 + random(6), 1 + random(6), 1 + random(6)] as const;
  const shape = [1 + random(5), 1 + random(5), 1 + random(5), 1 + random(9)];
  return { name: 'random', inputs: { x: { shape, dtype: 'f32' } }, params: { size } };
}
