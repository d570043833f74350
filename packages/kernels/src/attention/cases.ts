import type { CaseInput, CaseOf } from '@magi1/tensor';
import { CACHE_DTYPES, cacheCanBe } from './contract.ts';
import type { Attention, AttentionBlock, CacheDType, RingRange } from './contract.ts';

type AttentionCase = CaseOf<Attention>;

interface Sizes {
  readonly queries: number;
  readonly keys: number;
  readonly heads: number;
  readonly kvHeads?: number;
  readonly headDim: number;
}

export function attentionCase(
  name: string,
  { queries, keys, heads, kvHeads = heads, headDim }: Sizes,
  options: {
    blocks?: readonly AttentionBlock[];
    mask?: readonly number[];
    bias?: boolean;
    /** Rows of a ring of `ring` in front of the keys. */
    cached?: RingRange & { readonly dtype: CacheDType; readonly ring: number };
    spread?: number;
    tolerance?: number;
    benchmarkOnly?: boolean;
  } = {},
): AttentionCase {
  const fill = { kind: 'normal', scale: options.spread ?? 1 } as const;
  const keyMask: CaseInput | undefined = options.mask && {
    shape: [keys],
    dtype: 'i32',
    fill: { kind: 'values', values: options.mask },
  };
  const { cached } = options;
  const cachedRows: CaseInput | undefined = cached && {
    shape: [cached.ring, kvHeads, headDim],
    dtype: cached.dtype,
    fill,
  };
  const relativeBias: CaseInput = {
    shape: [heads, queries + keys - 1],
    dtype: 'f32',
    fill: { kind: 'normal', scale: 3 },
  };
  return {
    name,
    inputs: {
      q: { shape: [queries, heads, headDim], dtype: 'f32', fill },
      k: { shape: [keys, kvHeads, headDim], dtype: 'f32', fill },
      v: { shape: [keys, kvHeads, headDim], dtype: 'f32' },
      ...(keyMask === undefined ? {} : { keyMask }),
      ...(options.bias === true ? { relativeBias } : {}),
      ...(cachedRows === undefined ? {} : { cachedK: cachedRows, cachedV: cachedRows }),
    },
    params: {
      blocks: options.blocks ?? [{ q: [0, queries], k: [0, (cached?.rows ?? 0) + keys] }],
      scale: 1 / Math.sqrt(headDim),
      ...(cached === undefined ? {} : { cached: { first: cached.first, rows: cached.rows } }),
    },
    ...(options.tolerance === undefined ? {} : { tolerance: options.tolerance }),
    ...(options.benchmarkOnly === true ? { benchmarkOnly: true } : {}),
  };
}

const dims = [8, 16, 32, 64, 128].map((headDim) =>
  attentionCase(`dim${headDim}`, { queries: 37, keys: 83, heads: 4, kvHeads: 2, headDim }),
);
const oddDims = [1, 3, 4, 12, 20, 33, 72, 96, 127].map((headDim) =>
  attentionCase(`oddDim${headDim}`, { queries: 19, keys: 29, heads: 2, headDim }),
);

// Block-causal chunks, a gap in the queries (30..33), a block without keys, one key range inside another.
const blocks: readonly AttentionBlock[] = [
  { q: [0, 10], k: [0, 10] },
  { q: [10, 30], k: [0, 30] },
  { q: [33, 34], k: [5, 5] },
  { q: [34, 71], k: [7, 50] },
];

const real = (name: string, sizes: Sizes, list?: readonly AttentionBlock[]) =>
  attentionCase(name, sizes, { benchmarkOnly: true, ...(list === undefined ? {} : { blocks: list }) });

/** `chunks` chunks of `tokens` queries; chunk i sees the keys of chunks 0..i. */
function blockCausal(chunks: number, tokens: number): AttentionBlock[] {
  return Array.from({ length: chunks }, (_, i) => ({
    q: [i * tokens, (i + 1) * tokens] as const,
    k: [0, (i + 1) * tokens] as const,
  }));
}

