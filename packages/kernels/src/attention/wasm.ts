// Flash attention in wasm. An item is one head of one query tile; it packs its queries once and keys and values tile by
// tile into scratch, padded to whole tiles, so that the inner loops have no edges.
import { F32, F32x4, I32, I32x4, bytesOf, wasmKernel } from '@magi1/tensor';
import type { KernelArgs, KernelBuilder, WasmOf } from '@magi1/tensor';
import {
  PANEL_STEP,
  TILE_COLUMNS,
  TILE_ROWS,
  TILE_VECTORS,
  outerProducts,
  packRowsFunction,
} from '../support/families/gemm/wasm-tiles.ts';
import { exp } from '../support/wasm/functions.ts';
import { storeLanes } from '../support/wasm/vectors.ts';
import { LOWEST, NONE_CACHED, attentionPairs, attentionSizes } from './contract.ts';
import type { Attention, CacheDType } from './contract.ts';
import { gatherFunction, gatherQ8Function } from './wasm-gather.ts';
import { queryTiles } from './work-list.ts';

interface WasmAttentionVariant {
  readonly headDim: number;
  readonly mask: boolean;
  readonly bias: boolean;
  readonly [name: string]: string | number | boolean;
}

/** Queries of an item and keys of one step: multiples of the rows and columns of an inner tile. */
const QUERIES = 48;
const VALUE_ROWS = 4;
const VALUE_VECTORS = 2;

/** Byte sizes of what an item keeps in scratch. */
function layout(headDim: number, cached: boolean) {
  const vectors = Math.ceil(headDim / 4);
  const rowBytes = 16 * vectors;
  // A tile of keys is to fit the first-level cache.
  const keys = headDim > 64 ? 48 : 96;
  const scoreBytes = 4 * keys;
  const sizes = {
    queries: QUERIES * rowBytes,
    keys: keys * rowBytes,
    values: keys * rowBytes,
    scores: QUERIES * scoreBytes,
    sums: QUERIES * rowBytes,
    most: 4 * QUERIES,
    total: 4 * QUERIES,
    fade: 4 * QUERIES,
    // Keys as f32 rows, where some come from a cache.
    ...(cached ? { rows: keys * rowBytes } : {}),
  };
  let total = 0;
  const offsets = Object.fromEntries(
    Object.entries(sizes).map(([name, bytes]) => [name, (total += bytes) - bytes]),
  ) as Record<keyof typeof sizes, number>;
  return { vectors, rowBytes, keys, scoreBytes, offsets, total };
}

type Layout = ReturnType<typeof layout>;

/** Lanes below `count` all ones. */
const lanesBelow = (count: I32): I32x4 => I32x4.lanes(0, 1, 2, 3).ltS(count.splat());

/** Copies rows of head_dim elements, times `scale`, to padded rows. */
function packFunction(k: KernelBuilder, headDim: number, { rowBytes }: Layout) {
  const params = { from: 'i32', stride: 'i32', rows: 'i32', to: 'i32', scale: 'f32' } as const;
  return k.function(params, null, (f, { from, stride, rows, to, scale }) => {
    const factor = f.let(scale.splat());
    f.forRange(0, rows, 1, (row) => {
      const [source, target] = [f.let(from.add(row.mul(stride))), f.let(to.add(row.mul(rowBytes)))];
      const whole = 16 * Math.floor(headDim / 4);
      f.forRange(0, whole, 16, (at) => {
        f.store(target.add(at), source.add(at).loadF32x4().mul(factor));
      });
      if (headDim % 4 === 0) return;
      const last = source.loadF32x4(whole).mul(factor).asI32x4();
      f.store(target, lanesBelow(I32.of(headDim % 4)).and(last), whole);
    });
  });
}

/** Scores of three queries against a panel of keys. */
function scoresFunction(k: KernelBuilder, headDim: number, { rowBytes, scoreBytes }: Layout) {
  return k.function({ queries: 'i32', panel: 'i32', scores: 'i32' }, null, (f, { queries, panel, scores }) => {
    const operands = { a: queries, aStride: rowBytes, b: panel, bStep: PANEL_STEP, depth: I32.of(headDim) };
    outerProducts(f, TILE_ROWS, TILE_VECTORS, operands).forEach((row, i) => {
      row.forEach((sum, c) => {
        f.store(scores, sum, i * scoreBytes + 16 * c);
      });
    });
  });
}

