// Flash attention for adapters without fast workgroup memory (software adapters): one subgroup per workgroup, no barriers.
// Every lane owns whole queries, so softmax needs no exchange; rows of k and v are loaded once per subgroup and broadcast.
import type { WgslProgram } from '@magi1/tensor';
import { EXP, valueType } from '../support/wgslFunctions.ts';
import { WORKGROUP_INDEX } from '../support/wgsl.ts';
import { ATTENTION_PARAMS, LOWEST, VISIBLE, attentionBindings } from './wgsl.ts';
import type { AttentionVariant } from './wgsl.ts';

export interface SubgroupAttentionVariant extends AttentionVariant {
  readonly lanes: number;
  readonly queriesPerLane: number;
}

/** Keys between two adjustments of the running maximum. */
const KEYS = 32;

const range = (count: number): number[] => [...Array(count).keys()];

export const subgroupAttention: WgslProgram<SubgroupAttentionVariant> = {
  name: 'attentionSubgroup',
  enables: () => ['subgroups'],
  bindings: attentionBindings,
  params: ATTENTION_PARAMS,
  source: ({ headDim, wide, mask, bias, lanes, queriesPerLane }) => {
    const units = wide ? headDim / 4 : headDim;
    const queries = range(queriesPerLane);
    const each = (text: (j: number) => string) => queries.map(text).join(' ');
    const loads = range(Math.ceil(units / lanes));
    // Loads one unit of a key's row per lane; the last lanes repeat the last unit.
    const loadRow = (name: string) =>
      loads.map((n) => `let row${n} = ${name}[start + min(lane + ${n * lanes}u, ${units - 1}u)];`).join(' ');
    const eachUnit = (text: (u: number, j: number) => string) =>
      range(units)
        .map(
          (u) =>
            `{ let b = subgroupBroadcast(row${Math.floor(u / lanes)}, ${u % lanes}u); ${each((j) => text(u, j))} }`,
        )
        .join('\n      ');
    const addBias = (j: number) =>
      bias ? `z${j} += relativeBias[bias_start + key - min(query0 + ${j * lanes}u, tile.y - 1u)];` : '';
    return /* wgsl */ `
alias Unit = ${wide ? 'vec4f' : 'f32'};
${valueType(false)}
${EXP}
${WORKGROUP_INDEX}
fn sum(v: Unit) -> f32 { return ${wide ? '(v.x + v.y) + (v.z + v.w)' : 'v'}; }

@compute @workgroup_size(${lanes})
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(subgroup_invocation_id) lane: u32) {
  let index = workgroup_index(id, count);
  if (index >= params.tiles * params.heads) { return; }
  let head = index / params.tiles;
  let kv_head = head / params.group;
  let tile = tiles[index % params.tiles];
  let query0 = tile.x + lane;
  // Loops over queries and units run to ends that are not constant, so that drivers do not unroll their loads and stores.
  let used = (tile.y - tile.x + ${lanes - 1}u) / ${lanes}u;
  var query_rows: array<Unit, ${units * queriesPerLane}>;
  var sums: array<Unit, ${units * queriesPerLane}>;
  var scores: array<f32, ${KEYS * queriesPerLane}>;
  for (var j = 0u; j < used; j++) {
    let start = (min(query0 + j * ${lanes}u, tile.y - 1u) * params.heads + head) * ${units}u;
    for (var u = 0u; u < params.units; u++) { query_rows[u * ${queriesPerLane}u + j] = q[start + u] * params.scale; }
  }
  ${bias ? 'let bias_start = head * (params.queries + params.keys - 1u) + params.queries - 1u;' : ''}
  ${each((j) => `var most${j} = ${LOWEST}; var total${j} = 0.0;`)}
  for (var first = tile.z; first < tile.w; first += ${KEYS}u) {
    let keys = min(${KEYS}u, tile.w - first);
    ${each((j) => `var higher${j} = most${j};`)}
    for (var i = 0u; i < keys; i++) {
      let key = first + i;
      let start = (key * params.kv_heads + kv_head) * ${units}u;
      ${loadRow('k')}
      ${each((j) => `var s${j} = Unit();`)}
      ${eachUnit((u, j) => `s${j} = fma(b, query_rows[${u * queriesPerLane + j}], s${j});`)}
      ${each((j) => `var z${j} = sum(s${j}); ${addBias(j)}`)}
      ${mask ? `let hidden = keyMask[key] == 0; ${each((j) => `z${j} = select(z${j}, ${LOWEST}, hidden);`)}` : ''}
      ${each((j) => `scores[i * ${queriesPerLane}u + ${j}u] = z${j}; higher${j} = max(higher${j}, z${j});`)}
    }
    ${each((j) => `let fade${j} = exp_(most${j} - higher${j}); most${j} = higher${j}; total${j} *= fade${j};`)}
    ${range(units)
      .map((u) => each((j) => `sums[${u * queriesPerLane + j}] *= fade${j};`))
      .join('\n    ')}
    for (var i = 0u; i < keys; i++) {
      let start = ((first + i) * params.kv_heads + kv_head) * ${units}u;
      ${loadRow('v')}
      ${each((j) => `let z${j} = scores[i * ${queriesPerLane}u + ${j}u];`)}
      ${each((j) => `let p${j} = select(0.0, exp_(z${j} - most${j}), z${j} > ${VISIBLE}); total${j} += p${j};`)}
      ${eachUnit((u, j) => `sums[${u * queriesPerLane + j}] = fma(Unit(p${j}), b, sums[${u * queriesPerLane + j}]);`)}
    }
  }
  var totals = array<f32, ${queriesPerLane}>(${queries.map((j) => `total${j}`).join(', ')});
  for (var j = 0u; j < used; j++) {
    let query = query0 + j * ${lanes}u;
    if (query < tile.y) {
      let start = (query * params.heads + head) * ${units}u;
      let factor = select(0.0, 1.0 / totals[j], totals[j] > 0.0);
      for (var u = 0u; u < params.units; u++) { y[start + u] = sums[u * ${queriesPerLane}u + j] * factor; }
    }
  }
}
`;
  },
};
