import type { OpCase } from '@magi1/tensor';
import type { Conv3dParams } from './index.ts';

type Conv3dCase = OpCase<'x' | 'weight', 'bias', Conv3dParams>;

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