/** One query's scores to weights exp(score - maximum), with bias and mask; updates its maximum, total and fade. */
function softmaxFunction(k: KernelBuilder, { mask, bias }: WasmAttentionVariant) {
  const params = {
    row: 'i32',
    count: 'i32',
    most: 'i32',
    total: 'i32',
    fade: 'i32',
    mask: 'i32',
    bias: 'i32',
  } as const;
  return k.function(params, null, (f, args) => {
    const { row, count } = args;
    const whole = f.let(count.and(-4).shl(2));
    const rest = f.let(count.and(3));
    const highest = f.var(F32x4.of(LOWEST));
    const adjust = (at: I32, valid: I32x4 | undefined) => {
      let score = row.add(at).loadF32x4();
      if (bias) score = score.add(args.bias.add(at).loadF32x4());
      if (mask) score = args.mask.add(at).loadI32x4().eq(0).select(F32x4.of(-Infinity), score);
      if (valid !== undefined) score = valid.select(score, F32x4.of(-Infinity));
      const adjusted = f.let(score);
      if (mask || bias || valid !== undefined) f.store(row.add(at), adjusted);
      highest.set(highest.pmax(adjusted));
    };
    f.forRange(0, whole, 16, (at) => {
      adjust(at, undefined);
    });
    f.if(rest, () => {
      adjust(whole, lanesBelow(rest));
    });
    const halves = f.let(highest.pmax(highest.shuffle(highest, [2, 3, 2, 3])));
    const before = f.let(args.most.loadF32());
    const most = f.let(before.max(halves.lane(0)).max(halves.lane(1)));
    const fade = f.let(exp(f, f.let(before.sub(most).splat())).lane(0));
    const level = f.let(most.splat());
    const sum = f.var(F32x4.of(0));
    f.forRange(0, count.shl(2), 16, (at) => {
      const weight = exp(f, f.let(row.add(at).loadF32x4().sub(level)));
      f.store(row.add(at), weight);
      sum.set(sum.add(weight));
    });
    const pairs = f.let(sum.add(sum.shuffle(sum, [2, 3, 2, 3])));
    f.store(args.most, most);
    f.store(args.fade, fade);
    f.store(args.total, args.total.loadF32().mul(fade).add(pairs.lane(0)).add(pairs.lane(1)));
  });
}

/** The end of a tile's keys, or their start if the mask hides all of them: such a tile is as one without keys. */
function visibleEnd(k: KernelBuilder, mask: I32, start: I32, end: I32): I32 {
  const seen = k.var(I32.of(0));
  k.forRange(start, end, 1, (key) => {
    seen.set(seen.or(mask.add(key.shl(2)).loadI32()));
  });
  return k.let(k.select(seen.ne(0), end, start));
}

/** Four queries: sums = fade * sums + weights * values, for `wide` vectors of head_dim. */
function valuesFunction(k: KernelBuilder, { rowBytes, scoreBytes }: Layout, wide: number) {
  const params = { weights: 'i32', values: 'i32', sums: 'i32', fade: 'i32', count: 'i32' } as const;
  return k.function(params, null, (f, { weights, values, sums, fade, count }) => {
    const operands = { a: weights, aStride: scoreBytes, b: values, bStep: rowBytes, depth: count };
    outerProducts(f, VALUE_ROWS, wide, operands).forEach((row, i) => {
      row.forEach((sum, c) => {
        const at = i * rowBytes + 16 * c;
        f.store(sums, f.madd(sums.loadF32x4(at), fade.loadF32x4Splat(4 * i), sum), at);
      });
    });
  });
}

const ARGS = {
  q: 'ptr',
  k: 'ptr',
  v: 'ptr',
  mask: 'ptr',
  bias: 'ptr',
  tiles: 'ptr',
  y: 'ptr',
  tileCount: 'i32',
  queryCount: 'i32',
  keyCount: 'i32',
  heads: 'i32',
  kvHeads: 'i32',
  scale: 'f32',
} as const;
const CACHED_ARGS = { ...ARGS, cachedK: 'ptr', cachedV: 'ptr', ringRows: 'i32', first: 'i32', cached: 'i32' } as const;

const kernel = wasmKernel({
  name: 'attention',
  args: ARGS,
  body(k, args, variant: WasmAttentionVariant) {
    attend(k, args, variant, undefined);
  },
});

