// Flash attention for adapters without fast workgroup memory (software adapters): one subgroup per workgroup, no barriers.
// Every lane owns four queries, so softmax needs no exchange; rows of k and v are loaded once per subgroup and broadcast.
// What is unrolled is two tiles of sums in scalars; the sums of earlier keys are kept in y. Arrays are slow there and only
// take what leaves a tile, and they are neither large nor zeroed, as that is a store per element for the compiler.
import type { WgslProgram } from '@magi1/tensor';
import { WORKGROUP_INDEX } from '../support/wgsl/dispatch.ts';
import { range } from '../support/wgsl/range.ts';
import { EXP, valueType } from '../support/wgsl/functions.ts';
import { LOWEST } from './contract.ts';
import type { CacheDType } from './contract.ts';
import { ATTENTION_PARAMS, CACHE_ROWS, NAN_BITS, RING_PARAMS, attentionBindings, cachedUnits } from './wgsl.ts';
import type { AttentionVariant } from './wgsl.ts';

export interface SubgroupAttentionVariant extends AttentionVariant {
  readonly lanes: number;
}

export const QUERIES_PER_LANE = 4;
/**
 * Keys of one unrolled tile of scores, after which the running maximum is adjusted. Compilers unroll loops whose end is a
 * constant, `min(constant, ...)` or guessed from the length of an array that is indexed by the variable of the loop, which
 * takes them seconds: ends are parameters, and indices differences.
 */
const KEYS = 16;
/** Keys whose weights are kept, after which sums are added to y. */
export const KEPT_KEYS = 64;

const FOUR = range(QUERIES_PER_LANE);

const PARAMS = { ...ATTENTION_PARAMS, head_dim: 'u32', unit_tile: 'u32' } as const;

export const subgroupAttention: WgslProgram<SubgroupAttentionVariant> = {
  name: 'attentionSubgroup',
  enables: () => ['subgroups'],
  bindings: (variant) => attentionBindings(variant, false),
  params: PARAMS,
  source,
};

/** The same with keys of a ring in front. */
export const cachedSubgroupAttention: WgslProgram<SubgroupAttentionVariant & { readonly cached: CacheDType }> = {
  name: 'attentionCachedSubgroup',
  enables: () => ['subgroups'],
  bindings: (variant) => attentionBindings(variant, false),
  params: { ...PARAMS, ...RING_PARAMS },
  source,
};

function source(variant: SubgroupAttentionVariant): string {
  const { wide, mask, bias, lanes, cached } = variant;
  const biasOf = (j: number) => `relativeBias[bias_start + key - min(query0 + ${j * lanes}u, tile.y - 1u)]`;
  return /* wgsl */ `
alias Unit = ${wide ? 'vec4f' : 'f32'};
${valueType(true)}
${EXP}
${WORKGROUP_INDEX}${cached === undefined ? '' : cachedReads(cached, wide)}
// Scores, then weights, of a lane's queries; a lane touches its own only.
var<workgroup> kept: array<vec4f, ${KEPT_KEYS * lanes}>;

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(id, count);
  if (index >= params.tiles * params.heads) { return; }
  let units = params.units;
  let head = index / params.tiles;
  let kv_head = head / params.group;
  let tile = tiles[index % params.tiles];
  let query0 = tile.x + lane;
  ${FOUR.map((j) => `let query_start${j} = (min(query0 + ${j * lanes}u, tile.y - 1u) * params.heads + head) * params.head_dim;`).join('\n  ')}
  ${bias ? 'let bias_start = head * (params.queries + params.keys - 1u) + params.queries - 1u;' : ''}
  ${mask ? VISIBLE_KEYS : 'let keys_end = tile.w;'}
  // Queries that some lane has.
  let used = (tile.y - tile.x + ${lanes - 1}u) / ${lanes}u;
  // Every vec4f below is of the lane's four queries.
  var most = vec4f(${LOWEST});
  var total = vec4f();
  for (var kept0 = tile.z; kept0 < keys_end; kept0 += ${KEPT_KEYS}u) {
    let kept_end = min(kept0 + params.key_tile, keys_end);
    var higher = most;
    for (var first = kept0; first < kept_end; first += ${KEYS}u) {
      let end = min(first + ${KEYS}u, kept_end);
      ${scoreTile(variant)}
      for (var key = first; key < end; key++) {
        var score = scores[key - first] * params.scale;
        ${bias ? `score += vec4f(${FOUR.map(biasOf).join(', ')});` : ''}
        ${mask ? `score = select(score, vec4f(${LOWEST}), keyMask[key] == 0);` : ''}
        kept[(key - kept0) * ${lanes}u + lane] = score;
        higher = max(higher, score);
      }
    }
    let fade = exp_number(most - higher);
    most = higher;
    total *= fade;
    for (var key = kept0; key < kept_end; key++) {
      let at = (key - kept0) * ${lanes}u + lane;
      let weight = ${mask ? 'select(exp_(kept[at] - most), vec4f(), keyMask[key] == 0)' : 'exp_(kept[at] - most)'};
      kept[at] = weight;
      total += weight;
    }
    for (var unit0 = 0u; unit0 < units; unit0 += ${lanes}u) {
      ${valueTile(variant)}
      let unit_end = min(unit0 + params.unit_tile, units);
      for (var j = 0u; j < used; j++) {
        let query = query0 + j * ${lanes}u;
        if (query < tile.y) {
          let start = (query * params.heads + head) * units;
          for (var unit = unit0; unit < unit_end; unit++) {
            let sum = select(y[start + unit] * fade[j], Unit(), kept0 == tile.z);
            y[start + unit] = sum + sum_tile[${QUERIES_PER_LANE}u * (unit - unit0) + j];
          }
        }
      }
    }
  }
  let divisor = bitcast<vec4f>(select(bitcast<vec4u>(total), vec4u(${NAN_BITS}), total == vec4f()));
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * ${lanes}u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * units;
      for (var u = 0u; u < units; u++) { y[start + u] = select(y[start + u] / divisor[j], Unit(), keys_end == tile.z); }
    }
  }
}
`;
}

