// What all attention kernels share: names for the sizes of a call, and where maxima start.
import type { TensorSpec } from '@magi1/tensor';
import { F32_MAX } from '../support/f32.ts';

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