const cachedKernel = wasmKernel({
  name: 'attentionCached',
  args: CACHED_ARGS,
  body(k, args, variant: { readonly headDim: number; readonly dtype: CacheDType }) {
    attend(k, args, { headDim: variant.headDim, mask: false, bias: false }, { dtype: variant.dtype, args });
  },
});

interface CachedKeys {
  readonly dtype: CacheDType;
  readonly args: KernelArgs<typeof CACHED_ARGS>;
}

function attend(
  k: KernelBuilder,
  args: KernelArgs<typeof ARGS>,
  variant: WasmAttentionVariant,
  cache: CachedKeys | undefined,
): void {
  const { headDim } = variant;
  const place = layout(headDim, cache !== undefined);
  const { rowBytes } = place;
  const pack = packFunction(k, headDim, place);
  const scores = scoresFunction(k, headDim, place);
  const softmax = softmaxFunction(k, variant);
  const packKeys = packRowsFunction(k, 'f32');
  const addValues = valuesFunction(k, place, VALUE_VECTORS);
  const addLastValues = valuesFunction(k, place, 1);
  const gather =
    cache === undefined || cache.dtype === 'q8' ? undefined : gatherFunction(k, headDim, cache.dtype, rowBytes);
  const gatherQ8 = cache?.dtype === 'q8' ? gatherQ8Function(k, headDim, rowBytes) : undefined;
  const at = Object.fromEntries(
    Object.entries(place.offsets).map(([name, offset]) => [name, k.let(args.scratch.add(offset))]),
  ) as Record<keyof typeof place.offsets, I32>;
  const queryStride = k.let(args.heads.mul(4 * headDim));
  const keyStride = k.let(args.kvHeads.mul(4 * headDim));
  const one = F32.of(1);

  k.forRange(args.begin, args.end, 1, (item) => {
    const head = k.let(item.divU(args.tileCount));
    const kvHead = k.let(head.divU(args.heads.divU(args.kvHeads)));
    const tile = k.let(args.tiles.add(item.remU(args.tileCount).shl(4)));
    const query0 = k.let(tile.loadI32(0));
    const queries = k.let(tile.loadI32(4).sub(query0));
    const keyStart = k.let(tile.loadI32(8));
    const keyEnd = variant.mask ? visibleEnd(k, args.mask, keyStart, tile.loadI32(12)) : k.let(tile.loadI32(12));
    const rowStart = k.let(query0.mul(queryStride).add(head.mul(4 * headDim)));
    k.fill(at.queries, 0, QUERIES * rowBytes);
    k.call(pack, {
      from: args.q.add(rowStart),
      stride: queryStride,
      rows: queries,
      to: at.queries,
      scale: args.scale,
    });
    k.fill(at.sums, 0, QUERIES * rowBytes);
    k.forRange(0, 4 * QUERIES, 4, (i) => {
      k.store(at.most.add(i), F32.of(LOWEST));
      k.store(at.total.add(i), F32.of(0));
    });
    k.forRange(keyStart, keyEnd, place.keys, (key0) => {
      const count = k.let(keyEnd.sub(key0).minU(place.keys));
      const packPanels = (first: I32, stride: I32) => {
        k.forRange(0, count, TILE_COLUMNS, (key) => {
          const from = first.add(key.mul(stride));
          const [rows, to] = [count.sub(key).minU(TILE_COLUMNS), at.keys.add(key.mul(rowBytes))];
          k.call(packKeys, { from, stride, rows, to, depth: I32.of(headDim) });
        });
      };
      const packOwn = (row: I32) => {
        const start = k.let(row.mul(keyStride).add(kvHead.mul(4 * headDim)));
        packPanels(args.k.add(start), keyStride);
        k.call(pack, { from: args.v.add(start), stride: keyStride, rows: count, to: at.values, scale: one });
      };
      if (cache === undefined) packOwn(key0);
      else {
        const { cachedK, cachedV, ringRows, first, cached } = cache.args;
        const head = k.let(kvHead.mul(4 * headDim));
        const cachedHead = k.let(gather ? kvHead.mul(bytesOf(cache.dtype, headDim)) : kvHead.mul(headDim));
        const rows = { stride: keyStride, ringRows, first, cached, from: key0, rows: count };
        const gathered = (ring: I32, own: I32, to: I32) => {
          if (gather) k.call(gather, { ring: ring.add(cachedHead), own: own.add(head), ...rows, to });
          else k.call(gatherQ8!, { ring, own: own.add(head), ...rows, to, head: cachedHead });
        };
        const packCached = () => {
          gathered(cachedK, args.k, at.rows);
          packPanels(at.rows, I32.of(rowBytes));
          gathered(cachedV, args.v, at.values);
        };
        k.if(key0.ltU(cached), packCached, () => {
          packOwn(k.let(key0.sub(cached)));
        });
      }
      k.forRange(0, queries, TILE_ROWS, (i) => {
        const [from, to] = [k.let(at.queries.add(i.mul(rowBytes))), k.let(at.scores.add(i.mul(place.scoreBytes)))];
        k.forRange(0, count, TILE_COLUMNS, (key) => {
          k.call(scores, { queries: from, panel: at.keys.add(key.mul(rowBytes)), scores: to.add(key.shl(2)) });
        });
      });
      k.forRange(0, queries, 1, (i) => {
        const word = k.let(i.shl(2));
        // Entry (key - query) + queries - 1 of the head's row of biases.
        const entry = head.mul(args.queryCount.add(args.keyCount).sub(1)).add(args.queryCount.sub(1));
        k.call(softmax, {
          row: at.scores.add(i.mul(place.scoreBytes)),
          count,
          most: at.most.add(word),
          total: at.total.add(word),
          fade: at.fade.add(word),
          mask: args.mask.add(key0.shl(2)),
          bias: variant.bias ? args.bias.add(entry.add(key0).sub(query0.add(i)).shl(2)) : args.bias,
        });
      });
      k.forRange(0, queries, VALUE_ROWS, (i) => {
        const weights = k.let(at.scores.add(i.mul(place.scoreBytes)));
        const sums = k.let(at.sums.add(i.mul(rowBytes)));
        const fade = k.let(at.fade.add(i.shl(2)));
        const whole = place.vectors - (place.vectors % VALUE_VECTORS);
        k.forRange(0, 16 * whole, 16 * VALUE_VECTORS, (column) => {
          const values = at.values.add(column);
          k.call(addValues, { weights, values, sums: sums.add(column), fade, count });
        });
        if (whole < place.vectors) {
          const values = at.values.add(16 * whole);
          k.call(addLastValues, { weights, values, sums: sums.add(16 * whole), fade, count });
        }
      });
    });
    k.forRange(0, queries, 1, (i) => {
      const total = k.let(at.total.add(i.shl(2)).loadF32());
      // A total of 0 is that of scores that are all -Infinity, and makes NaN of the sums, which are 0.
      const factor = k.let(k.select(keyEnd.gtU(keyStart), one.div(total), F32.of(0)).splat());
      const from = k.let(at.sums.add(i.mul(rowBytes)));
      const to = k.let(args.y.add(rowStart).add(i.mul(queryStride)));
      const whole = 16 * Math.floor(headDim / 4);
      k.forRange(0, whole, 16, (offset) => {
        k.store(to.add(offset), from.add(offset).loadF32x4().mul(factor));
      });
      if (headDim % 4 !== 0) {
        storeLanes(k, to.add(whole), from.loadF32x4(whole).mul(factor), I32.of(headDim % 4));
      }
    });
  });
}

