// The end of a transformer branch in one pass: gate, post norm and residual add.
import { OpError, defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, checkEps, checkOptional, checkRank, checkShapeIs } from '../support/checks.ts';
import { affineOf, moments } from '../support/reference/moments.ts';
import { rowNormKernels } from '../support/families/row-norm/kernels.ts';
import { cases, randomCase } from './cases.ts';

export interface GatedResidualParams {
  readonly eps: number;
  readonly onePlusWeight: boolean;
  /** Token s takes gate row floor(s / tokensPerRow). */
  readonly tokensPerRow: number;
}

export const gatedResidualOp = defineOp<'h' | 'branch' | 'gate' | 'weight' | 'bias', never, GatedResidualParams>({
  name: 'gatedResidual',
  infer({ h, branch, gate, weight, bias }, { eps, tokensPerRow }) {
    checkDType('gatedResidual', 'h', h, ['f32']);
    checkRank('gatedResidual', 'h', h, 2);
    checkDType('gatedResidual', 'branch', branch, ['f32']);
    checkShapeIs('gatedResidual', 'branch', branch, h.shape);
    const [tokens, features] = h.shape as [number, number];
    if (!Number.isSafeInteger(tokensPerRow) || tokensPerRow < 1) {
      throw new OpError('gatedResidual', `tokensPerRow must be a positive integer, got ${tokensPerRow}`);
    }
    checkDType('gatedResidual', 'gate', gate, ['f32']);
    checkShapeIs('gatedResidual', 'gate', gate, [Math.ceil(tokens / tokensPerRow), features]);
    checkOptional('gatedResidual', 'weight', weight, [features]);
    checkOptional('gatedResidual', 'bias', bias, [features]);
    checkEps('gatedResidual', eps);
    return [{ shape: h.shape, dtype: 'f32' }];
  },
  cost: ({ h }) => ({ flops: 12 * elementCount(h.shape), bytes: 12 * elementCount(h.shape) }),
  reference({ h, branch, gate, weight, bias }, [y], { eps, onePlusWeight, tokensPerRow }) {
    const [tokens, features] = h.shape as [number, number];
    const affine = affineOf(weight, bias, onePlusWeight);
    for (let token = 0; token < tokens; token++) {
      const row = token * features;
      const gateRow = Math.floor(token / tokensPerRow) * features;
      const gated = (k: number) => gate.data[gateRow + k]! * branch.data[row + k]!;
      const { mean, variance } = moments(features, gated);
      const scale = 1 / Math.sqrt(variance + eps);
      for (let k = 0; k < features; k++) y!.data[row + k] = h.data[row + k]! + affine(k, (gated(k) - mean) * scale);
    }
  },
  ...rowNormKernels(({ inputs: { h, branch, gate, weight, bias }, outputs, params }) => ({
    op: 'gatedResidual',
    kind: 'layer',
    x: branch,
    y: outputs[0]!,
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
  return runOp(gatedResidualOp, { h, branch, gate, weight, bias }, { eps, onePlusWeight, tokensPerRow })[0]!;
}
