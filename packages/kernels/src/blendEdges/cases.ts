import type { CaseOf } from '@magi1/tensor';
import { randomShape } from '../support/random-shapes.ts';
import type { BlendEdges, BlendParams } from './contract.ts';

type BlendCase = CaseOf<BlendEdges>;
const blend = (
  name: string,
  previous: number[],
  current: number[],
  params: BlendParams,
  benchmarkOnly = false,
): BlendCase => ({
  name,
  inputs: { previous: { shape: previous, dtype: 'f32' }, current: { shape: current, dtype: 'f32' } },
  params,
  ...(benchmarkOnly ? { benchmarkOnly } : {}),
});

export const cases: readonly BlendCase[] = [
  blend('last', [2, 3, 9], [2, 3, 7], { axis: 2, extent: 4 }),
  blend('middle', [2, 5, 3], [2, 6, 3], { axis: 1, extent: 2 }),
  blend('clipped', [3, 2, 4], [5, 2, 4], { axis: 0, extent: 9 }),
  blend('none', [3, 4], [3, 4], { axis: 1, extent: 0 }),
  blend('vae.decode.tile', [1, 3, 12, 256, 256], [1, 3, 12, 256, 256], { axis: 4, extent: 64 }, true),
];

export function randomCase(random: (below: number) => number): BlendCase {
  const current = randomShape(random, 1 + random(4), 2000);
  const axis = random(current.length);
  const previous = current.map((dim, a) => (a === axis ? 1 + random(2 * dim) : dim));
  return blend('random', previous, current, { axis, extent: random(2 * current[axis]!) });
}
