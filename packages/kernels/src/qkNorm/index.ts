// Normalisation of each head's features, for queries, keys and (in the VAE) values.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { CaseFill, CaseOf, OpTypes, Shape, Tensor } from '@magi1/tensor';
import { rowNormKernels } from '../support/families/row-norm/kernels.ts';
import { affineOf, moments } from '../support/reference/moments.ts';

export interface QkNormParams {
  /**
   * `weight`: layer norm. `onePlusWeight`: layer norm that multiplies by 1 + weight.
   * `std`: (x - mean) / (std + eps) with the biased standard deviation, no weights.
   */
  readonly kind: 'weight' | 'onePlusWeight' | 'std';
  readonly eps: number;
}

export type QkNorm = OpTypes<{ x: Tensor; weight?: Tensor; bias?: Tensor }, QkNormParams>;

function heads(
  name: string,
  shape: Shape,
  kind: QkNormParams['kind'],
  more: Partial<CaseOf<QkNorm>> & { fill?: CaseFill } = {},
): CaseOf<QkNorm> {
  const { fill = { kind: 'normal' }, ...rest } = more;
  const features = { shape: [shape[2]!], dtype: 'f32' as const };
  const x = { shape, dtype: 'f32' as const, fill };
  return {
    name,
    inputs: kind === 'std' ? { x } : { x, weight: features, bias: features },
    params: { kind, eps: kind === 'std' ? 1e-5 : 1e-6 },
    ...rest,
  };
}

const cases: readonly CaseOf<QkNorm>[] = [
  heads('weight', [5, 3, 24], 'weight'),
  heads('onePlusWeight', [7, 3, 128], 'onePlusWeight'),
  heads('std', [5, 3, 64], 'std'),
  heads('std.odd', [1, 1, 17], 'std'),
  heads('std.lowVariance', [9, 4, 64], 'std', { fill: { kind: 'normal', scale: 1e-5, mean: 1 } }),
  heads('std.constant', [3, 2, 16], 'std', { fill: { kind: 'normal', scale: 0, mean: 1000.1 } }),
  heads('onePlusWeight.large', [3, 2, 128], 'onePlusWeight', { fill: { kind: 'normal', scale: 1e4, mean: 1e5 } }),
  {
    name: 'noBias',
    inputs: { x: { shape: [2, 2, 8], dtype: 'f32' }, weight: { shape: [8], dtype: 'f32' } },
    params: { kind: 'weight', eps: 1e-6 },
  },
  heads('dit4.5b.q_layernorm', [1024, 24, 128], 'onePlusWeight', { benchmarkOnly: true }),
  heads('vae.attn', [1025, 16, 64], 'std', { benchmarkOnly: true }),
];

function randomCase(random: (below: number) => number): CaseOf<QkNorm> {
  const kind = (['weight', 'onePlusWeight', 'std'] as const)[random(3)]!;
  return heads('random', [1 + random(9), 1 + random(5), 2 + random(140)], kind);
}

export const qkNormOp = defineOp<QkNorm>({
  name: 'qkNorm',
  infer({ x, weight, bias }, { kind, eps }, check) {
    check.dtype('x', 'f32');
    check.rank('x', 3);
    check.is('weight', 'f32', [x.shape[2]!]);
    check.is('bias', 'f32', [x.shape[2]!]);
    check.eps(eps);
    if (kind === 'std' && (weight !== undefined || bias !== undefined)) {
      throw check.error('kind std takes no weight and no bias');
    }
    if (kind !== 'std' && weight === undefined) throw check.error(`kind ${kind} needs a weight`);
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 8 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ inputs: { x, weight, bias }, y, params: { kind, eps } }) {
    const features = x.shape[2]!;
    const affine = affineOf(weight, bias, kind === 'onePlusWeight');
    for (let row = 0; row < x.data.length; row += features) {
      const { mean, variance } = moments(features, (k) => x.data[row + k]!);
      const scale = 1 / (kind === 'std' ? Math.sqrt(variance) + eps : Math.sqrt(variance + eps));
      for (let k = 0; k < features; k++) y.data[row + k] = affine(k, (x.data[row + k]! - mean) * scale);
    }
  },
  ...rowNormKernels(({ inputs: { x, weight, bias }, y, params: { kind, eps } }) => ({
    op: 'qkNorm',
    kind: kind === 'std' ? 'std' : 'layer',
    x,
    y,
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
  return runOp(qkNormOp, { x, weight, bias }, { kind, eps });
}
