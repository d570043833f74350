// x * scale + shift with two numbers.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { CaseOf, OpTypes, Shape, Tensor } from '@magi1/tensor';
import { elementwise } from '../support/families/elementwise.ts';

export interface AffineParams {
  readonly scale: number;
  readonly shift: number;
}

export type Affine = OpTypes<{ x: Tensor }, AffineParams>;

const line = (name: string, shape: Shape, scale: number, shift: number, benchmarkOnly = false) =>
  ({
    name,
    inputs: { x: { shape, dtype: 'f32' } },
    params: { scale, shift },
    benchmarkOnly,
  }) satisfies CaseOf<Affine>;

export const affineOp = defineOp<Affine>({
  name: 'affine',
  infer({ x }, { scale, shift }, check) {
    check.dtype('x', 'f32');
    check.finite('scale', scale);
    check.finite('shift', shift);
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 2 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ inputs: { x }, y, params: { scale, shift } }) {
    for (let i = 0; i < x.data.length; i++) y.data[i] = x.data[i]! * scale + shift;
  },
  ...elementwise<Affine>({
    name: 'affine',
    inputs: ['x'],
    scalars: ['scale', 'shift'],
    scalarValues: ({ scale, shift }) => ({ scale, shift }),
    variant: () => ({}),
    wgsl: () => 'x * params.scale + params.shift',
    wasm: (k, { x, scale, shift }) => k.madd(x!, scale!, shift!),
    cost: 2,
  }),
  randomCase: (random) => line('random', [1 + random(9), 1 + random(70)], random(17) / 4 - 2, random(9) - 4),
  cases: [
    line('odd', [3, 5, 7], 0.375, -1.5),
    line('one', [1], 2, 0),
    line('rankZero', [], -1e5, 1e-3),
    line('zeroScale', [2, 9], 0, 3),
    line('large', [1024, 3072], 0.5, 0.25, true),
  ],
});

/** x * scale + shift, any shape, f32. */
export const affine = (x: Tensor, { scale, shift }: AffineParams): Tensor => runOp(affineOp, { x }, { scale, shift });
