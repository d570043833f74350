// The contract of attention, and what all its kernels share.
import { GROUP, bytesOf, describeSpec } from '@magi1/tensor';
import type { Check, ContractOf, InputsOf, OpTypes, Tensor, TensorSpec } from '@magi1/tensor';
import { F32_MAX } from '../support/f32.ts';

/** A half-open range [start, end). */
export type Range = readonly [start: number, end: number];

/** Queries of range `q` see the keys of range `k`. */
export interface AttentionBlock {
  readonly q: Range;
  readonly k: Range;
}

/** Which rows of a ring of cached keys come first on the key axis: `rows` of them from row `first` on, around its end. */
export interface RingRange {
  readonly first: number;
  readonly rows: number;
}

export const NONE_CACHED: RingRange = { first: 0, rows: 0 };

export interface AttentionParams {
  /** Query ranges must not overlap; key ranges may. */
  readonly blocks: readonly AttentionBlock[];
  /** Factor on q·k, before biases. */
  readonly scale: number;
  /** Of cachedK and cachedV; key ranges of blocks count these rows first, then those of k. */
  readonly cached?: RingRange | undefined;
}

export type Attention = OpTypes<
  {
    q: Tensor;
    k: Tensor;
    v: Tensor;
    keyMask?: Tensor;
    relativeBias?: Tensor;
    cachedK?: Tensor;
    cachedV?: Tensor;
  },
  AttentionParams
>;

export const MAX_HEAD_DIM = 128;

/**
 * Where maxima of scores start. A hidden key's score is this in WGSL and -Infinity in wasm, which leaves a maximum where it
 * is; its weight is 0 whatever the scores of the others are.
 */
export const LOWEST = -F32_MAX;

/** What cached keys and values may be stored as; q8 where the rows of all heads are whole groups, of whole vectors. */
export const CACHE_DTYPES = ['f32', 'f16', 'bf16', 'q8'] as const;
export type CacheDType = (typeof CACHE_DTYPES)[number];

/** Whether rows of so many heads can be kept in a type: groups of q8 hold 64 elements, kernels read four at a time. */
export const cacheCanBe = (dtype: CacheDType, kvHeads: number, headDim: number): boolean =>
  dtype !== 'q8' || ((kvHeads * headDim) % GROUP === 0 && headDim % 4 === 0);

/** [queries, heads, head_dim] of q and the key axis: first the cached keys, then those of k. */
export function attentionSizes({ q, k }: Pick<Inputs, 'q' | 'k'>, cached?: RingRange) {
  const [queries, heads, headDim] = q.shape as [number, number, number];
  const [own, kvHeads] = k.shape as [number, number];
  return { queries, heads, headDim, keys: (cached?.rows ?? 0) + own, kvHeads };
}

/** How many queries see how many keys, all blocks together. */
export function attentionPairs(blocks: readonly AttentionBlock[]): number {
  return blocks.reduce((sum, { q, k }) => sum + (q[1] - q[0]) * (k[1] - k[0]), 0);
}

export const contract: ContractOf<Attention> = {
  name: 'attention',
  infer(inputs, params, check) {
    checkInputs(inputs, params.cached, check);
    checkCached(inputs, params.cached, check);
    checkBlocks(inputs, params, check);
    if (!Number.isFinite(params.scale)) throw check.error(`scale must be finite, got ${params.scale}`);
    return { shape: inputs.q.shape, dtype: 'f32' };
  },
  cost(inputs, { blocks, cached }) {
    const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs, cached);
    const pairs = attentionPairs(blocks);
    const rows = cached?.rows ?? 0;
    const cachedBytes = rows === 0 ? 0 : 2 * bytesOf(inputs.cachedK!.dtype, rows * kvHeads * headDim);
    return {
      flops: 4 * pairs * heads * headDim,
      bytes: 8 * headDim * (queries * heads + (keys - rows) * kvHeads) + cachedBytes,
    };
  },
};

type Inputs = InputsOf<Attention, TensorSpec>;

function checkInputs(inputs: Inputs, cached: RingRange | undefined, check: Check<keyof Inputs>): void {
  for (const name of ['q', 'k', 'v'] as const) {
    check.dtype(name, 'f32');
    check.rank(name, 3);
  }
  const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs, cached);
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

function checkCached(inputs: Inputs, cached: RingRange | undefined, check: Check<keyof Inputs>): void {
  const { cachedK, cachedV, keyMask, relativeBias } = inputs;
  if (cached === undefined && cachedK === undefined && cachedV === undefined) return;
  if (cached === undefined || cachedK === undefined || cachedV === undefined) {
    throw check.error('cachedK, cachedV and which of their rows are seen come together');
  }
  if (keyMask !== undefined || relativeBias !== undefined) {
    throw check.error('cached keys come without keyMask and relativeBias');
  }
  const { headDim, kvHeads } = attentionSizes(inputs);
  check.rank('cachedK', 3);
  const ring = cachedK.shape[0]!;
  check.dtype('cachedK', ...CACHE_DTYPES);
  check.shape('cachedK', [ring, kvHeads, headDim]);
  check.dtype('cachedV', cachedK.dtype);
  check.shape('cachedV', cachedK.shape);
  if (!cacheCanBe(cachedK.dtype as CacheDType, kvHeads, headDim)) {
    throw check.error(
      `cachedK of q8 needs a head_dim of a multiple of 4 and, with all heads, of ${GROUP}; got ${kvHeads} heads of ${headDim}`,
    );
  }
  const { first, rows } = cached;
  if (!(
    Number.isInteger(first) &&
    Number.isInteger(rows) &&
    0 <= first &&
    first < Math.max(ring, 1) &&
    0 <= rows &&
    rows <= ring
  )) {
    throw check.error(`${rows} cached keys from row ${first} on are not in a ring of ${ring} rows`);
  }
}

function checkBlocks(inputs: Inputs, { blocks, cached }: AttentionParams, check: Check): void {
  const { queries, keys } = attentionSizes(inputs, cached);
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
