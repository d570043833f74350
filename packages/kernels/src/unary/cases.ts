import type { OpCase } from '@magi1/tensor';
import type { UnaryParams } from './index.ts';
import type { UnaryKind } from './reference.ts';

const kinds: readonly UnaryKind[] = ['silu', 'geluErf', 'geluTanh', 'tanh'];

// Values where a naive formula overflows or loses the sign of zero.
const edges = [0, -0, 1e-30, -1e-30, 0.5, -0.5, 3, -3, 9, -9, 20, -20, 88, -88, 100, -100, 1e4, -1e4];

export const cases: readonly OpCase<'x', never, UnaryParams>[] = kinds.flatMap((kind) => [
  {
    name: `${kind}.odd`,
    inputs: { x: { shape: [3, 5, 7], dtype: 'f32', fill: { kind: 'normal', scale: 3 } } },
    params: { kind },
  },
  {
    name: `${kind}.edges`,
    inputs: { x: { shape: [edges.length], dtype: 'f32', fill: { kind: 'values', values: edges } } },
    params: { kind },
  },
  {
    name: `${kind}.large`,
    inputs: { x: { shape: [1024, 3072], dtype: 'f32' } },
    params: { kind },
    benchmarkOnly: true,
  },
]);
