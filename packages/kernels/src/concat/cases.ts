import type { OpCase } from '@magi1/tensor';
import { randomShape } from '../support/random-shapes.ts';
import type { ConcatParams } from './index.ts';

type ConcatCase = OpCase<string, never, ConcatParams>;

export const cases: readonly ConcatCase[] = [
  {
    name: 'axis0',
    inputs: { '0': { shape: [3, 5], dtype: 'f32' }, '1': { shape: [4, 5], dtype: 'f32' } },
    params: { axis: 0 },
    tolerance: 0,
  },
  {
    name: 'axis1.three',
    inputs: {
      '0': { shape: [2, 3, 7], dtype: 'f32' },
      '1': { shape: [2, 1, 7], dtype: 'f32' },
      '2': { shape: [2, 5, 7], dtype: 'f32' },
    },
    params: { axis: 1 },
    tolerance: 0,
  },
  {
    name: 'last.i32',
    inputs: {
      '0': { shape: [5, 3], dtype: 'i32', fill: { kind: 'integers', below: 99 } },
      '1': { shape: [5, 2], dtype: 'i32', fill: { kind: 'integers', below: 99 } },
    },
    params: { axis: 1 },
    tolerance: 0,
  },
  {
    name: 'dit4.5b.attention',
    inputs: { '0': { shape: [1024, 3072], dtype: 'f32' }, '1': { shape: [1024, 3072], dtype: 'f32' } },
    params: { axis: 1 },
    tolerance: 0,
    benchmarkOnly: true,
  },
];

export function randomCase(random: (below: number) => number): ConcatCase {
  const shape = randomShape(random, 1 + random(4), 1000);
  const axis = random(shape.length);
  const parts = Array.from({ length: 1 + random(4) }, (_, i) => {
    const part = shape.map((dim, a) => (a === axis ? random(dim + 1) : dim));
    return [String(i), { shape: part, dtype: 'f32' as const }];
  });
  return { name: 'random', inputs: Object.fromEntries(parts) as ConcatCase['inputs'], params: { axis }, tolerance: 0 };
}