/** An element of a key's row, and a unit of its values. */
const cachedReads = (dtype: CacheDType, wide: boolean): string => `${CACHE_ROWS}
${cachedUnits(dtype, wide)}
fn key_start(key: u32, kv_head: u32) -> u32 {
  return (select(own_row(key), ring_row(key), is_cached(key)) * params.kv_heads + kv_head) * params.units;
}
fn key_element(key: u32, start: u32, d: u32) -> f32 {
  if (is_cached(key)) { return ${wide ? 'cached_k(start + d / 4u)[d % 4u]' : 'cached_k(start + d)'}; }
  return k[${wide ? '4u * start' : 'start'} + d];
}
fn value_unit(key: u32, kv_head: u32, unit: u32) -> Unit {
  let at = key_start(key, kv_head) + unit;
  if (is_cached(key)) { return cached_v(at); }
  return v[at];
}`;

// A tile that sees none of its keys is as one without keys.
const VISIBLE_KEYS = `var seen = 0;
  for (var key = tile.z; key < tile.w; key++) { seen |= keyMask[key]; }
  let keys_end = select(tile.z, tile.w, seen != 0);`;

/**
 * Products of the lane's queries with the keys from `first` on, to scores. Past the last key it is read again. One element
 * at a time: a load of four is no faster there, and four times the code.
 */
function scoreTile({ lanes, cached }: SubgroupAttentionVariant): string {
  const loads = range(KEYS / lanes);
  const keys = range(KEYS);
  const key = (n: number) => `min(first + ${n * lanes}u + lane, end - 1u)`;
  const start = (n: number) =>
    cached === undefined
      ? `let start${n} = (${key(n)} * params.kv_heads + kv_head) * params.head_dim;`
      : `let key${n} = ${key(n)}; let start${n} = key_start(key${n}, kv_head);`;
  const load = (n: number) => (cached === undefined ? `k[start${n} + d]` : `key_element(key${n}, start${n}, d)`);
  const multiply = (key: number) =>
    `s${key} = fma(vec4f(subgroupBroadcast(row${Math.floor(key / lanes)}, ${key % lanes}u)), across, s${key});`;
  return `${loads.map(start).join(' ')}
      ${keys.map((key) => `var s${key} = vec4f();`).join(' ')}
      for (var d = 0u; d < params.head_dim; d++) {
        ${loads.map((n) => `let row${n} = ${load(n)};`).join(' ')}
        let across = vec4f(${FOUR.map((j) => `q[query_start${j} + d]`).join(', ')});
        ${keys.map(multiply).join('\n        ')}
      }
      var scores = array<vec4f, ${KEYS}>(${keys.map((key) => `s${key}`).join(', ')});`;
}

/** Weighted sums of `lanes` units of the values from `unit0` on, to sum_tile. */
function valueTile({ lanes, cached }: SubgroupAttentionVariant): string {
  const sums = range(lanes).flatMap((u) => FOUR.map((j) => `v${u}_${j}`));
  const multiply = (u: number) => {
    const adds = FOUR.map((j) => `v${u}_${j} = fma(Unit(weight[${j}]), b, v${u}_${j});`);
    return `{ let b = subgroupBroadcast(row, ${u}u); ${adds.join(' ')} }`;
  };
  return `let unit = min(unit0 + lane, units - 1u);
      ${sums.map((sum) => `var ${sum} = Unit();`).join(' ')}
      for (var key = kept0; key < kept_end; key++) {
        let row = ${cached === undefined ? 'v[(key * params.kv_heads + kv_head) * units + unit]' : 'value_unit(key, kv_head, unit)'};
        let weight = kept[(key - kept0) * ${lanes}u + lane];
        ${range(lanes).map(multiply).join('\n        ')}
      }
      var sum_tile = array<Unit, ${sums.length}>(${sums.join(', ')});`;
}
