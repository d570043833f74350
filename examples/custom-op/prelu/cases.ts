// Cases of PReLU: sizes with and without whole vectors of four, one element, a row longer than a workgroup.
import type { CaseFill, CaseOf, Shape } from '@magi1/tensor';
import type { Prelu } from './contract.ts';

type PreluCase = CaseOf<Prelu>;

function of(name: string, shape: Shape, fill: CaseFill = { kind: 'normal' }, benchmarkOnly = false): PreluCase {
  const slope = { shape: [shape.at(-1)!], dtype: 'f32' } as const;
  return { name, inputs: { x: { shape, dtype: 'f32', fill }, slope }, params: {}, benchmarkOnly };
}

const edges = [0, -0, 1e-30, -1e-30, 1, -1, 1e30, -1e30, Infinity, -Infinity, NaN];

export const cases: readonly PreluCase[] = [
  of('odd', [3, 5, 7]),
  of('wide', [9, 64]),
  of('one', [1, 1]),
  of('longRow', [2, 4097]),
  of('edges', [1, edges.length], { kind: 'values', values: edges }),
  of('large', [1024, 3072], { kind: 'normal' }, true),
];

export const randomCase = (random: (below: number) => number): PreluCase =>
  of('random', [1 + random(4), 1 + random(5), 1 + random(70)]);
