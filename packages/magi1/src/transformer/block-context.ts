// What all blocks of one forward share.
import type { Tensor } from '@magi1/tensor';
import { rowTiles } from '../nn/index.ts';
import type { RowRange } from '../nn/index.ts';
import type { KvCache } from './kv-cache.ts';

export type TokenRange = RowRange;

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
  /** Most tokens that go through a block's layers at once. */
  readonly tileTokens: number;
  /** Nobody reads a block's input after it: its output may take that place. */
  readonly overwrite: boolean;
}

/** Tokens of a block's input that get a result together: rows of whole chunks, or some of one chunk's. */
export interface OutputTile {
  readonly rows: TokenRange;
  /** Counted from the first chunk that a block gives a result for. */
  readonly chunks: readonly [first: number, end: number];
}

/** All tokens of a block's output at once if they are few, else chunk by chunk in equal parts. */
export function outputTiles({ tokensPerChunk, skipped, keys, tileTokens }: BlockContext): OutputTile[] {
  const tokens = keys.length * tokensPerChunk;
  if (tokens <= tileTokens) return [{ rows: [skipped, skipped + tokens], chunks: [0, keys.length] }];
  return keys.flatMap((_, chunk) => {
    const start = skipped + chunk * tokensPerChunk;
    return rowTiles([start, start + tokensPerChunk], tileTokens).map((rows): OutputTile => {
      return { rows, chunks: [chunk, chunk + 1] };
    });
  });
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

/** Rows of a tensor [tokens, ...]. */
export function rowsOf(x: Tensor, [start, end]: TokenRange): Tensor {
  return start === 0 && end === x.shape[0] ? x : x.slice(start, end);
}

/** The rows of a tensor [tokens, ...] that a block gives a result for. */
export function outputRows(x: Tensor, { skipped }: BlockContext): Tensor {
  return rowsOf(x, [skipped, x.shape[0]!]);
}
