// What both WGSL attention programs share.
import type { BindingDeclaration } from '@magi1/tensor';
import { decodeFour, decodeOne, decodeWord } from '../support/wgsl/decode.ts';
import type { CacheDType } from './contract.ts';

export interface AttentionVariant {
  /** Rows are read as vec4: head_dim is divisible by 4. */
  readonly wide: boolean;
  readonly mask: boolean;
  readonly bias: boolean;
  /** How cached keys and values are stored, where there are any. */
  readonly cached?: CacheDType;
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

/** The ring of cached keys, whose rows come first on the key axis. */
export const RING_PARAMS = { cached: 'u32', first: 'u32', ring: 'u32' } as const;

/** Where key `key` lies: `own_row` in k and v, `ring_row` in the cache. */
export const CACHE_ROWS = /* wgsl */ `
fn is_cached(key: u32) -> bool { return key < params.cached; }
fn own_row(key: u32) -> u32 { return key - params.cached; }
// params.first may be negative, as u32, for a key axis that starts before the first key.
fn ring_row(key: u32) -> u32 {
  let row = params.first + key;
  return select(row, row - params.ring, row >= params.ring);
}`;

/** Bits of a NaN, the divisor of a query all of whose scores are -Infinity. */
export const NAN_BITS = '0x7fc00000u';

/** `wideScores`: a wide program reads q and k as vec4, too. */
export function attentionBindings(variant: AttentionVariant, wideScores: boolean): BindingDeclaration[] {
  const { wide, mask, bias, cached } = variant;
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
    ...(cached === undefined
      ? []
      : ['cachedK', 'cachedV'].map((name) => {
          if (cached === 'q8') return { name, type: 'array<u32>', access: 'read' } as const;
          const { type } = wide ? decodeFour(cached) : decodeOne(cached, name);
          return { name, type: `array<${type}>`, access: 'read' } as const;
        })),
    { name: 'y', type: rows, access: 'read_write' },
  ];
}

/** `cached_k` and `cached_v`: a unit of the cache, a vector or an element. */
export function cachedUnits(dtype: CacheDType, wide: boolean): string {
  const unit = (name: string, value: string) =>
    `fn cached_${name}(i: u32) -> ${wide ? 'vec4f' : 'f32'} { return ${value}; }`;
  // 16 vectors are a group of 17 words, the first of which holds the scales of its halves.
  if (dtype === 'q8') {
    const vector = (name: string) => `fn cached_${name}(i: u32) -> vec4f {
  let group = 17u * (i >> 4u);
  let codes = vec4i(vec4u(${name === 'k' ? 'cachedK' : 'cachedV'}[group + 1u + (i & 15u)]) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  return unpack2x16float(${name === 'k' ? 'cachedK' : 'cachedV'}[group])[(i >> 3u) & 1u] * vec4f(codes);
}`;
    return `${vector('k')}
${vector('v')}`;
  }
  if (wide) {
    return `${decodeFour(dtype).code}
${unit('k', 'decode4(cachedK[i])')}
${unit('v', 'decode4(cachedV[i])')}`;
  }
  const element = (binding: string): string => {
    if (dtype === 'f32') return `${binding}[i]`;
    return `decode_word(${binding}[i / 2u])[i % 2u]`;
  };
  return `${decodeWord(dtype)}
${unit('k', element('cachedK'))}
${unit('v', element('cachedV'))}`;
}
