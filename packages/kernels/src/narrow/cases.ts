import type { OpCase } from '@magi1/tensor';
import { randomShape } from '../support/random-shapes.ts';
import type { NarrowParams } from './index.ts';

export const cases: readonly OpCase<'x', never, NarrowParams>[] = [
  {
    name: 'last',
    inputs: { x: { shape: [5, 7], dtype: 'f32' } },
    params: { axis: 1, start: 2, length: 3 },
    tolerance: 0,
  },
  {
    name: 'middle',
    inputs: { x: { shape: [3, 5, 7], dtype: 'f32' } },
    params: { axis: 1, start: 1, length: 3 },
    tolerance: 0,
  },
  {
    name: 'first',
    inputs: { x: { shape: [5, 3], dtype: 'f32' } },
    params: { axis: 0, start: 1, length: 3 },
    tolerance: 0,
  },
  {
    name: 'dit4.5b.kv_xattn',
    inputs: { x: { shape: [800, 8, 2, 128], dtype: 'f32' } },
    params: { axis: 2, start: 1, length: 1 },
    tolerance: 0,
    benchmarkOnly: true,
  },
];

export function randomCase(random: (below: number) => number): OpCase<'x', never, NarrowParams> {
  const shape = randomShape(random, 1 + random(4), 4000);
  const axis = random(shape.length);
  const start = random(shape[axis]!);
  const length = random(shape[axis]! - start + 1);
  return { name: 'random', inputs: { x: { shape, dtype: 'f32' } }, params: { axis, start, length }, tolerance: 0 };
}
