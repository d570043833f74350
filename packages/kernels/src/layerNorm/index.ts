// Layer normalisation over the last axis.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, checkEps, checkOptional, lastDim } from '../support/checks.ts';
import { affineOf, moments } from '../support/reference/moments.ts';
import { rowNormKernels } from '../support/families/row-norm/kernels.ts';
import { cases, randomCase } from './cases.ts';

export interface LayerNormParams {
  /** Inside the root. */
  readonly eps: number;
  /** The weight that multiplies is 1 + weight. */
  readonly onePlusWeight: boolean;
}

export const layerNormOp = defineOp<'x', 'weight' | 'bias', LayerNormParams>({
  name: 'layerNorm',
  infer({ x, weight, bias }, { eps }) {
    checkDType('layerNorm', 'x', x, ['f32']);
    const features = lastDim('layerNorm', 'x', x);
    checkOptional('layerNorm', 'weight', weight, [features]);
    checkOptional('layerNorm', 'bias', bias, [features]);
    checkEps('layerNorm', eps);
    return [{ shape: x.shape, dtype: 'f32' }];
  },
  cost: ({ x }) => ({ flops: 8 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ x, weight, bias }, [y], { eps, onePlusWeight }) {
    const features = x.shape.at(-1)!;
    const affine = affineOf(weight, bias, onePlusWeight);
    for (let row = 0; row < x.data.length; row += features) {
      const { mean, variance } = moments(features, (k) => x.data[row + k]!);
      const scale = 1 / Math.sqrt(variance + eps);
      for (let k = 0; k < features; k++) y!.data[row + k] = affine(k, (x.data[row + k]! - mean) * scale);
    }
  },
  ...rowNormKernels(({ inputs: { x, weight, bias }, outputs, params: { eps, onePlusWeight } }) => ({
    op: 'layerNorm',
    kind: 'layer',
    x,
    y: outputs[0]!,
    weight,
    bias,
    onePlusWeight,
    eps,
  })),
  cases,
  randomCase,
});

export interface LayerNormOptions {
  /** [K] */
  readonly weight?: Tensor | undefined;
  /** [K] */
  readonly bias?: Tensor | undefined;
  readonly eps: number;
  readonly onePlusWeight?: boolean | undefined;
}

/** (x - mean) / sqrt(variance + eps) over the last axis of x [..., K], times weight (or 1 + weight), plus bias; f32. */
export function layerNorm(x: Tensor, { weight, bias, eps, onePlusWeight = false }: LayerNormOptions): Tensor {
  return runOp(layerNormOp, { x, weight, bias }, { eps, onePlusWeight })[0]!;
}
