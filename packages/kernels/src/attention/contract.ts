// The contract of attention, and what all its kernels share.
import { describeSpec } from '@magi1/tensor';
import type { Check, ContractOf, InputsOf, OpTypes, Tensor, TensorSpec } from '@magi1/tensor';
import { F32_MAX } from '../support/f32.ts';

/** A half-open range [start, end). */
export type Range = readonly [start: number, end: number];

/** Queries of range `q` see the keys of range `k`. */
export interface AttentionBlock {
  readonly q: Range;
  readonly k: Range;
}

export interface AttentionParams {
  /** Query ranges must not overlap; key ranges may. */
  readonly blocks: readonly AttentionBlock[];
  /** Factor on q·k, before biases. */
  readonly scale: number;
}

export type Attention = OpTypes<
  { q: Tensor; k: Tensor; v: Tensor; keyMask?: Tensor; relativeBias?: Tensor },
  AttentionParams
>;

export const MAX_HEAD_DIM = 128;

/**
 * Where maxima of scores start. A hidden key's score is this in WGSL and -Infinity in wasm, which leaves a maximum where it
 * is; its weight is 0 whatever the scores of the others are.
 */
export const LOWEST = -F32_MAX;

/** [queries, heads, head_dim] of q and [keys, kvHeads] of k. */
export function attentionSizes({ q, k }: { readonly q: TensorSpec; readonly k: TensorSpec }) {
  const [queries, heads, headDim] = q.shape as [number, number, number];
  const [keys, kvHeads] = k.shape as [number, number];
  return { queries, heads, headDim, keys, kvHeads };
}

/** How many queries see how many keys, all blocks together. */
export function attentionPairs(blocks: readonly AttentionBlock[]): number {
  return blocks.reduce((sum, { q, k }) => sum + (q[1] - q[0]) * (k[1] - k[0]), 0);
}

export const contract: ContractOf<Attention> = {
  name: 'attention',
  infer(inputs, params, check) {
    checkInputs(inputs, check);
    checkBlocks(inputs, params.blocks, check);
    if (!Number.isFinite(params.scale)) throw check.error(`scale must be finite, got ${params.scale}`);
    return { shape: inputs.q.shape, dtype: 'f32' };
  },
  cost(inputs, { blocks }) {
    const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs);
    const pairs = attentionPairs(blocks);
    return { flops: 4 * pairs * heads * headDim, bytes: 8 * headDim * (queries * heads + keys * kvHeads) };
  },
};

type Inputs = InputsOf<Attention, TensorSpec>;

function checkInputs(inputs: Inputs, check: Check<keyof Inputs>): void {
  for (const name of ['q', 'k', 'v'] as const) {
    check.dtype(name, 'f32');
    check.rank(name, 3);
  }
  const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs);
  check.shape('v', inputs.k.shape);
  if (inputs.k.shape[2] !== headDim || headDim < 1 || headDim > MAX_HEAD_DIM) {
    throw check.error(
      `q ${describeSpec(inputs.q)} and k ${describeSpec(inputs.k)} must share a head_dim of 1 to ${MAX_HEAD_DIM}`,
    );
  }
  if (kvHeads < 1 ? heads > 0 : heads % kvHeads !== 0) {
    throw check.error(`heads of q (${heads}) must be a multiple of the heads of k (${kvHeads})`);
  }
  if (inputs.keyMask !== undefined) {
    check.dtype('keyMask', 'i32');
    check.shape('keyMask', [keys]);
  }
  check.is('relativeBias', 'f32', [heads, Math.max(queries + keys - 1, 0)]);
}

function checkBlocks(inputs: Inputs, blocks: readonly AttentionBlock[], check: Check): void {
  const { queries, keys } = attentionSizes(inputs);
  const inside = ([start, end]: Range, size: number) =>
    Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end && end <= size;
  for (const [i, { q, k }] of blocks.entries()) {
    if (!inside(q, queries) || !inside(k, keys)) {
      throw check.error(
        `block ${i} (queries ${q.join('..')}, keys ${k.join('..')}) is outside ${queries} queries and ${keys} keys`,
      );
    }
  }
  const sorted = blocks.filter(({ q }) => q[1] > q[0]).sort((a, b) => a.q[0] - b.q[0]);
  sorted.forEach(({ q }, i) => {
    const next = sorted[i + 1]?.q;
    if (next !== undefined && next[0] < q[1]) {
      throw check.error(`query ranges ${q.join('..')} and ${next.join('..')} overlap`);
    }
  });
}
