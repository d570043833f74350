import type { CaseOf } from '@magi1/tensor';
import type { FramesToUint8, Uint8ToVideo } from './contract.ts';

export const framesToUint8Cases: readonly CaseOf<FramesToUint8>[] = [
  {
    name: 'odd',
    inputs: { y: { shape: [2, 3, 2, 5, 7], dtype: 'f32', fill: { kind: 'normal', scale: 0.7 } } },
    params: {},
  },
  { name: 'clips.pieces', inputs: { y: { shape: [2, 3, 5, 7, 9], dtype: 'f32' } }, params: {} },
  { name: 'pieces', inputs: { y: { shape: [1, 3, 4, 16, 16], dtype: 'f32' } }, params: {} },
  {
    name: 'vae.decode.tile',
    inputs: { y: { shape: [1, 3, 12, 256, 256], dtype: 'f32' } },
    params: {},
    benchmarkOnly: true,
  },
];

const bytes = Array.from({ length: 258 }, (_, i) => i % 256);

export const uint8ToVideoCases: readonly CaseOf<Uint8ToVideo>[] = [
  {
    name: 'odd',
    inputs: { frames: { shape: [3, 5, 7, 3], dtype: 'u8', fill: { kind: 'integers', below: 256 } } },
    params: {},
    tolerance: 0,
  },
  {
    name: 'everyByte',
    inputs: { frames: { shape: [2, 1, 43, 3], dtype: 'u8', fill: { kind: 'values', values: bytes } } },
    params: {},
    tolerance: 0,
  },
  {
    name: 'pieces',
    inputs: { frames: { shape: [5, 9, 13, 3], dtype: 'u8', fill: { kind: 'integers', below: 256 } } },
    params: {},
    tolerance: 0,
  },
  {
    name: 'vae.encode.tile',
    inputs: { frames: { shape: [12, 256, 256, 3], dtype: 'u8', fill: { kind: 'integers', below: 256 } } },
    params: {},
    benchmarkOnly: true,
  },
];

type Random = (below: number) => number;

export function randomFramesToUint8(random: Random): CaseOf<FramesToUint8> {
  const shape = [1 + random(3), 3, 1 + random(3), 1 + random(9), 1 + random(13)];
  return { name: 'random', inputs: { y: { shape, dtype: 'f32' } }, params: {} };
}

export function randomUint8ToVideo(random: Random): CaseOf<Uint8ToVideo> {
  const shape = [1 + random(3), 1 + random(9), 1 + random(13), 3];
  return {
    name: 'random',
    inputs: { frames: { shape, dtype: 'u8', fill: { kind: 'integers', below: 256 } } },
    params: {},
    tolerance: 0,
  };
}
