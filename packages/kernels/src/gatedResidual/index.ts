// The end of a transformer branch in one pass: gate, post norm and residual add.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { CaseFill, CaseOf, OpTypes, Tensor } from '@magi1/tensor';
import { rowNormKernels } from '../support/families/row-norm/kernels.ts';
import { affineOf, moments } from '../support/reference/moments.ts';

export interface GatedResidualParams {
  readonly eps: number;
  readonly onePlusWeight: boolean;
  /** Token s takes gate row floor(s / tokensPerRow). */
  readonly tokensPerRow: number;
}

export type GatedResidual = OpTypes<
  { h: Tensor; branch: Tensor; gate: Tensor; weight: Tensor; bias: Tensor },
  GatedResidualParams
>;

function branchEnd(
  name: string,
  tokens: number,
  features: number,
  tokensPerRow: number,
  more: { onePlusWeight?: boolean; benchmarkOnly?: boolean; fill?: CaseFill } = {},
): CaseOf<GatedResidual> {
  const { onePlusWeight = true, benchmarkOnly = false, fill = { kind: 'normal' } } = more;
  const feature = { shape: [features], dtype: 'f32' as const };
  return {
    name,
    inputs: {
      h: { shape: [tokens, features], dtype: 'f32' },
      branch: { shape: [tokens, features], dtype: 'f32', fill },
      gate: {
        shape: [Math.ceil(tokens / tokensPerRow), features],
        dtype: 'f32',
        fill: { kind: 'normal', scale: 0.5 },
      },
      weight: feature,
      bias: feature,
    },
    params: { eps: 1e-6, onePlusWeight, tokensPerRow },
    benchmarkOnly,
  };
}

const cases: readonly CaseOf<GatedResidual>[] = [
  branchEnd('odd', 15, 77, 5),
  branchEnd('lastRowShort', 7, 64, 3, { onePlusWeight: false }),
  branchEnd('oneRow', 4, 130, 4),
  branchEnd('manyTokens', 70, 64, 16),
  branchEnd('one', 1, 1, 1),
  branchEnd('rowPerToken', 5, 24, 1),
  branchEnd('large', 3, 300, 2, { fill: { kind: 'normal', scale: 1e6, mean: 1e6 } }),
  branchEnd('small', 3, 300, 2, { fill: { kind: 'normal', scale: 1e-4 } }),
  branchEnd('longRow', 2, 12288, 1),
  branchEnd('dit4.5b.self_attn_post_norm', 1024, 3072, 256, { benchmarkOnly: true }),
];

function randomCase(random: (below: number) => number): CaseOf<GatedResidual> {
  return branchEnd('random', 1 + random(20), 1 + random(200), 1 + random(9), { onePlusWeight: random(2) === 0 });
}

export const gatedResidualOp = defineOp<GatedResidual>({
  name: 'gatedResidual',
  infer({ h }, { eps, tokensPerRow }, check) {
    check.dtype('h', 'f32');
    check.rank('h', 2);
    check.is('branch', 'f32', h.shape);
    const [tokens, features] = h.shape as [number, number];
    if (!Number.isSafeInteger(tokensPerRow) || tokensPerRow < 1) {
      throw check.error(`tokensPerRow must be a positive integer, got ${tokensPerRow}`);
    }
    check.is('gate', 'f32', [Math.ceil(tokens / tokensPerRow), features]);
    check.is('weight', 'f32', [features]);
    check.is('bias', 'f32', [features]);
    check.eps(eps);
    return { shape: h.shape, dtype: 'f32' };
  },
  cost: ({ h }) => ({ flops: 12 * elementCount(h.shape), bytes: 12 * elementCount(h.shape) }),
  reference({ inputs: { h, branch, gate, weight, bias }, y, params: { eps, onePlusWeight, tokensPerRow } }) {
    const [tokens, features] = h.shape as [number, number];
    const affine = affineOf(weight, bias, onePlusWeight);
    for (let token = 0; token < tokens; token++) {
      const row = token * features;
      const gateRow = Math.floor(token / tokensPerRow) * features;
      const gated = (k: number) => gate.data[gateRow + k]! * branch.data[row + k]!;
      const { mean, variance } = moments(features, gated);
      const scale = 1 / Math.sqrt(variance + eps);
      for (let k = 0; k < features; k++) y.data[row + k] = h.data[row + k]! + affine(k, (gated(k) - mean) * scale);
    }
  },
  ...rowNormKernels(({ inputs: { h, branch, gate, weight, bias }, y, params }) => ({
    op: 'gatedResidual',
    kind: 'layer',
    x: branch,
    y,
    weight,
    bias,
    onePlusWeight: params.onePlusWeight,
    eps: params.eps,
    gated: { gate, h, rowsPerGate: params.tokensPerRow },
  })),
  cases,
  randomCase,
});

export interface GatedResidualOptions {
  /** [K] */
  readonly weight: Tensor;
  /** [K] */
  readonly bias: Tensor;
  readonly eps: number;
  readonly onePlusWeight: boolean;
  /** Tokens per row of the gate: token s takes gate row floor(s / tokensPerRow). */
  readonly tokensPerRow: number;
}

/**
 * h + LayerNorm(gate[row of the token] * branch) * weight (or 1 + weight) + bias.
 * h and branch [S, K], gate [ceil(S / tokensPerRow), K], all f32; the gate comes as it multiplies (tanh already taken).
 */
export function gatedResidual(h: Tensor, branch: Tensor, gate: Tensor, options: GatedResidualOptions): Tensor {
  const { weight, bias, eps, onePlusWeight, tokensPerRow } = options;
  return runOp(gatedResidualOp, { h, branch, gate, weight, bias }, { eps, onePlusWeight, tokensPerRow });
}
