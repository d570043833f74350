// Soft argmax: where along a row its softmax lies on average, such as a key point in a heat map. A reduction: rows go in,
// one number each comes out. A room in one file, for an op that is small enough.
import {
  EXP,
  F32_MAX,
  exp,
  maxVectors,
  rowHead,
  rowLayout,
  rowRanges,
  rowWorkgroups,
  sumVectors,
} from '@magi1/kernels/support';
import type { RowVariant } from '@magi1/kernels/support';
import { I32x4, defineOp, elementCount, runOp, wasmKernel } from '@magi1/tensor';
import type { CaseFill, CaseOf, I32, OpTypes, Shape, Tensor, WgslProgram } from '@magi1/tensor';

export interface SoftArgmaxParams {
  /** Multiplies x: the larger, the closer to the position of the largest element. */
  readonly sharpness: number;
}

export type SoftArgmax = OpTypes<{ x: Tensor }, SoftArgmaxParams>;

const program: WgslProgram<RowVariant> = {
  name: 'softArgmax',
  bindings: ({ wide }) => [
    { name: 'x', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read' },
    { name: 'y', type: 'array<f32>', access: 'read_write' },
  ],
  params: { rows: 'u32', lanes: 'u32', steps: 'u32', sharpness: 'f32' },
  source: ({ wide, shared }) => /* wgsl */ `
${rowHead({ wide, shared })}
${EXP}
const INFINITY = 0x7f800000u;
const NAN = 0x7fc00000u;
fn positions(k: u32) -> T { return ${wide ? '4.0 * f32(k) + vec4f(0.0, 1.0, 2.0, 3.0)' : 'f32(k)'}; }
fn across_largest(v: Bits) -> u32 { return ${wide ? 'max(max(v.x, v.y), max(v.z, v.w))' : 'v'}; }

fn main_row(row: u32, lane: u32, slot: u32, live: bool) {
  let at = row * params.steps;
  var most = T(${-F32_MAX});
  var largest = Bits();
  for (var k = lane; k < params.steps; k += params.lanes) {
    let value = params.sharpness * x[at + k];
    most = max(most, value);
    largest = max(largest, bitcast<Bits>(value) & Bits(0x7fffffffu));
  }
  // max need not let NaN pass, so NaN is known by its bits and does to a row what Infinity does: its result is NaN.
  let lane_most = select(bitcast<u32>(across_max(most)), INFINITY, across_largest(largest) > INFINITY);
  let row_most = reduce_max(bitcast<f32>(lane_most), lane, slot);
  var sums = vec2f();
  for (var start = lane; start < params.steps; start += RUN * params.lanes) {
    let end = min(start + RUN * params.lanes, params.steps);
    var weights = T();
    var moments = T();
    for (var k = start; k < end; k += params.lanes) {
      let weight = exp_number(params.sharpness * x[at + k] - row_most);
      weights += weight;
      moments += weight * positions(k);
    }
    sums += vec2f(across_sum(weights), across_sum(moments));
  }
  let totals = reduce_sum(sums, lane, slot);
  let none = totals.x == 0.0 || bitcast<u32>(row_most) == INFINITY;
  if (live && lane == 0u) { y[row] = bitcast<f32>(select(bitcast<u32>(totals.y / totals.x), NAN, none)); }
}
`,
};

/** An item is a row. */
const kernel = wasmKernel({
  name: 'softArgmax',
  args: { x: 'ptr', y: 'ptr', features: 'i32', sharpness: 'f32' },
  body(k, { begin, end, x, y, features, sharpness }) {
    const factor = k.let(sharpness.splat());
    k.forRange(begin, end, 1, (row) => {
      const from = k.let(x.add(row.mul(features.shl(2))));
      const value = (at: I32) => from.add(at).loadF32x4().mul(factor);
      const most = k.let(maxVectors(k, features, value).splat());
      const [weights, moments] = sumVectors(
        k,
        features,
        (at) => {
          const weight = k.let(exp(k, k.let(value(at).sub(most))));
          const positions = I32x4.lanes(0, 1, 2, 3).add(at.shrU(2).splat()).toF32x4S();
          return [weight, weight.mul(positions)];
        },
        2,
      );
      k.store(y.add(row.shl(2)), moments!.div(weights!));
    });
  },
});

const rows = (
  name: string,
  shape: Shape,
  sharpness: number,
  fill: CaseFill = { kind: 'normal' },
  benchmarkOnly = false,
) =>
  ({
    name,
    inputs: { x: { shape, dtype: 'f32', fill } },
    params: { sharpness },
    benchmarkOnly,
  }) satisfies CaseOf<SoftArgmax>;

const notFinite = [0, NaN, 1, Infinity, 2, 3, -Infinity, 4, 5, -Infinity, -Infinity, -Infinity];

export const softArgmaxOp = defineOp<SoftArgmax>({
  name: 'softArgmax',
  infer({ x }, { sharpness }, check) {
    check.dtype('x', 'f32');
    if (check.lastDim('x') === 0) throw check.error('x must have at least one feature, got none');
    check.finite('sharpness', sharpness);
    return { shape: x.shape.slice(0, -1), dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 8 * elementCount(x.shape), bytes: 4 * elementCount(x.shape) }),
  reference({ inputs: { x }, y, params: { sharpness } }) {
    const features = x.shape.at(-1)!;
    for (let row = 0; row < y.data.length; row++) {
      const values = Array.from(x.data.subarray(row * features, (row + 1) * features), (value) => sharpness * value);
      const most = Math.max(...values);
      let [weights, moments] = [0, 0];
      for (const [k, value] of values.entries()) {
        const weight = Math.exp(value - most);
        weights += weight;
        moments += weight * k;
      }
      y.data[row] = moments / weights;
    }
  },
  webgpu({ inputs: { x }, y, params: { sharpness } }, capabilities) {
    const features = x.shape.at(-1)!;
    const layout = rowLayout(features, capabilities);
    const { variant, lanes, steps } = layout;
    return rowRanges('softArgmax', y.size, { x: [x, 4 * features], y: [y, 4] }, capabilities).map((range) => ({
      program,
      variant,
      bindings: range.bindings,
      params: { rows: range.count, lanes, steps, sharpness },
      workgroups: rowWorkgroups('softArgmax', range.count, layout, capabilities),
    }));
  },
  wasm({ inputs: { x }, y, params: { sharpness } }) {
    const features = x.shape.at(-1)!;
    return [{ kernel, variant: {}, args: { x, y, features, sharpness }, items: y.size, itemCost: 24 * features }];
  },
  randomCase: (random) => rows('random', [1 + random(4), 1 + random(9), 1 + random(300)], 2 ** (random(4) - 2)),
  cases: [
    rows('odd', [3, 5, 77], 1),
    rows('one', [1, 1], 1),
    rows('manyRows', [200, 64], 4),
    rows('oneRow', [130], 0.5),
    rows('longRow', [2, 12288], 2),
    rows('notFinite', [4, 3], 1, { kind: 'values', values: notFinite }),
    rows('heatMaps', [1024, 4096], 1, { kind: 'normal' }, true),
  ],
});

/** sum_k k softmax(sharpness * x)_k over the last axis of x [..., K]: [...], f32; NaN where a row has NaN or Infinity. */
export const softArgmax = (x: Tensor, params: SoftArgmaxParams): Tensor => runOp(softArgmaxOp, { x }, params);
