// Flash attention for GPUs, and for software adapters without subgroups of 4 or 8: 16 x 16 invocations attend 64 queries to 32 keys at a time, with scores and slices
// of q, k and v in workgroup memory. Invocation (x, y) makes rows y + 16 r: scores of keys x + 16 c, then sums of the
// value vectors x + 16 c.
import type { WgslProgram } from '@magi1/tensor';
import { WORKGROUP_INDEX } from '../support/wgsl/dispatch.ts';
import { range } from '../support/wgsl/range.ts';
import { EXP, valueType } from '../support/wgsl/functions.ts';
import { LOWEST } from './contract.ts';
import type { CacheDType } from './contract.ts';
import { ATTENTION_PARAMS, CACHE_ROWS, NAN_BITS, RING_PARAMS, attentionBindings, cachedUnits } from './wgsl.ts';
import type { AttentionVariant } from './wgsl.ts';

export const TILE_QUERIES = 64;
const SIDE = 16;
export const TILE_KEYS = 32;
const ROWS_EACH = TILE_QUERIES / SIDE;
const KEYS_EACH = TILE_KEYS / SIDE;
/** Vectors of a row of q and k that are staged at a time. */
export const SLICE = 4;
/** Keys whose values are staged at a time: 8 rows of 32 vectors. */
export const VALUE_KEYS = 8;

export interface TileAttentionVariant extends AttentionVariant {
  /** Vectors of a row of sums that one invocation makes: rows have up to 16 of them. */
  readonly parts: number;
}

/** `parts` of a program for rows of `headDim` elements. */
export const tileParts = (headDim: number): number => Math.ceil(headDim / (4 * SIDE));

// Ends of loops are parameters: compilers unroll what has a constant end, even `min(constant, ...)`, which takes seconds.
const PARAMS = { ...ATTENTION_PARAMS, slice: 'u32', value_keys: 'u32' } as const;

export const tileAttention: WgslProgram<TileAttentionVariant> = {
  name: 'attentionTile',
  bindings: (variant) => attentionBindings(variant, true),
  params: PARAMS,
  source,
};

/** The same with keys of a ring in front. */
export const cachedTileAttention: WgslProgram<TileAttentionVariant & { readonly cached: CacheDType }> = {
  name: 'attentionCachedTile',
  bindings: (variant) => attentionBindings(variant, true),
  params: { ...PARAMS, ...RING_PARAMS },
  source,
};

