// SwiGLU: silu of the first half of the features times the second half.
import { defineOp, describeSpec, elementCount, runOp, wasmKernel } from '@magi1/tensor';
import type { CaseOf, OpTypes, Tensor, WasmOf, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { silu } from '../support/wasm/functions.ts';
import { forVectors } from '../support/wasm/vectors.ts';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { SILU, valueType } from '../support/wgsl/functions.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';

export type Swiglu = OpTypes<{ x: Tensor }>;

// WGSL of SwiGLU: one quad (or one element, when rows do not consist of whole quads) per invocation.
const program: WgslProgram<{ readonly wide: boolean }> = {
  name: 'swiglu',
  bindings: ({ wide }) => [
    { name: 'x', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read' },
    { name: 'y', type: wide ? 'array<vec4f>' : 'array<f32>', access: 'read_write' },
  ],
  params: { size: 'u32', features: 'u32' },
  source: ({ wide }) => /* wgsl */ `
${WORKGROUP_INDEX}
${valueType(wide)}
${SILU}
${MAIN}
  if (i < params.size) {
    let gate = i + i / params.features * params.features;
    y[i] = silu(x[gate]) * x[gate + params.features];
  }
}
`,
};

const webgpu: WebGpuOf<Swiglu> = ({ inputs: { x }, y }, capabilities) => {
  const features = y.shape.at(-1)!;
  const wide = features % 4 === 0;
  const step = wide ? features / 4 : features;
  const operands = { x: [x, 8 * features], y: [y, 4 * features] } as const;
  return rowRanges('swiglu', y.size / features, operands, capabilities).map((range) => ({
    program,
    variant: { wide },
    bindings: range.bindings,
    params: { size: range.count * step, features: step },
    workgroups: gridOf('swiglu', range.count * step, capabilities),
  }));
};

// wasm SwiGLU; an item is a row.
const kernel = wasmKernel({
  name: 'swiglu',
  args: { x: 'ptr', y: 'ptr', features: 'i32' },
  body(k, { begin, end, x, y, features }) {
    const half = k.let(features.shl(2));
    k.forRange(begin, end, 1, (row) => {
      const gate = k.let(x.add(row.mul(half.shl(1))));
      const up = k.let(gate.add(half));
      const out = k.let(y.add(row.mul(half)));
      forVectors(k, features, (at, put) => {
        put(out.add(at), silu(k, k.let(gate.add(at).loadF32x4())).mul(up.add(at).loadF32x4()));
      });
    });
  },
});

const wasm: WasmOf<Swiglu> = ({ inputs: { x }, y }) => {
  const features = y.shape.at(-1)!;
  return [{ kernel, variant: {}, args: { x, y, features }, items: y.size / features, itemCost: 20 * features }];
};

const edges = [0, -0, 1e-30, -1e-30, 20, -20, 88, -88, 100, -100, 1e4, -1e4];

const cases: readonly CaseOf<Swiglu>[] = [
  { name: 'odd', inputs: { x: { shape: [3, 5, 14], dtype: 'f32', fill: { kind: 'normal', scale: 3 } } }, params: {} },
  { name: 'one', inputs: { x: { shape: [1, 1, 2], dtype: 'f32' } }, params: {} },
  {
    name: 'edges',
    inputs: {
      x: {
        shape: [2 * edges.length],
        dtype: 'f32',
        fill: { kind: 'values', values: [...edges, ...edges.map(() => 2)] },
      },
    },
    params: {},
  },
  { name: 'manyRows', inputs: { x: { shape: [37, 64], dtype: 'f32' } }, params: {} },
  { name: 'wide', inputs: { x: { shape: [2, 8202], dtype: 'f32' } }, params: {} },
  { name: 'dit24b.fc1', inputs: { x: { shape: [256, 32768], dtype: 'f32' } }, params: {}, benchmarkOnly: true },
];

export const swigluOp = defineOp<Swiglu>({
  name: 'swiglu',
  infer({ x }, _, check) {
    check.dtype('x', 'f32');
    const features = check.lastDim('x');
    if (features % 2 !== 0) {
      throw check.error(`x must have an even number of features, got ${describeSpec(x)}`);
    }
    return { shape: [...x.shape.slice(0, -1), features / 2], dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 5 * (elementCount(x.shape) / 2), bytes: 6 * elementCount(x.shape) }),
  reference({ inputs: { x }, y }) {
    const features = y.shape.at(-1)!;
    for (let i = 0; i < y.data.length; i++) {
      const gate = i + Math.floor(i / features) * features;
      y.data[i] = (x.data[gate]! / (1 + Math.exp(-x.data[gate]!))) * x.data[gate + features]!;
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase: (random) => ({
    name: 'random',
    inputs: { x: { shape: [1 + random(4), 1 + random(5), 2 * (1 + random(70))], dtype: 'f32' } },
    params: {},
  }),
});

/** silu(x[..., :F]) * x[..., F:] for x [..., 2F], f32. */
export const swiglu = (x: Tensor): Tensor => runOp(swigluOp, { x }, {});
