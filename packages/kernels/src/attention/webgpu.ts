// Chooses an attention program for an adapter and a size, and cuts a call whose operands are larger than one binding.
import type { WebGpuOf } from '@magi1/tensor';
import { foldWorkgroups, softwareLanes } from '../support/wgsl/dispatch.ts';
import { windowOf } from '../support/wgsl/row-ranges.ts';
import { attentionSizes } from './contract.ts';
import type { Attention } from './contract.ts';
import { KEPT_KEYS, QUERIES_PER_LANE, subgroupAttention } from './subgroup.ts';
import { queryTiles, tileGroups } from './work-list.ts';
import type { TileGroup } from './work-list.ts';
import { SLICE, TILE_KEYS, TILE_QUERIES, VALUE_KEYS, tileAttention, tileParts } from './workgroup.ts';

export const webgpu: WebGpuOf<Attention> = ({ inputs, y, params }, capabilities) => {
  const { q, k, v, keyMask, relativeBias } = inputs;
  const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs);
  const switches = { wide: headDim % 4 === 0, mask: keyMask !== undefined, bias: relativeBias !== undefined };
  const lanes = softwareLanes(capabilities);
  const bySubgroup = lanes > 0;
  const units = switches.wide ? headDim / 4 : headDim;
  const tiles = queryTiles(params.blocks, queries, bySubgroup ? lanes * QUERIES_PER_LANE : TILE_QUERIES);
  const [queryBytes, keyBytes] = [4 * heads * headDim, 4 * kvHeads * headDim];
  const most = (rowBytes: number) => Math.floor(capabilities.maxBindingBytes / rowBytes);
  const isWhole = queries <= most(queryBytes) && keys <= most(keyBytes);
  const groups: TileGroup[] = isWhole
    ? [{ tiles, queries: [0, queries], keys: [0, keys] }]
    : tileGroups(tiles, most(queryBytes), most(keyBytes));
  return groups.map(({ tiles, queries: [q0, q1], keys: [k0, k1] }) => ({
    program: bySubgroup ? subgroupAttention : tileAttention,
    variant: bySubgroup ? { ...switches, lanes } : { ...switches, parts: tileParts(headDim) },
    bindings: {
      q: windowOf(q, queryBytes, q0, q1),
      k: windowOf(k, keyBytes, k0, k1),
      v: windowOf(v, keyBytes, k0, k1),
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
    },
    workgroups: foldWorkgroups('attention', (tiles.length / 4) * heads, capabilities),
  }));
};
