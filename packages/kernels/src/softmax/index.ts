// Softmax over the last axis.
import { F32, defineOp, elementCount, runOp, wasmKernel } from '@magi1/tensor';
import type { CaseFill, CaseOf, OpTypes, Shape, Tensor, WasmOf, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { F32_MAX } from '../support/f32.ts';
import { exp } from '../support/wasm/functions.ts';
import { forVectors, maxVectors, sumVectors } from '../support/wasm/vectors.ts';
import { EXP } from '../support/wgsl/functions.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import { rowHead, rowLayout, rowWorkgroups } from '../support/wgsl/rows.ts';
import type { RowVariant } from '../support/wgsl/rows.ts';

export type Softmax = OpTypes<{ x: Tensor }>;

// WGSL of softmax: maximum, sum of exponentials, then the quotients; exponentials wait in the output.
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

const webgpu: WebGpuOf<Softmax> = ({ inputs: { x }, y }, capabilities) => {
  const features = x.shape.at(-1)!;
  const layout = rowLayout(features, capabilities);
  const { variant, lanes, steps } = layout;
  const operands = { x: [x, 4 * features], y: [y, 4 * features] } as const;
  return rowRanges('softmax', x.size / features, operands, capabilities).map((range) => ({
    program,
    variant,
    bindings: range.bindings,
    params: { rows: range.count, lanes, steps },
    workgroups: rowWorkgroups('softmax', range.count, layout, capabilities),
  }));
};

// wasm softmax; an item is a row.
const kernel = wasmKernel({
  name: 'softmax',
  args: { x: 'ptr', y: 'ptr', features: 'i32' },
  body(k, { begin, end, x, y, features }) {
    k.forRange(begin, end, 1, (row) => {
      const start = k.let(row.mul(features.shl(2)));
      const [from, to] = [k.let(x.add(start)), k.let(y.add(start))];
      const most = k.let(maxVectors(k, features, (at) => from.add(at).loadF32x4()).splat());
      forVectors(k, features, (at, put) => {
        put(to.add(at), exp(k, k.let(from.add(at).loadF32x4().sub(most))));
      });
      const [sum] = sumVectors(k, features, (at) => [to.add(at).loadF32x4()], 1);
      const scale = k.let(F32.of(1).div(sum!).splat());
      forVectors(k, features, (at, put) => {
        put(to.add(at), to.add(at).loadF32x4().mul(scale));
      });
    });
  },
});

const wasm: WasmOf<Softmax> = ({ inputs: { x }, y }) => {
  const features = x.shape.at(-1)!;
  return [
    {
      kernel,
      variant: {},
      args: { x, y, features },
      items: x.size / features,
      itemCost: 24 * features,
    },
  ];
};

const rows = (name: string, shape: Shape, fill: CaseFill = { kind: 'normal', scale: 3 }, benchmarkOnly = false) =>
  ({ name, inputs: { x: { shape, dtype: 'f32', fill } }, params: {}, benchmarkOnly }) satisfies CaseOf<Softmax>;

export const softmaxOp = defineOp<Softmax>({
  name: 'softmax',
  infer({ x }, _, check) {
    check.dtype('x', 'f32');
    check.lastDim('x');
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 5 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ inputs: { x }, y }) {
    const features = x.shape.at(-1)!;
    for (let row = 0; row < x.data.length; row += features) {
      let most = -Infinity;
      for (let k = 0; k < features; k++) most = Math.max(most, x.data[row + k]!);
      let sum = 0;
      for (let k = 0; k < features; k++) sum += y.data[row + k] = Math.exp(x.data[row + k]! - most);
      for (let k = 0; k < features; k++) y.data[row + k]! /= sum;
    }
  },
  webgpu,
  wasm,
  randomCase: (random) => rows('random', [1 + random(3), 1 + random(9), 1 + random(300)]),
  cases: [
    rows('odd', [3, 5, 77]),
    rows('one', [1, 1]),
    rows('manyRows', [41, 64]),
    rows('large', [4, 130], { kind: 'normal', scale: 1e4, mean: 1e6 }),
    rows('flat', [3, 1000], { kind: 'normal', scale: 0, mean: -7 }),
    rows('longRow', [2, 12288]),
    rows('square', [1024, 1024], { kind: 'normal' }, true),
  ],
});

/** exp(x) / sum(exp(x)) over the last axis of x [..., K]; f32. */
export const softmax = (x: Tensor): Tensor => runOp(softmaxOp, { x }, {});
