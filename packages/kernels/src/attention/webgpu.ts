// Chooses an attention program for an adapter and a size, and cuts a call whose operands are larger than one binding.
import type { WebGpuOf } from '@magi1/tensor';
import { foldWorkgroups, softwareLanes } from '../support/wgsl/dispatch.ts';
import { windowOf } from '../support/wgsl/row-ranges.ts';
import { NONE_CACHED, attentionSizes } from './contract.ts';
import type { Attention, CacheDType } from './contract.ts';
import { KEPT_KEYS, QUERIES_PER_LANE, cachedSubgroupAttention, subgroupAttention } from './subgroup.ts';
import { WINDOW_ROWS, queryTiles, tileGroups } from './work-list.ts';
import type { TileGroup } from './work-list.ts';
import {
  SLICE,
  TILE_KEYS,
  TILE_QUERIES,
  VALUE_KEYS,
  cachedTileAttention,
  tileAttention,
  tileParts,
} from './workgroup.ts';

export const webgpu: WebGpuOf<Attention> = ({ inputs, y, params }, capabilities) => {
  const { q, k, v, keyMask, relativeBias, cachedK, cachedV } = inputs;
  const { cached = NONE_CACHED } = params;
  const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs, cached);
  const switches = { wide: headDim % 4 === 0, mask: keyMask !== undefined, bias: relativeBias !== undefined };
  const ring = cached.rows > 0 ? cachedK!.shape[0]! : 0;
  const lanes = softwareLanes(capabilities);
  const bySubgroup = lanes > 0;
  const units = switches.wide ? headDim / 4 : headDim;
  const tiles = queryTiles(params.blocks, queries, bySubgroup ? lanes * QUERIES_PER_LANE : TILE_QUERIES);
  const [queryBytes, keyBytes] = [4 * heads * headDim, 4 * kvHeads * headDim];
  const most = (rowBytes: number) => Math.floor(capabilities.maxBindingBytes / rowBytes);
  const isWhole = queries <= most(queryBytes) && keys - cached.rows <= most(keyBytes);
  // Windows of k and v start at aligned rows: where there are several, the key axis starts so many rows earlier.
  const lead = isWhole ? 0 : (WINDOW_ROWS - (cached.rows % WINDOW_ROWS)) % WINDOW_ROWS;
  const cachedEnd = cached.rows + lead;
  const groups: TileGroup[] = isWhole
    ? [{ tiles, queries: [0, queries], keys: [0, keys] }]
    : tileGroups(
        tiles.map((row, i) => (i % 4 < 2 ? row : row + lead)),
        most(queryBytes),
        most(keyBytes),
      );
  const dtype = ring > 0 ? { cached: cachedK!.dtype as CacheDType } : {};
  const programs = ring > 0 ? [cachedSubgroupAttention, cachedTileAttention] : [subgroupAttention, tileAttention];
  return groups.map(({ tiles, queries: [q0, q1], keys: [k0, k1] }) => {
    // The window's cached keys, and its rows of k and v.
    const own = [Math.max(k0 - cachedEnd, 0), Math.max(k1 - cachedEnd, 0)] as const;
    return {
      program: programs[bySubgroup ? 0 : 1]!,
      variant: { ...switches, ...dtype, ...(bySubgroup ? { lanes } : { parts: tileParts(headDim) }) },
      bindings: {
        q: windowOf(q, queryBytes, q0, q1),
        k: windowOf(k, keyBytes, ...own),
        v: windowOf(v, keyBytes, ...own),
        ...(ring > 0 ? { cachedK: cachedK!, cachedV: cachedV! } : {}),
        tiles,
        ...(keyMask === undefined ? {} : { keyMask: windowOf(keyMask, 4, k0, k1) }),
        ...(relativeBias === undefined ? {} : { relativeBias }),
        y: windowOf(y, queryBytes, q0, q1),
      },
      params: {
        // Read for the bias alone, which is bound whole: entry [h, key - query + queries - 1] of rows of queries + keys - 1,
        // where the windows' rows are k0 and q0 less than the call's.
        queries: queries - q0 + k0,
        keys: keys + q0 - k0,
        heads,
        kv_heads: kvHeads,
        group: heads / kvHeads,
        units,
        tiles: tiles.length / 4,
        key_tile: bySubgroup ? KEPT_KEYS : TILE_KEYS,
        scale: params.scale,
        ...(bySubgroup ? { head_dim: headDim, unit_tile: lanes } : { slice: SLICE, value_keys: VALUE_KEYS }),
        ...(ring > 0 ? { cached: Math.max(cachedEnd - k0, 0), first: (cached.first - lead + k0) >>> 0, ring } : {}),
      },
      workgroups: foldWorkgroups('attention', (tiles.length / 4) * heads, capabilities),
    };
  });
};