export const cases: readonly AttentionCase[] = [
  ...dims,
  ...oddDims,
  attentionCase('oneByOne', { queries: 1, keys: 1, heads: 1, headDim: 8 }),
  attentionCase('oneKey', { queries: 9, keys: 1, heads: 2, headDim: 16 }),
  attentionCase('oneQuery', { queries: 1, keys: 300, heads: 2, headDim: 64 }),
  attentionCase('noKeys', { queries: 5, keys: 0, heads: 2, headDim: 16 }),
  attentionCase('noBlocks', { queries: 5, keys: 7, heads: 2, headDim: 16 }, { blocks: [] }),
  attentionCase('gqa', { queries: 70, keys: 130, heads: 6, kvHeads: 2, headDim: 64 }),
  attentionCase('blocks', { queries: 80, keys: 50, heads: 6, kvHeads: 2, headDim: 32 }, { blocks }),
  // Scores of several hundred: the running maximum must move without overflow. Their last place in f32 is 3e-5.
  attentionCase('largeScores', { queries: 40, keys: 140, heads: 2, headDim: 64 }, { spread: 8, tolerance: 1e-5 }),
  attentionCase(
    'mask',
    { queries: 33, keys: 40, heads: 2, headDim: 64 },
    { mask: Array.from({ length: 40 }, (_, j) => (j % 3 === 0 || j > 35 ? 0 : 1)) },
  ),
  attentionCase('allMasked', { queries: 11, keys: 9, heads: 2, headDim: 64 }, { mask: new Array<number>(9).fill(0) }),
  attentionCase(
    'firstTileMasked',
    { queries: 11, keys: 150, heads: 2, headDim: 16 },
    { mask: Array.from({ length: 150 }, (_, j) => (j < 140 ? 0 : 1)) },
  ),
  attentionCase('bias', { queries: 45, keys: 61, heads: 3, headDim: 64 }, { bias: true }),
  attentionCase(
    'biasMaskBlocks',
    { queries: 80, keys: 50, heads: 4, kvHeads: 2, headDim: 16 },
    { bias: true, blocks, mask: Array.from({ length: 50 }, (_, j) => (j % 7 === 2 ? 0 : 1)) },
  ),
  // Blocks whose keys lie apart: they can be bound in pieces.
  attentionCase(
    'keysApart',
    { queries: 300, keys: 280, heads: 4, kvHeads: 2, headDim: 16 },
    {
      bias: true,
      blocks: [
        { q: [0, 100], k: [0, 90] },
        { q: [100, 190], k: [70, 200] },
        { q: [195, 300], k: [190, 280] },
      ],
      mask: Array.from({ length: 280 }, (_, j) => (j % 7 === 2 ? 0 : 1)),
    },
  ),
  // Chunks of 30 keys in a ring of 90, whose third comes after its first two; chunk by chunk more are seen.
  ...(['f32', 'f16', 'bf16'] as const).map((dtype) =>
    attentionCase(
      `cached.${dtype}`,
      { queries: 60, keys: 60, heads: 4, kvHeads: 2, headDim: dtype === 'f16' ? 64 : 20 },
      {
        cached: { dtype, ring: 90, first: 30, rows: 90 },
        blocks: [
          { q: [0, 30], k: [30, 120] },
          { q: [30, 60], k: [0, 150] },
        ],
      },
    ),
  ),
  // Rows of q8: scales of halves of a head, of a head, of two and of four heads.
  ...(
    [
      [1, 64],
      [2, 32],
      [4, 16],
      [8, 8],
      [3, 128],
      [16, 12],
    ] as const
  ).map(([kvHeads, headDim]) =>
    attentionCase(
      `cached.q8.${kvHeads}x${headDim}`,
      { queries: 60, keys: 60, heads: 2 * kvHeads, kvHeads, headDim },
      {
        cached: { dtype: 'q8', ring: 90, first: 30, rows: 90 },
        blocks: [
          { q: [0, 30], k: [30, 120] },
          { q: [30, 60], k: [0, 150] },
        ],
      },
    ),
  ),
  attentionCase(
    'cached.q8.only',
    { queries: 7, keys: 0, heads: 2, kvHeads: 2, headDim: 32 },
    { cached: { dtype: 'q8', ring: 8, first: 1, rows: 7 } },
  ),
  attentionCase(
    'cached.q8.apart',
    { queries: 300, keys: 280, heads: 4, kvHeads: 4, headDim: 16 },
    {
      cached: { dtype: 'q8', ring: 100, first: 80, rows: 50 },
      blocks: [
        { q: [0, 100], k: [0, 90] },
        { q: [100, 190], k: [70, 200] },
        { q: [195, 300], k: [240, 330] },
      ],
    },
  ),
  attentionCase(
    'cached.odd',
    { queries: 9, keys: 5, heads: 2, kvHeads: 1, headDim: 11 },
    { cached: { dtype: 'f16', ring: 12, first: 7, rows: 10 } },
  ),
  attentionCase(
    'cached.odd.f32',
    { queries: 9, keys: 5, heads: 2, kvHeads: 1, headDim: 11 },
    { cached: { dtype: 'f32', ring: 12, first: 7, rows: 10 } },
  ),
  attentionCase(
    'cached.part',
    { queries: 7, keys: 3, heads: 2, headDim: 16 },
    { cached: { dtype: 'bf16', ring: 10, first: 9, rows: 4 } },
  ),
  attentionCase(
    'cached.only',
    { queries: 7, keys: 0, heads: 2, headDim: 16 },
    { cached: { dtype: 'f16', ring: 8, first: 1, rows: 7 } },
  ),
  attentionCase(
    'cached.none',
    { queries: 7, keys: 9, heads: 2, headDim: 16 },
    { cached: { dtype: 'f16', ring: 8, first: 1, rows: 0 } },
  ),
  attentionCase(
    'cached.apart',
    { queries: 300, keys: 280, heads: 4, kvHeads: 2, headDim: 16 },
    {
      cached: { dtype: 'bf16', ring: 100, first: 80, rows: 50 },
      blocks: [
        { q: [0, 100], k: [0, 90] },
        { q: [100, 190], k: [70, 200] },
        { q: [195, 300], k: [240, 330] },
      ],
    },
  ),
  real('8x64.1024x1024', { queries: 1024, keys: 1024, heads: 8, headDim: 64 }),
  real('24x128.576x576', { queries: 576, keys: 576, heads: 24, kvHeads: 8, headDim: 128 }),
  real('24x128.576x2304', { queries: 576, keys: 2304, heads: 24, kvHeads: 8, headDim: 128 }),
  real('dit4.5b.self', { queries: 1024, keys: 1024, heads: 24, kvHeads: 8, headDim: 128 }, blockCausal(4, 256)),
  ...(['f16', 'q8'] as const).map((dtype) =>
    attentionCase(
      dtype === 'f16' ? 'dit4.5b.self.cached' : 'dit4.5b.self.cached.q8',
      { queries: 256, keys: 256, heads: 24, kvHeads: 8, headDim: 128 },
      { cached: { dtype, ring: 768, first: 256, rows: 768 }, benchmarkOnly: true },
    ),
  ),
  real('dit4.5b.cross', { queries: 1024, keys: 800, heads: 24, kvHeads: 8, headDim: 128 }),
  real('vae.self', { queries: 1024, keys: 1024, heads: 16, headDim: 64 }),
  real('t5.self', { queries: 800, keys: 800, heads: 64, headDim: 64 }),
];

