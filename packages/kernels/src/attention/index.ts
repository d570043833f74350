// Attention over a list of (query range, key range) blocks: block-causal masks, packed captions and batches are all
// block lists. Online softmax: no kernel holds a whole score matrix.
import { OpError, defineOp, describeSpec, runOp } from '@magi1/tensor';
import type { OpInputs, Tensor, TensorSpec } from '@magi1/tensor';
import { checkDType, checkRank, checkShapeIs } from '../support/checks.ts';
import { cases, randomCase } from './cases.ts';
import { reference } from './reference.ts';
import { MAX_HEAD_DIM, attentionSizes } from './sizes.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

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

export type AttentionInputs<T> = OpInputs<'q' | 'k' | 'v', 'keyMask' | 'relativeBias', T>;

export const attentionOp = defineOp<'q' | 'k' | 'v', 'keyMask' | 'relativeBias', AttentionParams>({
  name: 'attention',
  infer(inputs, params) {
    checkInputs(inputs);
    checkBlocks(inputs, params.blocks);
    if (!Number.isFinite(params.scale)) throw new OpError('attention', `scale must be finite, got ${params.scale}`);
    return [{ shape: inputs.q.shape, dtype: 'f32' }];
  },
  cost(inputs, { blocks }) {
    const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs);
    let pairs = 0;
    for (const { q, k } of blocks) pairs += (q[1] - q[0]) * (k[1] - k[0]);
    return { flops: 4 * pairs * heads * headDim, bytes: 8 * headDim * (queries * heads + keys * kvHeads) };
  },
  reference,
  webgpu,
  wasm,
  cases,
  randomCase,
});

function checkInputs(inputs: AttentionInputs<TensorSpec>): void {
  for (const name of ['q', 'k', 'v'] as const) {
    checkDType('attention', name, inputs[name], ['f32']);
    checkRank('attention', name, inputs[name], 3);
  }
  const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs);
  checkShapeIs('attention', 'v', inputs.v, inputs.k.shape);
  if (inputs.k.shape[2] !== headDim || headDim < 1 || headDim > MAX_HEAD_DIM) {
    throw new OpError(
      'attention',
      `q ${describeSpec(inputs.q)} and k ${describeSpec(inputs.k)} must share a head_dim of 1 to ${MAX_HEAD_DIM}`,
    );
  }
  if (kvHeads < 1 ? heads > 0 : heads % kvHeads !== 0) {
    throw new OpError('attention', `heads of q (${heads}) must be a multiple of the heads of k (${kvHeads})`);
  }
  if (inputs.keyMask !== undefined) {
    checkDType('attention', 'keyMask', inputs.keyMask, ['i32']);
    checkShapeIs('attention', 'keyMask', inputs.keyMask, [keys]);
  }
  if (inputs.relativeBias !== undefined) {
    checkDType('attention', 'relativeBias', inputs.relativeBias, ['f32']);
    checkShapeIs('attention', 'relativeBias', inputs.relativeBias, [heads, Math.max(queries + keys - 1, 0)]);
  }
}

function checkBlocks(inputs: AttentionInputs<TensorSpec>, blocks: readonly AttentionBlock[]): void {
  const { queries, keys } = attentionSizes(inputs);
  const inside = ([start, end]: Range, size: number) =>
    Number.isInteger(start) && Number.isInteger(end) && 0 <= start && start <= end && end <= size;
  for (const [i, { q, k }] of blocks.entries()) {
    if (!inside(q, queries) || !inside(k, keys)) {
      throw new OpError(
        'attention',
        `block ${i} (queries ${q.join('..')}, keys ${k.join('..')}) is outside ${queries} queries and ${keys} keys`,
      );
    }
  }
  const sorted = blocks.filter(({ q }) => q[1] > q[0]).sort((a, b) => a.q[0] - b.q[0]);
  sorted.forEach(({ q }, i) => {
    const next = sorted[i + 1]?.q;
    if (next !== undefined && next[0] < q[1]) {
      throw new OpError('attention', `query ranges ${q.join('..')} and ${next.join('..')} overlap`);
    }
  });
}

export interface AttentionOptions extends AttentionParams {
  /** i32 [keys]: 1 = valid, 0 = not seen by any query. */
  readonly keyMask?: Tensor | undefined;
  /** f32 [heads, queries + keys - 1]: entry [h, (j - i) + (queries - 1)] is added to the scaled score of query i, key j. */
  readonly relativeBias?: Tensor | undefined;
}

/**
 * softmax(scale q k^T + bias) v per head and block. q [queries, heads, head_dim], k and v [keys, kvHeads, head_dim], f32;
 * query head j uses kv head floor(j / (heads / kvHeads)). Queries in no block or without a valid key come out 0.
 * A key that may be seen counts whatever its score: NaN and Infinity make NaN, and so do scores of -Infinity alone. What
 * the values of a hidden key hold is multiplied by 0, which is NaN for a NaN.
 */
export function attention(q: Tensor, k: Tensor, v: Tensor, options: AttentionOptions): Tensor {
  const { keyMask, relativeBias, blocks, scale } = options;
  return runOp(attentionOp, { q, k, v, keyMask, relativeBias }, { blocks, scale })[0]!;
}
