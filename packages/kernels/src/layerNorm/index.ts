// Layer normalisation over the last axis.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { CaseFill, CaseOf, OpTypes, Shape, Tensor } from '@magi1/tensor';
import { rowNormKernels } from '../support/families/row-norm/kernels.ts';
import { affineOf, moments } from '../support/reference/moments.ts';

export interface LayerNormParams {
  /** Inside the root. */
  readonly eps: number;
  /** The weight that multiplies is 1 + weight. */
  readonly onePlusWeight: boolean;
}

export type LayerNorm = OpTypes<{ x: Tensor; weight?: Tensor; bias?: Tensor }, LayerNormParams>;

function layer(
  name: string,
  shape: Shape,
  fill: CaseFill,
  more: Partial<CaseOf<LayerNorm>> & Partial<LayerNormParams> = {},
): CaseOf<LayerNorm> {
  const { eps = 1e-6, onePlusWeight = false, ...rest } = more;
  const features = [shape.at(-1)!];
  return {
    name,
    inputs: {
      x: { shape, dtype: 'f32', fill },
      weight: { shape: features, dtype: 'f32' },
      bias: { shape: features, dtype: 'f32' },
    },
    params: { eps, onePlusWeight },
    ...rest,
  };
}

const normal: CaseFill = { kind: 'normal' };

const cases: readonly CaseOf<LayerNorm>[] = [
  layer('odd', [3, 5, 77], normal),
  layer('onePlusWeight', [7, 64], normal, { onePlusWeight: true }),
  {
    name: 'plain',
    inputs: { x: { shape: [1, 1, 130], dtype: 'f32' } },
    params: { eps: 1e-5, onePlusWeight: false },
  },
  {
    name: 'weightOnly',
    inputs: { x: { shape: [2, 33], dtype: 'f32' }, weight: { shape: [33], dtype: 'f32' } },
    params: { eps: 1e-5, onePlusWeight: false },
  },
  layer('oneFeature', [3, 1], normal),
  layer('large', [5, 300], { kind: 'normal', scale: 3e5, mean: -1e6 }),
  // Deviations of about 170 ulps: the mean itself must be known better than f32 can say.
  layer('lowVariance', [4, 1001], { kind: 'normal', scale: 1e-5, mean: 1 }, { eps: 1e-12 }),
  layer('longRow', [2, 12288], { kind: 'normal', mean: 3 }),
  layer('manyRows', [301, 24], normal),
  layer('dit4.5b.norm', [1024, 3072], normal, { benchmarkOnly: true }),
  layer('dit24b.norm', [1024, 6144], normal, { benchmarkOnly: true }),
];

function randomCase(random: (below: number) => number): CaseOf<LayerNorm> {
  const shape = [1 + random(4), 1 + random(9), 1 + random(300)];
  const fill: CaseFill = { kind: 'normal', mean: random(20) - 10 };
  const { inputs, ...rest } = layer('random', shape, fill, { onePlusWeight: random(2) === 1 });
  const { x, weight, bias } = inputs;
  const given = random(4);
  return { ...rest, inputs: { x, ...(given & 1 ? { weight } : {}), ...(given & 2 ? { bias } : {}) } };
}

export const layerNormOp = defineOp<LayerNorm>({
  name: 'layerNorm',
  infer({ x }, { eps }, check) {
    check.dtype('x', 'f32');
    const features = check.lastDim('x');
    check.is('weight', 'f32', [features]);
    check.is('bias', 'f32', [features]);
    check.eps(eps);
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 8 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ inputs: { x, weight, bias }, y, params: { eps, onePlusWeight } }) {
    const features = x.shape.at(-1)!;
    const affine = affineOf(weight, bias, onePlusWeight);
    for (let row = 0; row < x.data.length; row += features) {
      const { mean, variance } = moments(features, (k) => x.data[row + k]!);
      const scale = 1 / Math.sqrt(variance + eps);
      for (let k = 0; k < features; k++) y.data[row + k] = affine(k, (x.data[row + k]! - mean) * scale);
    }
  },
  ...rowNormKernels(({ inputs: { x, weight, bias }, y, params: { eps, onePlusWeight } }) => ({
    op: 'layerNorm',
    kind: 'layer',
    x,
    y,
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
  return runOp(layerNormOp, { x, weight, bias }, { eps, onePlusWeight });
}
