import type { CaseOf } from '@magi1/tensor';
import type { Conv3d } from './contract.ts';

type Conv3dCase = CaseOf<Conv3d>;

export const cases: readonly Conv3dCase[] = [
  {
    name: '3x3x3.odd',
    inputs: {
      x: { shape: [2, 4, 3, 5, 7], dtype: 'f32' },
      weight: { shape: [3, 4, 3, 3, 3], dtype: 'f32' },
      bias: { shape: [3], dtype: 'f32' },
    },
    params: { padding: [1, 1, 1], stride: [1, 1, 1] },
  },
  {
    name: '3x3x3.bf16.odd',
    inputs: { x: { shape: [1, 1, 4, 9, 11], dtype: 'f32' }, weight: { shape: [3, 1, 3, 3, 3], dtype: 'bf16' } },
    params: { padding: [1, 1, 1], stride: [1, 1, 1] },
  },
  {
    name: 'strided.f16',
    inputs: { x: { shape: [1, 3, 5, 8, 9], dtype: 'f32' }, weight: { shape: [5, 3, 2, 3, 1], dtype: 'f16' } },
    params: { padding: [0, 1, 0], stride: [1, 2, 3] },
  },
  {
    name: 'wide',
    inputs: { x: { shape: [1, 2, 2, 3, 21], dtype: 'f32' }, weight: { shape: [4, 2, 1, 2, 7], dtype: 'f32' } },
    params: { padding: [0, 1, 3], stride: [1, 1, 1] },
  },
  {
    name: 'clips',
    inputs: { x: { shape: [3, 2, 2, 4, 16], dtype: 'f32' }, weight: { shape: [4, 2, 3, 3, 3], dtype: 'f32' } },
    params: { padding: [1, 1, 1], stride: [1, 1, 1] },
  },
  {
    name: 'filters.pieces',
    inputs: {
      x: { shape: [2, 3, 6, 9, 10], dtype: 'f32' },
      weight: { shape: [68, 3, 3, 3, 3], dtype: 'f32' },
      bias: { shape: [68], dtype: 'f32' },
    },
    params: { padding: [1, 1, 1], stride: [1, 1, 1] },
  },
  {
    name: 'channels.pieces',
    inputs: {
      x: { shape: [1, 5, 7, 20, 21], dtype: 'f32' },
      weight: { shape: [3, 5, 2, 3, 3], dtype: 'f32' },
      bias: { shape: [3], dtype: 'f32' },
    },
    params: { padding: [0, 1, 2], stride: [2, 2, 3] },
  },
  {
    name: 'vae.last_layer.tile',
    inputs: {
      x: { shape: [1, 4, 12, 256, 256], dtype: 'f32' },
      weight: { shape: [3, 4, 3, 3, 3], dtype: 'f32' },
      bias: { shape: [3], dtype: 'f32' },
    },
    params: { padding: [1, 1, 1], stride: [1, 1, 1] },
    benchmarkOnly: true,
  },
];

export function randomCase(random: (below: number) => number): Conv3dCase {
  const triple = (below: number, least = 1) =>
    [least + random(below), least + random(below), least + random(below)] as const;
  const [kernel, padding, stride] = [triple(3), triple(3, 0), triple(3)];
  const video = [1 + random(4), 1 + random(5), 1 + random(20)].map((extent, axis) => Math.max(extent, kernel[axis]!));
  const [channels, filters] = [1 + random(4), 1 + random(6)];
  const dtype = (['f32', 'f16', 'bf16'] as const)[random(3)]!;
  const bias = random(2) === 1 ? { bias: { shape: [filters], dtype: 'f32' as const } } : {};
  return {
    name: 'random',
    inputs: {
      x: { shape: [1 + random(2), channels, ...video], dtype: 'f32' },
      weight: { shape: [filters, channels, ...kernel], dtype },
      ...bias,
    },
    params: { padding, stride },
  };
}
