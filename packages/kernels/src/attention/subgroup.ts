// Flash attention for adapters without fast workgroup memory (software adapters): one subgroup per workgroup, no barriers.
// Every lane owns whole queries, so softmax needs no exchange; rows of k and v are loaded once per subgroup and broadcast.
// Sums run in scalars; arrays, which are slow there, only take what leaves an unrolled tile. Small text: it compiles in
// about a second, where a version unrolled over head_dim took ten.
import type { WgslProgram } from '@magi1/tensor';
import { EXP, valueType } from '../support/wgslFunctions.ts';
import { WORKGROUP_INDEX } from '../support/wgsl.ts';
import { ATTENTION_PARAMS, LOWEST, VISIBLE, attentionBindings } from './wgsl.ts';
import type { AttentionVariant } from './wgsl.ts';

export interface SubgroupAttentionVariant extends AttentionVariant {
  readonly lanes: number;
  readonly queriesPerLane: number;
  /** Groups of `lanes` units (vec4 or f32) in a row of one head. */
  readonly chunks: number;
}

/** Keys between two adjustments of the running maximum, and keys of one unrolled tile of scores. */
const KEYS = 32;
const SCORE_KEYS = 16;

const range = (count: number): number[] => [...Array(count).keys()];

export const subgroupAttention: WgslProgram<SubgroupAttentionVariant> = {
  name: 'attentionSubgroup',
  enables: () => ['subgroups'],
  bindings: attentionBindings,
  params: ATTENTION_PARAMS,
  source: (variant) => {
    const { wide, lanes, queriesPerLane: perLane, chunks } = variant;
    const each = (text: (j: number) => string) => range(perLane).map(text).join(' ');
    const elements = chunks * lanes * perLane;
    return /* wgsl */ `
alias Unit = ${wide ? 'vec4f' : 'f32'};
${valueType(false)}
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
  // Loops run to ends that are not constant, so that drivers do not unroll them: that would take seconds to compile.
  let used = (tile.y - tile.x + ${lanes - 1}u) / ${lanes}u;
  var query_rows: array<Unit, ${elements}>;
  var sums: array<Unit, ${elements}>;
  var scores: array<f32, ${KEYS * perLane}>;
  var score_tile: array<f32, ${SCORE_KEYS * perLane}>;
  var sum_tile: array<Unit, ${lanes * perLane}>;
  for (var j = 0u; j < used; j++) {
    let start = (min(query0 + j * ${lanes}u, tile.y - 1u) * params.heads + head) * units;
    for (var u = 0u; u < units; u++) { query_rows[u * ${perLane}u + j] = q[start + u] * params.scale; }
  }
  ${variant.bias ? 'let bias_start = head * (params.queries + params.keys - 1u) + params.queries - 1u;' : ''}
  ${each((j) => `var most${j} = ${LOWEST}; var total${j} = 0.0;`)}
  for (var first = tile.z; first < tile.w; first += ${KEYS}u) {
    let keys = min(${KEYS}u, tile.w - first);
    ${each((j) => `var higher${j} = most${j};`)}
    for (var sub = 0u; sub < keys; sub += ${SCORE_KEYS}u) {
      ${scoreTile(variant)}
      let end = min(${SCORE_KEYS}u, keys - sub);
      for (var i = 0u; i < end; i++) {
        ${each((j) => `var z${j} = score_tile[i * ${perLane}u + ${j}u];`)}
        ${adjustScores(variant)}
        ${each((j) => `scores[(sub + i) * ${perLane}u + ${j}u] = z${j}; higher${j} = max(higher${j}, z${j});`)}
      }
    }
    ${each((j) => `let fade${j} = exp_(most${j} - higher${j}); most${j} = higher${j}; total${j} *= fade${j};`)}
    for (var i = 0u; i < keys; i++) {
      ${each((j) => `let z${j} = scores[i * ${perLane}u + ${j}u];`)}
      ${each((j) => `let p${j} = select(0.0, exp_(z${j} - most${j}), z${j} > ${VISIBLE});`)}
      ${each((j) => `scores[i * ${perLane}u + ${j}u] = p${j}; total${j} += p${j};`)}
    }
    for (var unit0 = 0u; unit0 < units; unit0 += ${lanes}u) {
      ${valueTile(variant)}
      let end = min(${lanes}u, units - unit0);
      for (var u = 0u; u < end; u++) {
        let from_tile = u * ${perLane}u;
        let to = unit0 * ${perLane}u + from_tile;
        ${each((j) => `sums[to + ${j}u] = fma(sums[to + ${j}u], Unit(fade${j}), sum_tile[from_tile + ${j}u]);`)}
      }
    }
  }
  var totals = array<f32, ${perLane}>(${range(perLane)
    .map((j) => `total${j}`)
    .join(', ')});
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * ${lanes}u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * units;
      let factor = select(0.0, 1.0 / totals[j], totals[j] > 0.0);
      for (var u = 0u; u < units; u++) { y[start + u] = sums[u * ${perLane}u + j] * factor; }
    }
  }
}
`;
  },
};

