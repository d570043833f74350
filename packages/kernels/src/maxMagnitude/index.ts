// The largest magnitude in a tensor, by bits: finds NaN and infinities on every device, whatever its arithmetic does to them.
import { I32x4, defineOp, elementCount, runOp, wasmKernel } from '@magi1/tensor';
import type { CaseOf, I32, OpTypes, Shape, Tensor, WasmOf, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { WORKGROUP_INDEX, foldWorkgroups } from '../support/wgsl/dispatch.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';

/** Elements that one output covers. */
const STRETCH = 512;
/** All bits of a float but its sign: as whole numbers they order like magnitudes, Infinity next, NaN above all. */
const MAGNITUDE_BITS = 0x7fffffff;

export type MaxMagnitude = OpTypes<{ x: Tensor }>;

// WGSL of maxMagnitude: an invocation has a stretch to itself. Bound as words, since shaders may assume that there is no NaN.
const program: WgslProgram<Record<string, never>> = {
  name: 'maxMagnitude',
  bindings: () => [
    { name: 'x', type: 'array<u32>', access: 'read' },
    { name: 'y', type: 'array<i32>', access: 'read_write' },
  ],
  params: { size: 'u32', stretch: 'u32' },
  source: () => /* wgsl */ `
${WORKGROUP_INDEX}
@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) id: vec3u, @builtin(num_workgroups) count: vec3u, @builtin(local_invocation_index) lane: u32) {
  let part = workgroup_index(id, count) * 64u + lane;
  let start = part * params.stretch;
  if (start >= params.size) { return; }
  var most = 0u;
  for (var k = start; k < min(start + params.stretch, params.size); k++) { most = max(most, x[k] & ${MAGNITUDE_BITS}u); }
  y[part] = i32(most);
}
`,
};

const webgpu: WebGpuOf<MaxMagnitude> = ({ inputs: { x }, y }, capabilities) =>
  rowRanges('maxMagnitude', y.size, { x: [x, 4 * STRETCH], y: [y, 4] }, capabilities).map((range) => ({
    program,
    variant: {},
    bindings: range.bindings,
    params: { size: Math.min(x.size - range.start * STRETCH, range.count * STRETCH), stretch: STRETCH },
    workgroups: foldWorkgroups('maxMagnitude', Math.ceil(range.count / 64), capabilities),
  }));

// wasm maxMagnitude; an item is a stretch.
const kernel = wasmKernel({
  name: 'maxMagnitude',
  args: { x: 'ptr', y: 'ptr', size: 'i32' },
  body(k, { begin, end, x, y, size }) {
    k.forRange(begin, end, 1, (part) => {
      const start = k.let(part.mul(STRETCH));
      const count = k.let(size.sub(start).minU(STRETCH));
      const from = k.let(x.add(start.shl(2)));
      const most = k.var(I32x4.of(0));
      const whole = k.let(count.and(-4).shl(2));
      k.forRange(0, whole, 16, (at) => {
        most.set(most.maxU(from.add(at).loadI32x4().and(MAGNITUDE_BITS)));
      });
      // The last vector may reach past the end, where anything may lie.
      const valid = I32x4.lanes(0, 1, 2, 3).ltS(k.let(count.and(3)).splat());
      most.set(most.maxU(valid.and(from.add(whole).loadI32x4()).and(MAGNITUDE_BITS)));
      const lane = (index: number): I32 => k.let(most.lane(index));
      const largest = k.let(lane(0).maxU(lane(1))).maxU(k.let(lane(2).maxU(lane(3))));
      k.store(y.add(part.shl(2)), k.let(largest));
    });
  },
});

const wasm: WasmOf<MaxMagnitude> = ({ inputs: { x }, y }) => [
  {
    kernel,
    variant: {},
    args: { x, y, size: x.size },
    items: y.size,
    itemCost: STRETCH,
  },
];

const values = (name: string, shape: Shape, given: readonly number[]) =>
  ({
    name,
    inputs: { x: { shape, dtype: 'f32', fill: { kind: 'values', values: given } } },
    params: {},
  }) satisfies CaseOf<MaxMagnitude>;
const normal = (name: string, shape: Shape, scale: number, benchmarkOnly = false) =>
  ({
    name,
    inputs: { x: { shape, dtype: 'f32', fill: { kind: 'normal', scale } } },
    params: {},
    benchmarkOnly,
  }) satisfies CaseOf<MaxMagnitude>;

const one = (special: number, at: number, length: number): number[] =>
  Array.from({ length }, (_, i) => (i === at ? special : i - length / 2));

export const maxMagnitudeOp = defineOp<MaxMagnitude>({
  name: 'maxMagnitude',
  infer({ x }, _, check) {
    check.dtype('x', 'f32');
    const size = elementCount(x.shape);
    if (size === 0) throw check.error('x must have at least one element, got none');
    return { shape: [Math.ceil(size / STRETCH)], dtype: 'i32' };
  },
  cost: ({ x }) => ({ flops: elementCount(x.shape), bytes: 4 * elementCount(x.shape) }),
  reference({ inputs: { x }, y }) {
    const bits = new Int32Array(Float32Array.from(x.data).buffer);
    bits.forEach((word, i) => {
      const part = Math.floor(i / STRETCH);
      y.data[part] = Math.max(y.data[part]!, word & MAGNITUDE_BITS);
    });
  },
  webgpu,
  wasm,
  randomCase: (random) => normal('random', [1 + random(3), 1 + random(700)], 10 ** (random(61) - 30)),
  cases: [
    values('one', [1], [-3]),
    values('zero', [2], [-0, 0]),
    values('nan', [3, 5], one(NaN, 14, 15)),
    values('nanAboveInfinity', [4], [Infinity, NaN, -Infinity, 1]),
    values('infinity', [1100], one(-Infinity, 1099, 1100)),
    values('subnormal', [3], [1e-45, -1e-40, 0]),
    normal('wholeStretches', [4, 512], 1),
    normal('odd', [7, 301], 1e30),
    normal('manyStretches', [3, 12289], 1),
    normal('latents.720p', [1, 16, 6, 90, 160], 1, true),
  ],
});

/** Largest magnitude of each stretch of 512 elements of x, f32 of any shape: their bits, i32; see `magnitudeOf`. */
export const maxMagnitude = (x: Tensor): Tensor<'i32'> => runOp(maxMagnitudeOp, { x }, {}) as Tensor<'i32'>;

/** The largest magnitude that the bits of `maxMagnitude` stand for: NaN where one of them is a NaN, or Infinity. */
export function magnitudeOf(bits: Int32Array): number {
  return new Float32Array(Int32Array.of(bits.reduce((most, word) => Math.max(most, word), 0)).buffer)[0]!;
}
