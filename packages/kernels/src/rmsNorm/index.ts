// Root mean square normalisation over the last axis: no mean, no bias.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { CaseOf, OpTypes, Tensor } from '@magi1/tensor';
import { rowNormKernels } from '../support/families/row-norm/kernels.ts';

export interface RmsNormParams {
  /** Inside the root. */
  readonly eps: number;
}

export type RmsNorm = OpTypes<{ x: Tensor; weight: Tensor }, RmsNormParams>;

const rms = (name: string, rows: number, features: number, more: Partial<CaseOf<RmsNorm>> = {}) =>
  ({
    name,
    inputs: { x: { shape: [rows, features], dtype: 'f32' }, weight: { shape: [features], dtype: 'f32' } },
    params: { eps: 1e-6 },
    ...more,
  }) as CaseOf<RmsNorm>;

export const rmsNormOp = defineOp<RmsNorm>({
  name: 'rmsNorm',
  infer({ x }, { eps }, check) {
    check.dtype('x', 'f32');
    check.is('weight', 'f32', [check.lastDim('x')]);
    check.eps(eps);
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 4 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ inputs: { x, weight }, y, params: { eps } }) {
    const features = x.shape.at(-1)!;
    for (let row = 0; row < x.data.length; row += features) {
      let squares = 0;
      for (let k = 0; k < features; k++) squares += x.data[row + k]! ** 2;
      const scale = 1 / Math.sqrt(squares / features + eps);
      for (let k = 0; k < features; k++) y.data[row + k] = x.data[row + k]! * scale * weight.data[k]!;
    }
  },
  ...rowNormKernels(({ inputs: { x, weight }, y, params: { eps } }) => ({
    op: 'rmsNorm',
    kind: 'rms',
    x,
    y,
    weight,
    eps,
  })),
  randomCase: (random) => rms('random', 1 + random(20), 1 + random(300)),
  cases: [
    rms('odd', 15, 77),
    rms('one', 1, 1),
    rms('manyRows', 130, 32),
    {
      ...rms('large', 3, 130),
      inputs: {
        x: { shape: [1, 3, 130], dtype: 'f32', fill: { kind: 'normal', scale: 1e6, mean: 1e6 } },
        weight: { shape: [130], dtype: 'f32' },
      },
    },
    rms('longRow', 2, 12288),
    rms('t5.layer_norm', 800, 4096, { benchmarkOnly: true }),
  ],
});

/** x / sqrt(mean(x^2) + eps) * weight over the last axis of x [..., K] with weight [K]; f32. */
export const rmsNorm = (x: Tensor, weight: Tensor, { eps }: RmsNormParams): Tensor =>
  runOp(rmsNormOp, { x, weight }, { eps });
