// Rotary position embedding in half-split layout.
import { defineOp, describeSpec, elementCount, runOp, wasmKernel } from '@magi1/tensor';
import type { CaseOf, OpTypes, Tensor, WasmOf, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { forVectors } from '../support/wasm/vectors.ts';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { valueType } from '../support/wgsl/functions.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';

export type Rope = OpTypes<{ x: Tensor; cos: Tensor; sin: Tensor }>;

// WGSL of rope: an invocation makes one quad of the output, or one element where rows are not made of quads.
const program: WgslProgram<{ readonly wide: boolean }> = {
  name: 'rope',
  bindings({ wide }) {
    const type = wide ? 'array<vec4f>' : 'array<f32>';
    return [
      { name: 'x', type, access: 'read' },
      { name: 'cosines', type, access: 'read' },
      { name: 'sines', type, access: 'read' },
      { name: 'y', type, access: 'read_write' },
    ];
  },
  // All counted in values of T.
  params: { size: 'u32', heads: 'u32', features: 'u32', columns: 'u32' },
  source: ({ wide }) => /* wgsl */ `
${WORKGROUP_INDEX}
${valueType(wide)}
${MAIN}
  if (i >= params.size) { return; }
  let row = i / params.features;
  let feature = i - row * params.features;
  let value = x[i];
  if (feature >= 2u * params.columns) {
    y[i] = value;
    return;
  }
  let angles = row / params.heads * params.columns;
  if (feature < params.columns) {
    y[i] = value * cosines[angles + feature] - x[i + params.columns] * sines[angles + feature];
  } else {
    let column = feature - params.columns;
    y[i] = x[i - params.columns] * sines[angles + column] + value * cosines[angles + column];
  }
}
`,
};

const webgpu: WebGpuOf<Rope> = ({ inputs: { x, cos, sin }, y }, capabilities) => {
  const [tokens, heads, features] = x.shape as [number, number, number];
  const columns = cos.shape[1]!;
  const wide = features % 4 === 0 && columns % 4 === 0;
  const unit = wide ? 4 : 1;
  const [tokenBytes, angleBytes] = [4 * heads * features, 4 * columns];
  const operands = {
    x: [x, tokenBytes],
    cosines: [cos, angleBytes],
    sines: [sin, angleBytes],
    y: [y, tokenBytes],
  } as const;
  return rowRanges('rope', tokens, operands, capabilities).map((range) => {
    const size = (range.count * heads * features) / unit;
    return {
      program,
      variant: { wide },
      bindings: range.bindings,
      params: { size, heads, features: features / unit, columns: columns / unit },
      workgroups: gridOf('rope', size, capabilities),
    };
  });
};

// wasm rope; an item is one head of one token.
const kernel = wasmKernel({
  name: 'rope',
  args: { x: 'ptr', cos: 'ptr', sin: 'ptr', y: 'ptr', heads: 'i32', features: 'i32', columns: 'i32' },
  body(k, { begin, end, x, cos, sin, y, heads, features, columns }) {
    const rowBytes = k.let(features.shl(2));
    const columnBytes = k.let(columns.shl(2));
    k.forRange(begin, end, 1, (row) => {
      const [from, to] = [k.let(x.add(row.mul(rowBytes))), k.let(y.add(row.mul(rowBytes)))];
      const angles = k.let(row.divU(heads).mul(columnBytes));
      const [cosines, sines] = [k.let(cos.add(angles)), k.let(sin.add(angles))];
      forVectors(k, columns, (at, put) => {
        const a = k.let(from.add(at).loadF32x4());
        const b = k.let(from.add(columnBytes).add(at).loadF32x4());
        const c = k.let(cosines.add(at).loadF32x4());
        const s = k.let(sines.add(at).loadF32x4());
        put(to.add(at), a.mul(c).sub(b.mul(s)));
        put(to.add(columnBytes).add(at), a.mul(s).add(b.mul(c)));
      });
      const turned = k.let(columnBytes.shl(1));
      k.copy(to.add(turned), from.add(turned), rowBytes.sub(turned));
    });
  },
});

const wasm: WasmOf<Rope> = ({ inputs: { x, cos, sin }, y }) => {
  const [tokens, heads, features] = x.shape as [number, number, number];
  return [
    {
      kernel,
      variant: {},
      args: { x, cos, sin, y, heads, features, columns: cos.shape[1]! },
      items: tokens * heads,
      itemCost: 4 * features,
    },
  ];
};

// cos and sin need not lie on the unit circle for the op's arithmetic to be checked.
const turn = (name: string, [tokens, heads, features]: [number, number, number], columns: number): CaseOf<Rope> => ({
  name,
  inputs: {
    x: { shape: [tokens, heads, features], dtype: 'f32' },
    cos: { shape: [tokens, columns], dtype: 'f32' },
    sin: { shape: [tokens, columns], dtype: 'f32' },
  },
  params: {},
});

const cases: readonly CaseOf<Rope>[] = [
  turn('partial', [5, 3, 24], 9),
  turn('whole', [4, 2, 16], 8),
  turn('odd', [7, 3, 13], 5),
  turn('one', [1, 1, 2], 1),
  turn('none', [2, 2, 3], 0),
  turn('head128', [9, 5, 128], 48),
  { ...turn('dit4.5b.q', [1024, 24, 128], 48), benchmarkOnly: true },
];

function randomCase(random: (below: number) => number): CaseOf<Rope> {
  const columns = random(50);
  return turn('random', [1 + random(9), 1 + random(5), Math.max(1, 2 * columns + random(20))], columns);
}

export const ropeOp = defineOp<Rope>({
  name: 'rope',
  infer({ x, cos }, _, check) {
    check.dtype('x', 'f32');
    check.dtype('cos', 'f32');
    check.dtype('sin', 'f32');
    check.rank('x', 3);
    check.rank('cos', 2);
    check.shape('cos', [x.shape[0]!, cos.shape[1]!]);
    check.shape('sin', cos.shape);
    if (2 * cos.shape[1]! > x.shape[2]!) {
      throw check.error(`${describeSpec(cos)} turns ${2 * cos.shape[1]!} features, x is ${describeSpec(x)}`);
    }
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x, cos }) => ({
    flops: 3 * elementCount(x.shape),
    bytes: 8 * (elementCount(x.shape) + elementCount(cos.shape)),
  }),
  reference({ inputs: { x, cos, sin }, y }) {
    const [tokens, heads, features] = x.shape as [number, number, number];
    const columns = cos.shape[1]!;
    for (let row = 0; row < tokens * heads; row++) {
      const start = row * features;
      const angles = Math.floor(row / heads) * columns;
      for (let k = 0; k < features; k++) y.data[start + k] = x.data[start + k]!;
      for (let r = 0; r < columns; r++) {
        const [a, b] = [x.data[start + r]!, x.data[start + columns + r]!];
        const [c, s] = [cos.data[angles + r]!, sin.data[angles + r]!];
        y.data[start + r] = a * c - b * s;
        y.data[start + columns + r] = a * s + b * c;
      }
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/**
 * Turns x [S, H, D] by the angles of its token, all heads alike: with cos and sin [S, R], a = features 0..R-1 and
 * b = R..2R-1 become a cos - b sin and a sin + b cos; features from 2R on stay. f32.
 */
export const rope = (x: Tensor, cos: Tensor, sin: Tensor): Tensor => runOp(ropeOp, { x, cos, sin }, {});