function source({ parts, wide, mask, bias, cached }: TileAttentionVariant): string {
  const rows = range(ROWS_EACH);
  const keys = range(KEYS_EACH);
  const columns = range(parts);
  const sums = rows.flatMap((r) => columns.map((c) => `sum${r}_${c}`));
  const visible = `first + i < tile.w${mask ? ' && keyMask[key] != 0' : ''}`;
  return /* wgsl */ `
${valueType(false)}
${EXP}
${WORKGROUP_INDEX}
const QUERIES = ${TILE_QUERIES}u;
const KEYS = ${TILE_KEYS}u;
const SLICE = ${SLICE}u;
var<workgroup> scores: array<f32, ${TILE_QUERIES * TILE_KEYS}>;
var<workgroup> stage: array<vec4f, ${Math.max(SLICE * (TILE_QUERIES + TILE_KEYS), VALUE_KEYS * SIDE * parts)}>;
var<workgroup> shares: array<f32, ${SIDE * SIDE}>;
var<workgroup> fade: array<f32, ${TILE_QUERIES}>;

// Vector \`i\` of the row that starts at unit \`start\`; the part of it past the row's end is zero.
${['q', 'k', 'v'].map((name) => loader(name, wide)).join('\n')}${cached === undefined ? '' : cachedLoaders(cached, wide)}

@compute @workgroup_size(${SIDE}, ${SIDE})
fn main(
  @builtin(workgroup_id) id: vec3u,
  @builtin(num_workgroups) count: vec3u,
  @builtin(local_invocation_id) place: vec3u,
  @builtin(local_invocation_index) lane: u32,
) {
  let index = workgroup_index(id, count);
  if (index >= params.tiles * params.heads) { return; }
  let head = index / params.tiles;
  let kv_head = head / params.group;
  let tile = tiles[index % params.tiles];
  let last = tile.y - 1u;
  let units = params.units;
  let vectors = ${wide ? 'units' : '(units + 3u) / 4u'};
  // In softmax steps four invocations share a row; each keeps its maximum and its share of the total.
  let row = lane / 4u;
  var most = ${LOWEST};
  var total = 0.0;
  ${mask ? 'var seen = false;' : ''}
  ${sums.map((name) => `var ${name} = vec4f();`).join(' ')}
  ${bias ? 'let bias_start = head * (params.queries + params.keys - 1u) + params.queries - 1u - min(tile.x + row, last);' : ''}
  for (var first = tile.z; first < tile.w; first += KEYS) {
    ${rows.map((r) => keys.map((c) => `var z${r}_${c} = 0.0;`).join(' ')).join(' ')}
    for (var slice = 0u; slice < vectors; slice += SLICE) {
      // As many invocations as vectors of q, twice as many as of k.
      let query = min(tile.x + lane / SLICE, last);
      stage[(lane % SLICE) * QUERIES + lane / SLICE] = load_q((query * params.heads + head) * units, slice + lane % SLICE) * params.scale;
      if (lane < SLICE * KEYS) {
        let key = min(first + lane / SLICE, tile.w - 1u);
        stage[SLICE * QUERIES + (lane % SLICE) * KEYS + lane / SLICE] = ${keyLoad('k', cached, 'key', 'slice + lane % SLICE')};
      }
      workgroupBarrier();
      let depth = min(params.slice, vectors - slice);
      for (var d = 0u; d < depth; d++) {
        ${keys.map((c) => `let k${c} = stage[SLICE * QUERIES + d * KEYS + ${SIDE * c}u + place.x];`).join(' ')}
        ${rows
          .map((r) => {
            const adds = keys.map((c) => `z${r}_${c} += dot(a, k${c});`).join(' ');
            return `{ let a = stage[d * QUERIES + ${SIDE * r}u + place.y]; ${adds} }`;
          })
          .join('\n        ')}
      }
      workgroupBarrier();
    }
    ${rows.map((r) => keys.map((c) => `scores[(${SIDE * r}u + place.y) * KEYS + ${SIDE * c}u + place.x] = z${r}_${c};`).join(' ')).join('\n    ')}
    workgroupBarrier();
    var higher = most;
    for (var i = lane % 4u; i < params.key_tile; i += 4u) {
      let key = min(first + i, tile.w - 1u);
      let visible = ${visible};
      ${mask ? 'seen |= visible;' : ''}
      let z = select(${LOWEST}, scores[row * KEYS + i]${bias ? ' + relativeBias[bias_start + key]' : ''}, visible);
      scores[row * KEYS + i] = z;
      higher = max(higher, z);
    }
    shares[lane] = higher;
    workgroupBarrier();
    higher = max(max(shares[4u * row], shares[4u * row + 1u]), max(shares[4u * row + 2u], shares[4u * row + 3u]));
    let factor = exp_number(most - higher);
    most = higher;
    total *= factor;
    if (lane % 4u == 0u) { fade[row] = factor; }
    for (var i = lane % 4u; i < params.key_tile; i += 4u) {
      ${mask ? 'let key = min(first + i, tile.w - 1u);' : ''}
      let p = select(0.0, exp_(scores[row * KEYS + i] - most), ${visible});
      scores[row * KEYS + i] = p;
      total += p;
    }
    workgroupBarrier();
    ${rows.map((r) => `{ let factor = fade[${SIDE * r}u + place.y]; ${columns.map((c) => `sum${r}_${c} *= factor;`).join(' ')} }`).join('\n    ')}
    for (var value0 = 0u; value0 < params.key_tile; value0 += params.value_keys) {
      for (var i = lane; i < params.value_keys * vectors; i += ${SIDE * SIDE}u) {
        // Values past the last key are 0: times a weight of 0 an infinite one would leave NaN.
        let key = first + value0 + i / vectors;
        let value = ${keyLoad('v', cached, 'min(key, tile.w - 1u)', 'i % vectors')};
        stage[i] = select(vec4f(), value, key < tile.w);
      }
      workgroupBarrier();
      for (var i = 0u; i < params.value_keys; i++) {
        ${columns.map((c) => `let v${c} = stage[i * vectors + min(${SIDE * c}u + place.x, vectors - 1u)];`).join(' ')}
        ${rows
          .map((r) => {
            const adds = columns.map((c) => `sum${r}_${c} += p * v${c};`).join(' ');
            return `{ let p = scores[(${SIDE * r}u + place.y) * KEYS + value0 + i]; ${adds} }`;
          })
          .join('\n        ')}
      }
      workgroupBarrier();
    }
  }
  ${mask ? SHARE_SEEN : 'shares[lane] = total;'}
  workgroupBarrier();
  var sums: array<vec4f, ${sums.length}>;
  ${sums.map((name, i) => `sums[${i}] = ${name};`).join(' ')}
  // Not unrolled, as its end is not constant: unrolled stores would take seconds to compile.
  let end = ${parts}u * ((tile.y - tile.x + ${SIDE - 1}u) / ${SIDE}u);
  for (var i = 0u; i < end; i++) {
    let r = ${SIDE}u * (i / ${parts}u) + place.y;
    let vector = ${SIDE}u * (i % ${parts}u) + place.x;
    let query = tile.x + r;
    if (query < tile.y && vector < vectors) {
      let total = (shares[4u * r] + shares[4u * r + 1u]) + (shares[4u * r + 2u] + shares[4u * r + 3u]);
      let divisor = bitcast<f32>(select(bitcast<u32>(total), ${NAN_BITS}, total == 0.0));
      let value = select(sums[i] / divisor, vec4f(), ${mask ? 'total < 0.0' : 'tile.z == tile.w'});
      let start = (query * params.heads + head) * units;
      ${wide ? 'y[start + vector] = value;' : 'for (var c = 0u; c < min(params.slice, units - 4u * vector); c++) { y[start + 4u * vector + c] = value[c]; }'}
    }
  }
}
`;
}

