// One explicit Euler step of the sampler.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { OpCase, Shape, Tensor } from '@magi1/tensor';
import { checkDType, checkFinite, checkShapeIs } from '../support/checks.ts';
import { elementwise } from '../support/families/elementwise.ts';

export interface EulerStepParams {
  readonly dt: number;
}

const step = (name: string, shape: Shape, dt: number, benchmarkOnly = false) =>
  ({
    name,
    inputs: { x: { shape, dtype: 'f32' }, v: { shape, dtype: 'f32' } },
    params: { dt },
    benchmarkOnly,
  }) satisfies OpCase<'x' | 'v', never, EulerStepParams>;

export const eulerStepOp = defineOp<'x' | 'v', never, EulerStepParams>({
  name: 'eulerStep',
  infer({ x, v }, { dt }) {
    checkDType('eulerStep', 'x', x, ['f32']);
    checkDType('eulerStep', 'v', v, ['f32']);
    checkShapeIs('eulerStep', 'v', v, x.shape);
    checkFinite('eulerStep', 'dt', dt);
    return [{ shape: x.shape, dtype: 'f32' }];
  },
  cost: ({ x }) => ({ flops: 2 * elementCount(x.shape), bytes: 12 * elementCount(x.shape) }),
  reference({ x, v }, [y], { dt }) {
    for (let i = 0; i < x.data.length; i++) y!.data[i] = x.data[i]! + v.data[i]! * dt;
  },
  ...elementwise<'x' | 'v', never, EulerStepParams, Record<string, never>>({
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
  runOp(eulerStepOp, { x, v }, { dt })[0]!;
