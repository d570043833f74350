// One WGSL program for layerNorm, rmsNorm, qkNorm and gatedResidual: they differ in what they load and what they add.
import type { WebGpuCapabilities, WebGpuDispatch, WgslProgram } from '@magi1/tensor';
import { normVariant } from './call.ts';
import type { NormVariant, RowNormCall } from './call.ts';
import { alignedRows, bytesBefore, rowRanges } from '../../wgsl/row-ranges.ts';
import type { Operand } from '../../wgsl/row-ranges.ts';
import { rowHead, rowLayout, rowWorkgroups } from '../../wgsl/rows.ts';
import type { RowVariant } from '../../wgsl/rows.ts';

type RowNormVariant = RowVariant & NormVariant;

// The second pass takes deviations from the first pass's mean. What rounding took from that mean is found as their own
// mean, and corrects the variance and the result.
const CENTRED_MOMENTS = /* wgsl */ `
  var mean = 0.0;
  var moments = vec2f(0.0);
  for (var turn = 0u; turn < 2u; turn++) {
    mean = moments.x;
    moments = reduce_sum(sums(row, lane, mean), lane, slot) / f32(params.features);
  }
  let rest = moments.x;
  let spread = moments.y - rest * rest;
  let lost = (bitcast<u32>(spread) & 0x7fffffffu) > 0x7f800000u; // squares overflowed: max would hide the NaN
  let variance = select(max(spread, 0.0), spread, lost);`;

const RMS_MOMENTS = /* wgsl */ `
  let mean = 0.0;
  let rest = 0.0;
  let variance = reduce_sum(sums(row, lane, 0.0), lane, slot).y / f32(params.features);`;

const program: WgslProgram<RowNormVariant> = {
  name: 'rowNorm',
  bindings({ wide, gated, weight, bias }) {
    const type = wide ? 'array<vec4f>' : 'array<f32>';
    const read = (name: string) => ({ name, type, access: 'read' as const });
    return [
      read('x'),
      ...(gated ? [read('gate'), read('h')] : []),
      ...(weight === 'none' ? [] : [read('weight')]),
      ...(bias ? [read('bias')] : []),
      { name: 'y', type, access: 'read_write' },
    ];
  },
  // `steps` values of T make a row of `features` elements; row r here is row `first_row + r` of the tensor.
  params: {
    rows: 'u32',
    lanes: 'u32',
    features: 'u32',
    steps: 'u32',
    first_row: 'u32',
    rows_per_gate: 'u32',
    eps: 'f32',
  },
  source(variant) {
    const { kind, gated, weight, bias } = variant;
    const gate = gated ? ' * gate[(params.first_row + row) / params.rows_per_gate * params.steps + k]' : '';
    const factor = { none: '', weight: ' * weight[k]', onePlusWeight: ' * (1.0 + weight[k])' }[weight];
    const residual = gated ? ' + h[row * params.steps + k]' : '';
    const scale = kind === 'std' ? '1.0 / (sqrt(variance) + params.eps)' : '1.0 / sqrt(variance + params.eps)';
    return /* wgsl */ `
${rowHead(variant)}
fn load(row: u32, k: u32) -> T { return x[row * params.steps + k]${gate}; }

// Sums of d and of d * d over this lane's elements, d = element - origin.
fn sums(row: u32, lane: u32, origin: f32) -> vec2f {
  var first = T(0.0);
  var second = T(0.0);
  for (var start = lane; start < params.steps; start += RUN * params.lanes) {
    let end = min(start + RUN * params.lanes, params.steps);
    var run_first = T(0.0);
    var run_second = T(0.0);
    for (var k = start; k < end; k += params.lanes) {
      let d = load(row, k) - origin;
      run_first += d;
      run_second += d * d;
    }
    first += run_first;
    second += run_second;
  }
  return vec2f(across_sum(first), across_sum(second));
}

fn main_row(row: u32, lane: u32, slot: u32, live: bool) {
${kind === 'rms' ? RMS_MOMENTS : CENTRED_MOMENTS}
  let scale = ${scale};
  if (!live) { return; }
  for (var k = lane; k < params.steps; k += params.lanes) {
    y[row * params.steps + k] = ((load(row, k) - mean) - rest) * scale${factor}${bias ? ' + bias[k]' : ''}${residual};
  }
}
`;
  },
};

export function rowNormDispatches(call: RowNormCall, capabilities: WebGpuCapabilities): readonly WebGpuDispatch[] {
  const { op, x, y, weight, bias, eps, gated } = call;
  const features = x.shape.at(-1)!;
  const layout = rowLayout(features, capabilities);
  const { lanes, steps } = layout;
  const variant: RowNormVariant = { ...layout.variant, ...normVariant(call) };
  const rowBytes = 4 * features;
  const { gate, h, rowsPerGate = 1 } = gated ?? {};
  const operands: Record<string, Operand> = { x: [x, rowBytes], y: [y, rowBytes] };
  if (gate && h) {
    // A binding of gates starts with a whole one.
    const together = alignedRows([rowBytes]);
    const firstOf = (row: number) => Math.floor(row / (rowsPerGate * together)) * together;
    operands['h'] = [h, rowBytes];
    operands['gate'] = [gate, (start, end) => [firstOf(start) * rowBytes, Math.ceil(end / rowsPerGate) * rowBytes]];
  }
  return rowRanges(op, x.size / features, operands, capabilities).map((range) => {
    const bindings = { ...range.bindings };
    if (weight) bindings['weight'] = weight;
    if (bias) bindings['bias'] = bias;
    return {
      program,
      variant,
      bindings,
      params: {
        rows: range.count,
        lanes,
        features,
        steps,
        first_row: range.start - (gate ? (bytesBefore(bindings['gate']!) / rowBytes) * rowsPerGate : 0),
        rows_per_gate: rowsPerGate,
        eps,
      },
      workgroups: rowWorkgroups(op, range.count, layout, capabilities),
    };
  });
}
