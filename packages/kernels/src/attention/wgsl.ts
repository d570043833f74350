// What both WGSL attention programs share.
import type { BindingDeclaration } from '@magi1/tensor';

export interface AttentionVariant {
  /** Rows are read as vec4: head_dim is divisible by 4. */
  readonly wide: boolean;
  readonly mask: boolean;
  readonly bias: boolean;
  readonly [name: string]: string | number | boolean;
}

export const ATTENTION_PARAMS = {
  queries: 'u32',
  keys: 'u32',
  heads: 'u32',
  kv_heads: 'u32',
  /** Query heads per kv head. */
  group: 'u32',
  /** Units (vec4 or f32) in a row of one head. */
  units: 'u32',
  /** Rows of the tile table. */
  tiles: 'u32',
  /** Keys that are taken together. */
  key_tile: 'u32',
  scale: 'f32',
} as const;

/** Bits of a NaN, the divisor of a query all of whose scores are -Infinity. */
export const NAN_BITS = '0x7fc00000u';

/** `wideScores`: a wide program reads q and k as vec4, too. */
export function attentionBindings({ wide, mask, bias }: AttentionVariant, wideScores: boolean): BindingDeclaration[] {
  const rows = wide ? 'array<vec4f>' : 'array<f32>';
  const factors = wideScores ? rows : 'array<f32>';
  return [
    { name: 'q', type: factors, access: 'read' },
    { name: 'k', type: factors, access: 'read' },
    { name: 'v', type: rows, access: 'read' },
    // query start, query end, key start, key end
    { name: 'tiles', type: 'array<vec4u>', access: 'read' },
    ...(mask ? [{ name: 'keyMask', type: 'array<i32>', access: 'read' } as const] : []),
    ...(bias ? [{ name: 'relativeBias', type: 'array<f32>', access: 'read' } as const] : []),
    { name: 'y', type: rows, access: 'read_write' },
  ];
}