// The total of a row that sees no key is negative.
const SHARE_SEEN = `shares[lane] = select(0.0, 1.0, seen);
  workgroupBarrier();
  let row_seen = shares[4u * row] + shares[4u * row + 1u] + shares[4u * row + 2u] + shares[4u * row + 3u] > 0.0;
  workgroupBarrier();
  shares[lane] = select(-1.0, total, row_seen);`;

function loader(name: string, wide: boolean): string {
  if (wide) return `fn load_${name}(start: u32, i: u32) -> vec4f { return ${name}[start + i]; }`;
  return `fn one_${name}(start: u32, i: u32) -> f32 { return select(0.0, ${name}[start + min(i, params.units - 1u)], i < params.units); }
fn load_${name}(start: u32, i: u32) -> vec4f {
  return vec4f(${range(4)
    .map((c) => `one_${name}(start, 4u * i + ${c}u)`)
    .join(', ')});
}`;
}

/** Vector `i` of the row of a key, wherever it lies. */
function cachedLoaders(dtype: CacheDType, wide: boolean): string {
  const loaders = ['k', 'v'].map((name) => {
    const start = '(ring_row(key) * params.kv_heads + kv_head) * params.units';
    const elements = range(4).map(
      (c) =>
        `select(0.0, cached_${name}(start + min(4u * i + ${c}u, params.units - 1u)), 4u * i + ${c}u < params.units)`,
    );
    return `
fn load_key_${name}(key: u32, kv_head: u32, i: u32) -> vec4f {
  if (is_cached(key)) {
    let start = ${start};
    return ${wide ? `cached_${name}(start + i)` : `vec4f(${elements.join(', ')})`};
  }
  return load_${name}((own_row(key) * params.kv_heads + kv_head) * params.units, i);
}`;
  });
  return `${CACHE_ROWS}
${cachedUnits(dtype, wide)}${loaders.join('')}`;
}

function keyLoad(name: 'k' | 'v', cached: CacheDType | undefined, key: string, i: string): string {
  if (cached !== undefined) return `load_key_${name}(${key}, kv_head, ${i})`;
  return `load_${name}((${key} * params.kv_heads + kv_head) * units, ${i})`;
}