export const wasm: WasmOf<Attention> = ({ inputs, y, params }) => {
  const { q, k, v, keyMask, relativeBias, cachedK, cachedV } = inputs;
  const { cached = NONE_CACHED } = params;
  const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs, cached);
  const tiles = queryTiles(params.blocks, queries, QUERIES);
  const items = (tiles.length / 4) * heads;
  const ofCache = cached.rows > 0;
  const args = {
    q,
    k,
    v,
    mask: keyMask ?? 0,
    bias: relativeBias ?? 0,
    tiles,
    y,
    tileCount: tiles.length / 4,
    queryCount: queries,
    keyCount: keys,
    heads,
    kvHeads,
    scale: params.scale,
  };
  const step = {
    items,
    itemCost: (4 * attentionPairs(params.blocks) * heads * headDim) / items + 8 * QUERIES * headDim,
    scratchBytes: layout(headDim, ofCache).total,
  };
  if (!ofCache) {
    const variant = { headDim, mask: keyMask !== undefined, bias: relativeBias !== undefined };
    return [{ kernel, variant, args, ...step }];
  }
  const ring = { cachedK: cachedK!, cachedV: cachedV!, ringRows: cachedK!.shape[0]!, first: cached.first };
  const variant = { headDim, dtype: cachedK!.dtype };
  return [{ kernel: cachedKernel, variant, args: { ...args, ...ring, cached: cached.rows }, ...step }];
};
