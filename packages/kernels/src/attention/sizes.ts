// Names for the sizes of an attention call.
import type { TensorSpec } from '@magi1/tensor';

export const MAX_HEAD_DIM = 128;

/** [queries, heads, head_dim] of q and [keys, kvHeads] of k. */
export function attentionSizes({ q, k }: { readonly q: TensorSpec; readonly k: TensorSpec }) {
  const [queries, heads, headDim] = q.shape as [number, number, number];
  const [keys, kvHeads] = k.shape as [number, number];
  return { queries, heads, headDim, keys, kvHeads };
}
