import type { CaseOf } from '@magi1/tensor';
import type { Patchify, Unpatchify } from './contract.ts';

export const patchifyCases: readonly CaseOf<Patchify>[] = [
  { name: 'odd', inputs: { x: { shape: [2, 3, 4, 6, 10], dtype: 'f32' } }, params: { patch: [2, 3, 5] }, tolerance: 0 },
  {
    name: 'ragged',
    inputs: { x: { shape: [1, 2, 5, 7, 9], dtype: 'f32' } },
    params: { patch: [2, 2, 4] },
    tolerance: 0,
  },
  {
    name: 'pieces',
    inputs: { x: { shape: [1, 1, 40, 6, 8], dtype: 'f32' } },
    params: { patch: [1, 2, 2] },
    tolerance: 0,
  },
  {
    name: 'dit4.5b.720p',
    inputs: { x: { shape: [1, 16, 6, 90, 90], dtype: 'f32' } },
    params: { patch: [1, 2, 2] },
    tolerance: 0,
    benchmarkOnly: true,
  },
];

export const unpatchifyCases: readonly CaseOf<Unpatchify>[] = [
  {
    name: 'odd',
    inputs: { tokens: { shape: [2 * 2 * 3 * 1, 2 * 3 * 2 * 5], dtype: 'f32' } },
    params: { batch: 2, grid: [2, 3, 1], patch: [2, 3, 2], channels: 5 },
    tolerance: 0,
  },
  {
    name: 'dit4.5b.720p',
    inputs: { tokens: { shape: [6 * 45 * 45, 64], dtype: 'f32' } },
    params: { batch: 1, grid: [6, 45, 45], patch: [1, 2, 2], channels: 16 },
    tolerance: 0,
    benchmarkOnly: true,
  },
  {
    name: 'vae.decode.tile',
    inputs: { tokens: { shape: [3 * 32 * 32, 1024], dtype: 'f32' } },
    params: { batch: 1, grid: [3, 32, 32], patch: [4, 8, 8], channels: 4 },
    tolerance: 0,
    benchmarkOnly: true,
  },
];

type Random = (below: number) => number;
const triple = (random: Random, below: number) => [1 + random(below), 1 + random(below), 1 + random(below)] as const;

export function randomPatchify(random: Random): CaseOf<Patchify> {
  const patch = triple(random, 4);
  const video = patch.map((extent) => extent * (1 + random(3)) + random(extent));
  const shape = [1 + random(2), 1 + random(4), ...video];
  return { name: 'random', inputs: { x: { shape, dtype: 'f32' } }, params: { patch }, tolerance: 0 };
}

export function randomUnpatchify(random: Random): CaseOf<Unpatchify> {
  const [grid, patch] = [triple(random, 3), triple(random, 4)];
  const [batch, channels] = [1 + random(2), 1 + random(5)];
  const product = ([a, b, c]: readonly [number, number, number]) => a * b * c;
  const shape = [batch * product(grid), product(patch) * channels];
  const params = { batch, grid, patch, channels };
  return { name: 'random', inputs: { tokens: { shape, dtype: 'f32' } }, params, tolerance: 0 };
}
