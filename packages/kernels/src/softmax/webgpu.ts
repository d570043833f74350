// WGSL of softmax: maximum, sum of exponentials, then the quotients; exponentials wait in the output.
import type { WebGpuOf, WgslProgram } from '@magi1/tensor';
import { F32_MAX } from '../support/f32.ts';
import { EXP } from '../support/wgsl/functions.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import { rowHead, rowLayout, rowWorkgroups } from '../support/wgsl/rows.ts';
import type { RowVariant } from '../support/wgsl/rows.ts';
import type { Softmax } from './contract.ts';

const program: WgslProgram<RowVariant> = {
  name: 'softmax',
  bindings: ({ wide }) => [
    { name: 'x', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read' },
    { name: 'y', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read_write' },
  ],
  params: { rows: 'u32', lanes: 'u32', steps: 'u32' },
  source: (variant) => /* wgsl */ `
${rowHead(variant)}
${EXP}
const INFINITY = 0x7f800000u;
const NAN = 0x7fc00000u;
fn across_largest(v: Bits) -> u32 { return ${variant.wide ? 'max(max(v.x, v.y), max(v.z, v.w))' : 'v'}; }

fn main_row(row: u32, lane: u32, slot: u32, live: bool) {
  let at = row * params.steps;
  var most = T(${-F32_MAX});
  var largest = Bits();
  for (var k = lane; k < params.steps; k += params.lanes) {
    most = max(most, x[at + k]);
    largest = max(largest, bitcast<Bits>(x[at + k]) & Bits(0x7fffffffu));
  }
  // A NaN does to a row what Infinity does: all of it becomes NaN.
  let lane_most = select(bitcast<u32>(across_max(most)), INFINITY, across_largest(largest) > INFINITY);
  let row_most = reduce_max(bitcast<f32>(lane_most), lane, slot);
  var sum = T(0.0);
  for (var start = lane; start < params.steps; start += RUN * params.lanes) {
    let end = min(start + RUN * params.lanes, params.steps);
    var run = T(0.0);
    for (var k = start; k < end; k += params.lanes) {
      let e = exp_number(x[at + k] - row_most);
      if (live) { y[at + k] = e; }
      run += e;
    }
    sum += run;
  }
  let total = reduce_sum(vec2f(across_sum(sum), 0.0), lane, slot).x;
  // Nothing is left of a row of -Infinity alone.
  let none = total == 0.0 || bitcast<u32>(row_most) == INFINITY;
  let scale = bitcast<f32>(select(bitcast<u32>(1.0 / total), NAN, none));
  if (!live) { return; }
  for (var k = lane; k < params.steps; k += params.lanes) { y[at + k] *= scale; }
}
`,
};

export const webgpu: WebGpuOf<Softmax> = ({ inputs: { x }, y }, capabilities) => {
  const features = x.shape.at(-1)!;
  const layout = rowLayout(features, capabilities);
  const { variant, lanes, steps } = layout;
  return rowRanges('softmax', x.size / features, [4 * features], capabilities).map((range) => ({
    program,
    variant,
    bindings: { x: range.window(x, 4 * features), y: range.window(y, 4 * features) },
    params: { rows: range.count, lanes, steps },
    workgroups: rowWorkgroups('softmax', range.count, layout, capabilities),
  }));
};
