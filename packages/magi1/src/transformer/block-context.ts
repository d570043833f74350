// What all blocks of one forward share.
import type { Tensor } from '@magi1/tensor';
import type { KvCache } from './kv-cache.ts';

export type TokenRange = readonly [start: number, end: number];

/** Tokens are ordered by chunk, equally many in each. */
export interface BlockContext {
  readonly tokensPerChunk: number;
  /** Tokens of the first chunks, which only lend their keys and values: a block gives no result for them. */
  readonly skipped: number;
  readonly cos: Tensor; // [tokens, R]
  readonly sin: Tensor;
  readonly text: Tensor; // caption readings, packed [text rows, width]
  readonly cache: KvCache | undefined;
  /** Cached chunks in front of the key axis. */
  readonly cached: { readonly first: number; readonly end: number };
  /** Positions of this forward whose keys and values are kept, under which chunk. */
  readonly writes: readonly { readonly position: number; readonly chunk: number }[];
  /** Of the chunks that a block gives a result for: [chunks, condition width]. */
  readonly condition: Tensor;
  /** For each of these the keys it sees on [cached | current], and its rows of `text`. */
  readonly keys: readonly TokenRange[];
  readonly textRows: readonly TokenRange[];
}

/** The context of a block that gives a result only for chunks from `first` on; made in the block's scope. */
export function withOutputs(context: BlockContext, first: number): BlockContext {
  if (first === 0) return context;
  return {
    ...context,
    skipped: first * context.tokensPerChunk,
    condition: context.condition.slice(first, context.condition.shape[0]!),
    keys: context.keys.slice(first),
    textRows: context.textRows.slice(first),
  };
}

/** The rows of a tensor [tokens, ...] that a block gives a result for. */
export function outputRows(x: Tensor, { skipped }: BlockContext): Tensor {
  return skipped === 0 ? x : x.slice(skipped, x.shape[0]!);
}
