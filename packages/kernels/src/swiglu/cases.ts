import type { CaseOf } from '@magi1/tensor';
import type { Swiglu } from './contract.ts';

const edges = [0, -0, 1e-30, -1e-30, 20, -20, 88, -88, 100, -100, 1e4, -1e4];

export const cases: readonly CaseOf<Swiglu>[] = [
  { name: 'odd', inputs: { x: { shape: [3, 5, 14], dtype: 'f32', fill: { kind: 'normal', scale: 3 } } }, params: {} },
  { name: 'one', inputs: { x: { shape: [1, 1, 2], dtype: 'f32' } }, params: {} },
  {
    name: 'edges',
    inputs: {
      x: {
        shape: [2 * edges.length],
        dtype: 'f32',
        fill: { kind: 'values', values: [...edges, ...edges.map(() => 2)] },
      },
    },
    params: {},
  },
  { name: 'manyRows', inputs: { x: { shape: [37, 64], dtype: 'f32' } }, params: {} },
  { name: 'wide', inputs: { x: { shape: [2, 8202], dtype: 'f32' } }, params: {} },
  { name: 'dit24b.fc1', inputs: { x: { shape: [256, 32768], dtype: 'f32' } }, params: {}, benchmarkOnly: true },
];