/** Few head_dims, since each is a program of its own. */
export function randomCase(random: (below: number) => number): AttentionCase {
  const [queries, keys, kvHeads] = [1 + random(70), 1 + random(110), 1 + random(2)];
  const sizes = { queries, keys, kvHeads, heads: kvHeads * (1 + random(3)), headDim: [8, 20, 64][random(3)]! };
  const blocks: AttentionBlock[] = [];
  for (let start = 0; start < queries;) {
    const end = Math.min(queries, start + 1 + random(queries));
    const keyStart = random(keys);
    // One block in eight is left out.
    if (random(8) < 7) blocks.push({ q: [start, end], k: [keyStart, keyStart + random(keys - keyStart + 1)] });
    start = end;
  }
  const kind = random(4);
  if (kind === 3) {
    const ring = 1 + random(80);
    const drawn = CACHE_DTYPES[random(CACHE_DTYPES.length)]!;
    const dtype = cacheCanBe(drawn, kvHeads, sizes.headDim) ? drawn : 'f16';
    const cached = { dtype, ring, first: random(ring), rows: random(ring + 1) };
    return attentionCase('random', sizes, { cached });
  }
  return attentionCase('random', sizes, {
    ...(random(2) === 1 ? { blocks } : {}),
    ...(kind === 1 ? { mask: Array.from({ length: keys }, () => random(2)) } : {}),
    bias: kind === 2,
  });
}
