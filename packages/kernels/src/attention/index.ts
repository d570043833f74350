// Attention over a list of (query range, key range) blocks: block-causal masks, packed captions and batches are all
// block lists. Online softmax: no kernel holds a whole score matrix.
import { defineOp, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { contract } from './contract.ts';
import type { Attention, AttentionParams, RingRange } from './contract.ts';
import { reference } from './reference.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const attentionOp = defineOp<Attention>({ ...contract, reference, webgpu, wasm, cases, randomCase });

export interface AttentionOptions extends Omit<AttentionParams, 'cached'> {
  /** Keys and values in front of those given: rows of a ring [ring rows, kvHeads, head_dim] each, f32, f16, bf16 or q8. */
  readonly cached?: (RingRange & { readonly k: Tensor; readonly v: Tensor }) | undefined;
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
  const { keyMask, relativeBias, blocks, scale, cached } = options;
  const inputs = { q, k, v, keyMask, relativeBias, cachedK: cached?.k, cachedV: cached?.v };
  return runOp(attentionOp, inputs, { blocks, scale, cached: cached && { first: cached.first, rows: cached.rows } });
}
