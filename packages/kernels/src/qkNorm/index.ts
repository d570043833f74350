// Normalisation of each head's features, for queries, keys and (in the VAE) values.
import { OpError, defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, checkEps, checkOptional, checkRank } from '../support/checks.ts';
import { affineOf, moments } from '../support/reference/moments.ts';
import { rowNormKernels } from '../support/families/row-norm/kernels.ts';
import { cases, randomCase } from './cases.ts';

export interface QkNormParams {
  /**
   * `weight`: layer norm. `onePlusWeight`: layer norm that multiplies by 1 + weight.
   * `std`: (x - mean) / (std + eps) with the biased standard deviation, no weights.
   */
  readonly kind: 'weight' | 'onePlusWeight' | 'std';
  readonly eps: number;
}

export const qkNormOp = defineOp<'x', 'weight' | 'bias', QkNormParams>({
  name: 'qkNorm',
  infer({ x, weight, bias }, { kind, eps }) {
    checkDType('qkNorm', 'x', x, ['f32']);
    checkRank('qkNorm', 'x', x, 3);
    checkOptional('qkNorm', 'weight', weight, [x.shape[2]!]);
    checkOptional('qkNorm', 'bias', bias, [x.shape[2]!]);
    checkEps('qkNorm', eps);
    if (kind === 'std' && (weight !== undefined || bias !== undefined)) {
      throw new OpError('qkNorm', 'kind std takes no weight and no bias');
    }
    if (kind !== 'std' && weight === undefined) throw new OpError('qkNorm', `kind ${kind} needs a weight`);
    return [{ shape: x.shape, dtype: 'f32' }];
  },
  cost: ({ x }) => ({ flops: 8 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ x, weight, bias }, [y], { kind, eps }) {
    const features = x.shape[2]!;
    const affine = affineOf(weight, bias, kind === 'onePlusWeight');
    for (let row = 0; row < x.data.length; row += features) {
      const { mean, variance } = moments(features, (k) => x.data[row + k]!);
      const scale = 1 / (kind === 'std' ? Math.sqrt(variance) + eps : Math.sqrt(variance + eps));
      for (let k = 0; k < features; k++) y!.data[row + k] = affine(k, (x.data[row + k]! - mean) * scale);
    }
  },
  ...rowNormKernels(({ inputs: { x, weight, bias }, outputs, params: { kind, eps } }) => ({
    op: 'qkNorm',
    kind: kind === 'std' ? 'std' : 'layer',
    x,
    y: outputs[0]!,
    weight,
    bias,
    onePlusWeight: kind === 'onePlusWeight',
    eps,
  })),
  cases,
  randomCase,
});

export interface QkNormOptions extends QkNormParams {
  /** [D] */
  readonly weight?: Tensor | undefined;
  /** [D] */
  readonly bias?: Tensor | undefined;
}

/** Normalises x [S, H, D] over D, head by head; f32. */
export function qkNorm(x: Tensor, { kind, weight, bias, eps }: QkNormOptions): Tensor {
  return runOp(qkNormOp, { x, weight, bias }, { kind, eps })[0]!;
}
