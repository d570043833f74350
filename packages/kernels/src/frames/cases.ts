import type { OpCase } from '@magi1/tensor';

export const framesToUint8Cases: readonly OpCase<'y', never, object>[] = [
  {
    name: 'odd',
    inputs: { y: { shape: [2, 3, 2, 5, 7], dtype: 'f32', fill: { kind: 'normal', scale: 0.7 } } },
    params: {},
  },
  {
    name: 'vae.decode.tile',
    inputs: { y: { shape: [1, 3, 12, 256, 256], dtype: 'f32' } },
    params: {},
    benchmarkOnly: true,
  },
];

export const uint8ToVideoCases: readonly OpCase<'frames', never, object>[] = [
  {
    name: 'odd',
    inputs: { frames: { shape: [3, 5, 7, 3], dtype: 'u8', fill: { kind: 'integers', below: 256 } } },
    params: {},
  },
  {
    name: 'vae.encode.tile',
    inputs: { frames: { shape: [12, 256, 256, 3], dtype: 'u8', fill: { kind: 'integers', below: 256 } } },
    params: {},
    benchmarkOnly: true,
  },
];