/** Scores of a lane's queries for the keys from `sub` on, to score_tile. Past the last key it is read again. */
function scoreTile({ wide, lanes, queriesPerLane: perLane }: SubgroupAttentionVariant): string {
  const parts = wide ? ['.x', '.y', '.z', '.w'] : [''];
  const loads = range(SCORE_KEYS / lanes);
  const sums = range(SCORE_KEYS).flatMap((key) => range(perLane).map((j) => `s${key}_${j}`));
  const multiply = (key: number) => {
    const adds = range(perLane).map((j) => {
      const sum = `s${key}_${j}`;
      return `${sum} = ${parts.reduce((inner, part) => `fma(b${part}, q${j}${part}, ${inner})`, sum)};`;
    });
    return `{ let b = subgroupBroadcast(row${Math.floor(key / lanes)}, ${key % lanes}u); ${adds.join(' ')} }`;
  };
  const start = (n: number) => `((first + min(sub + ${n * lanes}u + lane, keys - 1u)) * params.kv_heads + kv_head) * units`;
  return `${loads.map((n) => `let start${n} = ${start(n)};`).join(' ')}
      ${sums.map((sum) => `var ${sum} = 0.0;`).join(' ')}
      for (var u = 0u; u < units; u++) {
        ${loads.map((n) => `let row${n} = k[start${n} + u];`).join(' ')}
        ${range(perLane)
          .map((j) => `let q${j} = query_rows[u * ${perLane}u + ${j}u];`)
          .join(' ')}
        ${range(SCORE_KEYS).map(multiply).join('\n        ')}
      }
      ${sums.map((sum, i) => `score_tile[${i}] = ${sum};`).join(' ')}`;
}

/** Bias and mask of the key first + sub + i. */
function adjustScores({ mask, bias, lanes, queriesPerLane: perLane }: SubgroupAttentionVariant): string {
  const lines = ['let key = first + sub + i;'];
  for (const j of range(perLane)) {
    if (bias) lines.push(`z${j} += relativeBias[bias_start + key - min(query0 + ${j * lanes}u, tile.y - 1u)];`);
  }
  if (mask) lines.push('let hidden = keyMask[key] == 0;');
  for (const j of range(perLane)) if (mask) lines.push(`z${j} = select(z${j}, ${LOWEST}, hidden);`);
  return mask || bias ? lines.join(' ') : '';
}

/** Weighted sums of `lanes` units of the values from `unit0` on, to sum_tile. */
function valueTile({ lanes, queriesPerLane: perLane }: SubgroupAttentionVariant): string {
  const sums = range(lanes).flatMap((u) => range(perLane).map((j) => `v${u}_${j}`));
  const multiply = (u: number) => {
    const adds = range(perLane).map((j) => `v${u}_${j} = fma(Unit(p${j}), b, v${u}_${j});`);
    return `{ let b = subgroupBroadcast(row, ${u}u); ${adds.join(' ')} }`;
  };
  return `let unit = min(unit0 + lane, units - 1u);
      ${sums.map((sum) => `var ${sum} = Unit();`).join(' ')}
      for (var i = 0u; i < keys; i++) {
        let row = v[((first + i) * params.kv_heads + kv_head) * units + unit];
        ${range(perLane)
          .map((j) => `let p${j} = scores[i * ${perLane}u + ${j}u];`)
          .join(' ')}
        ${range(lanes).map(multiply).join('\n        ')}
      }
      ${sums.map((sum, i) => `sum_tile[${i}] = ${sum};`).join(' ')}`;
}
