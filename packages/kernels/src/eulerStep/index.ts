// One explicit Euler step of the sampler.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { CaseOf, OpTypes, Shape, Tensor } from '@magi1/tensor';
import { elementwise } from '../support/families/elementwise.ts';

export interface EulerStepParams {
  readonly dt: number;
}

export type EulerStep = OpTypes<{ x: Tensor; v: Tensor }, EulerStepParams>;

const step = (name: string, shape: Shape, dt: number, benchmarkOnly = false) =>
  ({
    name,
    inputs: { x: { shape, dtype: 'f32' }, v: { shape, dtype: 'f32' } },
    params: { dt },
    benchmarkOnly,
  }) satisfies CaseOf<EulerStep>;

export const eulerStepOp = defineOp<EulerStep>({
  name: 'eulerStep',
  infer({ x }, { dt }, check) {
    check.dtype('x', 'f32');
    check.is('v', 'f32', x.shape);
    check.finite('dt', dt);
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 2 * elementCount(x.shape), bytes: 12 * elementCount(x.shape) }),
  reference({ inputs: { x, v }, y, params: { dt } }) {
    for (let i = 0; i < x.data.length; i++) y.data[i] = x.data[i]! + v.data[i]! * dt;
  },
  ...elementwise<EulerStep>({
    name: 'eulerStep',
    inputs: ['x', 'v'],
    scalars: ['dt'],
    scalarValues: ({ dt }) => ({ dt }),
    variant: () => ({}),
    wgsl: () => 'x + v * params.dt',
    wasm: (k, { x, v, dt }) => k.madd(v!, dt!, x!),
    cost: 2,
  }),
  randomCase: (random) => step('random', [1 + random(9), 1 + random(70)], random(17) / 32 - 0.25),
  cases: [
    step('odd', [1, 16, 1, 5, 7], 0.0625),
    step('one', [1], -0.3),
    step('zero', [3, 11], 0),
    step('chunk', [1, 16, 6, 90, 90], 0.015625, true),
  ],
});

/** x + v * dt for x and v of the same shape, f32. */
export const eulerStep = (x: Tensor, v: Tensor, { dt }: EulerStepParams): Tensor =>
  runOp(eulerStepOp, { x, v }, { dt });
