// Flash attention for adapters without fast workgroup memory (software adapters): one subgroup per workgroup, no barriers.
// Every lane owns four queries, so softmax needs no exchange; rows of k and v are loaded once per subgroup and broadcast.
// What is unrolled is two tiles of sums in scalars; arrays are slow there and only take what leaves a tile, in loops that
// are not unrolled, since every access to an array or a buffer is long code there.
import type { WgslProgram } from '@magi1/tensor';
import { EXP, valueType } from '../support/wgslFunctions.ts';
import { WORKGROUP_INDEX } from '../support/wgsl.ts';
import { ATTENTION_PARAMS, LOWEST, VISIBLE, attentionBindings } from './wgsl.ts';
import type { AttentionVariant } from './wgsl.ts';

export interface SubgroupAttentionVariant extends AttentionVariant {
  readonly lanes: number;
  /** Groups of `lanes` units (vec4 or f32) in a row of one head. */
  readonly chunks: number;
}

export const QUERIES_PER_LANE = 4;
/**
 * Keys of one unrolled tile of scores, after which the running maximum is adjusted. Loops over them take the number from
 * a parameter: compilers unroll what has a constant end, which takes them seconds.
 */
export const KEYS = 16;
/** Longer than it need be: Mesa takes a short array's length for a trip count, and unrolls the loops over keys. */
const SCORES = 40;

const range = (count: number): number[] => [...Array(count).keys()];
const FOUR = range(QUERIES_PER_LANE);

export const subgroupAttention: WgslProgram<SubgroupAttentionVariant> = {
  name: 'attentionSubgroup',
  enables: () => ['subgroups'],
  bindings: attentionBindings,
  params: ATTENTION_PARAMS,
  source: (variant) => {
    const { wide, mask, bias, lanes, chunks } = variant;
    const biasOf = (j: number) => `relativeBias[bias_start + key - min(query0 + ${j * lanes}u, tile.y - 1u)]`;
    return /* wgsl */ `
alias Unit = ${wide ? 'vec4f' : 'f32'};
${valueType(true)}
${EXP}
${WORKGROUP_INDEX}

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(id, count);
  if (index >= params.tiles * params.heads) { return; }
  let units = params.units;
  let head = index / params.tiles;
  let kv_head = head / params.group;
  let tile = tiles[index % params.tiles];
  let query0 = tile.x + lane;
  ${FOUR.map((j) => `let query_start${j} = (min(query0 + ${j * lanes}u, tile.y - 1u) * params.heads + head) * units;`).join('\n  ')}
  ${bias ? 'let bias_start = head * (params.queries + params.keys - 1u) + params.queries - 1u;' : ''}
  // sums[4 u + j] is unit u of the lane's query j; scores[i] and the vec4f below are of its four queries.
  var sums: array<Unit, ${chunks * lanes * QUERIES_PER_LANE}>;
  var sum_tile: array<Unit, ${lanes * QUERIES_PER_LANE}>;
  var scores: array<vec4f, ${SCORES}>;
  var most = vec4f(${LOWEST});
  var total = vec4f();
  for (var first = tile.z; first < tile.w; first += ${KEYS}u) {
    let keys = min(params.key_tile, tile.w - first);
    var higher = most;
    ${scoreTile(variant)}
    for (var i = 0u; i < keys; i++) {
      var score = scores[i] * params.scale;
      ${mask || bias ? 'let key = first + i;' : ''}
      ${bias ? `score += vec4f(${FOUR.map(biasOf).join(', ')});` : ''}
      ${mask ? `score = select(score, vec4f(${LOWEST}), keyMask[key] == 0);` : ''}
      scores[i] = score;
      higher = max(higher, score);
    }
    let fade = exp_(most - higher);
    most = higher;
    total *= fade;
    for (var i = 0u; i < keys; i++) {
      let score = scores[i];
      let weight = select(vec4f(), exp_(score - most), score > vec4f(${VISIBLE}));
      scores[i] = weight;
      total += weight;
    }
    for (var unit0 = 0u; unit0 < units; unit0 += ${lanes}u) {
      ${valueTile(variant)}
      let end = ${QUERIES_PER_LANE}u * min(${lanes}u, units - unit0);
      for (var e = 0u; e < end; e++) {
        let to = ${QUERIES_PER_LANE}u * unit0 + e;
        sums[to] = fma(sums[to], Unit(fade[e % ${QUERIES_PER_LANE}u]), sum_tile[e]);
      }
    }
  }
  // To an end that is not constant, so that it is not unrolled.
  let used = (tile.y - tile.x + ${lanes - 1}u) / ${lanes}u;
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * ${lanes}u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * units;
      let factor = select(0.0, 1.0 / total[j], total[j] > 0.0);
      for (var u = 0u; u < units; u++) { y[start + u] = sums[${QUERIES_PER_LANE}u * u + j] * factor; }
    }
  }
}
`;
  },
};

/** Products of the lane's queries with the keys from `first` on, to scores. Past the last key it is read again. */
function scoreTile({ wide, lanes }: SubgroupAttentionVariant): string {
  const parts = wide ? ['.x', '.y', '.z', '.w'] : [''];
  const loads = range(KEYS / lanes);
  const start = (n: number) => `((first + min(${n * lanes}u + lane, keys - 1u)) * params.kv_heads + kv_head) * units`;
  const multiply = (key: number) => {
    const sum = parts.reduce((inner, part, i) => `fma(vec4f(b${part}), across${i}, ${inner})`, `s${key}`);
    return `{ let b = subgroupBroadcast(row${Math.floor(key / lanes)}, ${key % lanes}u); s${key} = ${sum}; }`;
  };
  return `${loads.map((n) => `let start${n} = ${start(n)};`).join(' ')}
      ${range(KEYS)
        .map((key) => `var s${key} = vec4f();`)
        .join(' ')}
      for (var u = 0u; u < units; u++) {
        ${loads.map((n) => `let row${n} = k[start${n} + u];`).join(' ')}
        ${FOUR.map((j) => `let q${j} = q[query_start${j} + u];`).join(' ')}
        ${parts.map((part, i) => `let across${i} = vec4f(${FOUR.map((j) => `q${j}${part}`).join(', ')});`).join(' ')}
        ${range(KEYS).map(multiply).join('\n        ')}
      }
      ${range(KEYS)
        .map((key) => `scores[${key}] = s${key};`)
        .join(' ')}`;
}

/** Weighted sums of `lanes` units of the values from `unit0` on, to sum_tile. */
function valueTile({ lanes }: SubgroupAttentionVariant): string {
  const sums = range(lanes).flatMap((u) => FOUR.map((j) => `v${u}_${j}`));
  const multiply = (u: number) => {
    const adds = FOUR.map((j) => `v${u}_${j} = fma(Unit(weight[${j}]), b, v${u}_${j});`);
    return `{ let b = subgroupBroadcast(row, ${u}u); ${adds.join(' ')} }`;
  };
  return `let unit = min(unit0 + lane, units - 1u);
      ${sums.map((sum) => `var ${sum} = Unit();`).join(' ')}
      for (var i = 0u; i < keys; i++) {
        let row = v[((first + i) * params.kv_heads + kv_head) * units + unit];
        let weight = scores[i];
        ${range(lanes).map(multiply).join('\n        ')}
      }
      ${sums.map((sum, i) => `sum_tile[${i}] = ${sum};`).join(' ')}`;
}
