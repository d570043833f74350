// Chooses an attention program for an adapter and a size.
import type { OpDefinition } from '@magi1/tensor';
import { foldWorkgroups, softwareLanes } from '../support/wgsl/dispatch.ts';
import type { AttentionParams } from './index.ts';
import { attentionSizes } from './sizes.ts';
import { KEPT_KEYS, QUERIES_PER_LANE, subgroupAttention } from './subgroup.ts';
import { SLICE, TILE_KEYS, TILE_QUERIES, VALUE_KEYS, tileAttention, tileParts } from './workgroup.ts';
import { queryTiles } from './work-list.ts';

export const webgpu: NonNullable<
  OpDefinition<'q' | 'k' | 'v', 'keyMask' | 'relativeBias', AttentionParams>['webgpu']
> = ({ inputs, outputs, params }, capabilities) => {
  const { q, k, v, keyMask, relativeBias } = inputs;
  const { queries, heads, headDim, keys, kvHeads } = attentionSizes(inputs);
  const switches = { wide: headDim % 4 === 0, mask: keyMask !== undefined, bias: relativeBias !== undefined };
  const lanes = softwareLanes(capabilities);
  const bySubgroup = lanes > 0;
  const units = switches.wide ? headDim / 4 : headDim;
  const tiles = queryTiles(params.blocks, queries, bySubgroup ? lanes * QUERIES_PER_LANE : TILE_QUERIES);
  return [
    {
      program: bySubgroup ? subgroupAttention : tileAttention,
      variant: bySubgroup ? { ...switches, lanes } : { ...switches, parts: tileParts(headDim) },
      bindings: {
        q,
        k,
        v,
        tiles,
        ...(keyMask === undefined ? {} : { keyMask }),
        ...(relativeBias === undefined ? {} : { relativeBias }),
        y: outputs[0]!,
      },
      params: {
        queries,
        keys,
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
    },
  ];
};
