// Flash attention for everything else: 16 x 16 invocations attend 64 queries to 32 keys at a time, with scores and slices
// of q, k and v in workgroup memory. Invocation (x, y) makes rows y + 16 r: scores of keys x + 16 c, then sums of the
// value vectors x + 16 c.
import type { WgslProgram } from '@magi1/tensor';
import { EXP, valueType } from '../support/wgslFunctions.ts';
import { WORKGROUP_INDEX } from '../support/wgsl.ts';
import { ATTENTION_PARAMS, LOWEST, VISIBLE, attentionBindings } from './wgsl.ts';
import type { AttentionVariant } from './wgsl.ts';

export const TILE_QUERIES = 64;
const SIDE = 16;
const KEYS = 32;
const ROWS_EACH = TILE_QUERIES / SIDE;
const KEYS_EACH = KEYS / SIDE;
/** Vectors of a row of q and k that are staged at a time. */
const SLICE = 4;
/** Keys whose values are staged at a time: 8 rows of 32 vectors. */
const VALUE_KEYS = 8;

const range = (count: number): number[] => [...Array(count).keys()];

export interface TileAttentionVariant extends AttentionVariant {
  readonly headDim: number;
}

export const tileAttention: WgslProgram<TileAttentionVariant> = {
  name: 'attentionTile',
  bindings: attentionBindings,
  params: ATTENTION_PARAMS,
  source: ({ headDim, wide, mask, bias }) => {
    const vectors = Math.ceil(headDim / 4);
    const rows = range(ROWS_EACH);
    const keys = range(KEYS_EACH);
    const parts = range(Math.ceil(vectors / SIDE));
    const sums = rows.flatMap((r) => parts.map((c) => `sum${r}_${c}`));
    return /* wgsl */ `
${valueType(false)}
${EXP}
${WORKGROUP_INDEX}
const QUERIES = ${TILE_QUERIES}u;
const KEYS = ${KEYS}u;
const SLICE = ${SLICE}u;
const VECTORS = ${vectors}u;
const VALUE_KEYS = ${VALUE_KEYS}u;
var<workgroup> scores: array<f32, ${TILE_QUERIES * KEYS}>;
var<workgroup> stage: array<vec4f, ${SLICE * (TILE_QUERIES + KEYS)}>;
var<workgroup> shares: array<f32, ${SIDE * SIDE}>;
var<workgroup> fade: array<f32, ${TILE_QUERIES}>;

// Vector \`i\` of a row of one head; zero past its end.
${wide ? 'fn row_start(row: u32) -> u32 { return row * VECTORS; }' : `fn row_start(row: u32) -> u32 { return row * ${headDim}u; }`}
${['q', 'k', 'v'].map((name) => loader(name, headDim, wide)).join('\n')}

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
  // In softmax steps four invocations share a row; each keeps its maximum and its share of the total.
  let row = lane / 4u;
  var most = ${LOWEST};
  var total = 0.0;
  ${sums.map((name) => `var ${name} = vec4f();`).join(' ')}
  ${bias ? 'let bias_start = head * (params.queries + params.keys - 1u) + params.queries - 1u;' : ''}
  for (var first = tile.z; first < tile.w; first += KEYS) {
    ${rows.map((r) => keys.map((c) => `var z${r}_${c} = 0.0;`).join(' ')).join(' ')}
    for (var slice = 0u; slice < VECTORS; slice += SLICE) {
      for (var i = lane; i < SLICE * (QUERIES + KEYS); i += ${SIDE * SIDE}u) {
        let at = slice + i % SLICE;
        let r = i / SLICE;
        if (r < QUERIES) {
          stage[(i % SLICE) * QUERIES + r] = load_q(row_start(min(tile.x + r, last) * params.heads + head), at) * params.scale;
        } else {
          let key = min(first + r - QUERIES, tile.w - 1u);
          stage[SLICE * QUERIES + (i % SLICE) * KEYS + r - QUERIES] = load_k(row_start(key * params.kv_heads + kv_head), at);
        }
      }
      workgroupBarrier();
      let depth = min(SLICE, VECTORS - slice);
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
    ${keys
      .map(
        (c) => `{
      let key = first + ${SIDE * c}u + place.x;
      ${mask ? 'let visible = key < tile.w && keyMask[min(key, tile.w - 1u)] != 0;' : 'let visible = key < tile.w;'}
      ${rows
        .map((r) => {
          const extra = bias
            ? ` + relativeBias[bias_start + min(key, tile.w - 1u) - min(tile.x + ${SIDE * r}u + place.y, last)]`
            : '';
          return `scores[(${SIDE * r}u + place.y) * KEYS + ${SIDE * c}u + place.x] = select(${LOWEST}, z${r}_${c}${extra}, visible);`;
        })
        .join('\n      ')}
    }`,
      )
      .join('\n    ')}
    workgroupBarrier();
    let start = row * KEYS + lane % 4u;
    var higher = most;
    for (var i = 0u; i < KEYS; i += 4u) { higher = max(higher, scores[start + i]); }
    shares[lane] = higher;
    workgroupBarrier();
    higher = max(max(shares[4u * row], shares[4u * row + 1u]), max(shares[4u * row + 2u], shares[4u * row + 3u]));
    let factor = exp_(most - higher);
    most = higher;
    total *= factor;
    if (lane % 4u == 0u) { fade[row] = factor; }
    for (var i = 0u; i < KEYS; i += 4u) {
      let z = scores[start + i];
      let p = select(0.0, exp_(z - most), z > ${VISIBLE});
      scores[start + i] = p;
      total += p;
    }
    workgroupBarrier();
    ${rows.map((r) => parts.map((c) => `sum${r}_${c} *= fade[${SIDE * r}u + place.y];`).join(' ')).join(' ')}
    for (var value0 = 0u; value0 < KEYS; value0 += VALUE_KEYS) {
      for (var i = lane; i < VALUE_KEYS * VECTORS; i += ${SIDE * SIDE}u) {
        let key = min(first + value0 + i / VECTORS, tile.w - 1u);
        stage[i] = load_v(row_start(key * params.kv_heads + kv_head), i % VECTORS);
      }
      workgroupBarrier();
      for (var i = 0u; i < VALUE_KEYS; i++) {
        ${parts.map((c) => `let v${c} = stage[i * VECTORS + min(${SIDE * c}u + place.x, VECTORS - 1u)];`).join(' ')}
        ${rows
          .map((r) => {
            const adds = parts.map((c) => `sum${r}_${c} += p * v${c};`).join(' ');
            return `{ let p = scores[(${SIDE * r}u + place.y) * KEYS + value0 + i]; ${adds} }`;
          })
          .join('\n        ')}
      }
      workgroupBarrier();
    }
  }
  shares[lane] = total;
  workgroupBarrier();
  ${rows
    .map(
      (r) => `{
    let r = ${SIDE * r}u + place.y;
    let total = (shares[4u * r] + shares[4u * r + 1u]) + (shares[4u * r + 2u] + shares[4u * r + 3u]);
    let factor = select(0.0, 1.0 / total, total > 0.0);
    let query = tile.x + r;
    if (query < tile.y) {
      let to = row_start(query * params.heads + head);
      ${parts.map((c) => `store_y(to, ${SIDE * c}u + place.x, sum${r}_${c} * factor);`).join(' ')}
    }
  }`,
    )
    .join('\n  ')}
}

${
  wide
    ? 'fn store_y(start: u32, i: u32, value: vec4f) { if (i < VECTORS) { y[start + i] = value; } }'
    : `fn store_y(start: u32, i: u32, value: vec4f) {
  for (var c = 0u; c < 4u && 4u * i + c < ${headDim}u; c++) { y[start + 4u * i + c] = value[c]; }
}`
}
`;
  },
};

function loader(name: string, headDim: number, wide: boolean): string {
  if (wide) {
    return `fn load_${name}(start: u32, i: u32) -> vec4f { if (i >= VECTORS) { return vec4f(); } return ${name}[start + i]; }`;
  }
  return `fn load_${name}(start: u32, i: u32) -> vec4f {
  var loaded = vec4f();
  for (var c = 0u; c < 4u && 4u * i + c < ${headDim}u; c++) { loaded[c] = ${name}[start + 4u * i + c]; }
  return loaded;
}`;
}
