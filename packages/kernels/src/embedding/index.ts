// Row lookup: ids into a table of any weight dtype, widened to f32.
import {
  I32x4,
  OpError,
  bytesOf,
  defineOp,
  describeSpec,
  elementCount,
  runOp,
  wasmKernel,
  floatDTypes,
} from '@magi1/tensor';
import type { CaseOf, DType, FloatDType, OpTypes, Tensor, WasmOf, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { loadFloats } from '../support/wasm/floats.ts';
import { forVectors } from '../support/wasm/vectors.ts';
import { decodeOne } from '../support/wgsl/decode.ts';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';

export type Embedding = OpTypes<{ ids: Tensor; table: Tensor }>;

// WGSL of embedding: one element of the output per invocation; a table larger than one binding takes several dispatches,
// each for the ids in its rows.
const program: WgslProgram<{ readonly dtype: DType }> = {
  name: 'embedding',
  bindings: ({ dtype }) => [
    { name: 'ids', type: 'array<u32>', access: 'read' },
    { name: 'table', type: `array<${decodeOne(dtype, 'table').type}>`, access: 'read' },
    { name: 'y', type: 'array<u32>', access: 'read_write' },
  ],
  params: { size: 'u32', width: 'u32', all_rows: 'u32', first_row: 'u32', rows: 'u32' },
  source: ({ dtype }) => /* wgsl */ `
${WORKGROUP_INDEX}
${decodeOne(dtype, 'table').code}
${MAIN}
  if (i >= params.size) { return; }
  // A negative id is a large number here.
  let row = ids[i / params.width];
  let local = row - params.first_row;
  if (row >= params.all_rows) {
    y[i] = 0x7fc00000u;
  } else if (local < params.rows) {
    y[i] = bitcast<u32>(decode_at(local * params.width + i % params.width));
  }
}
`,
};

const webgpu: WebGpuOf<Embedding> = ({ inputs: { ids, table }, y }, capabilities) => {
  const [rows, width] = table.shape as [number, number];
  const rowBytes = bytesOf(table.dtype, width);
  const parts = rowRanges('embedding', rows, { table: [table, rowBytes] }, capabilities);
  return rowRanges('embedding', ids.size, { ids: [ids, 4], y: [y, 4 * width] }, capabilities).flatMap((range) =>
    parts.map((part) => ({
      program,
      variant: { dtype: table.dtype },
      bindings: { ...range.bindings, ...part.bindings },
      params: { size: range.count * width, width, all_rows: rows, first_row: part.start, rows: part.count },
      workgroups: gridOf('embedding', range.count * width, capabilities),
    })),
  );
};

// wasm embedding. The table may be too large for the heap and pass by in pieces, so an item is a row of the table, which
// looks for the ids that ask for it; a step before fills the rows of ids outside the table with NaN.
const missing = wasmKernel({
  name: 'embedding.missing',
  args: { ids: 'ptr', y: 'ptr', rows: 'i32', width: 'i32' },
  body(k, { begin, end, ids, y, rows, width }) {
    const rowBytes = k.let(width.shl(2));
    k.forRange(begin, end, 1, (i) => {
      k.if(ids.add(i.shl(2)).loadI32().geU(rows), () => {
        k.fill(y.add(i.mul(rowBytes)), 0xff, rowBytes);
      });
    });
  },
});

const lookup = wasmKernel({
  name: 'embedding',
  args: { table: 'ptr', ids: 'ptr', y: 'ptr', count: 'i32', width: 'i32' },
  body(k, { begin, end, table, ids, y, count, width }, { dtype }: { readonly dtype: FloatDType }) {
    const bytes = bytesOf(dtype, 1);
    const rowBytes = k.let(width.mul(bytes));
    k.forRange(begin, end, 1, (row) => {
      const from = k.let(table.add(row.mul(rowBytes)));
      k.forRange(0, count, 4, (first) => {
        const found = ids.add(first.shl(2)).loadI32x4().eq(row.splat());
        const within = I32x4.lanes(0, 1, 2, 3).add(first.splat()).ltS(count.splat());
        const hits = k.var(found.and(within).bitmask());
        k.while(
          () => hits,
          () => {
            // The lowest bit that is set.
            const bit = k.let(hits.and(k.let(hits).xor(-1).add(1)));
            const position = first.add(31).sub(bit.clz());
            const to = k.let(y.add(position.mul(width.shl(2))));
            forVectors(k, width, (at, put) => {
              put(to.add(at), loadFloats(k, dtype, k.let(from.add(at.shrU(2).mul(bytes)))));
            });
            hits.set(hits.xor(bit));
          },
        );
      });
    });
  },
});

const wasm: WasmOf<Embedding> = ({ inputs: { ids, table }, y }) => {
  const [rows, width] = table.shape as [number, number];
  const count = ids.size;
  return [
    { kernel: missing, variant: {}, args: { ids, y, rows, width }, items: count, itemCost: 4 },
    {
      kernel: lookup,
      variant: { dtype: table.dtype },
      args: { table, ids, y, count, width },
      items: rows,
      itemCost: 2 * count,
      streamed: { arg: 'table', bytesPerItem: bytesOf(table.dtype, width) },
    },
  ];
};

const lookupCase = (name: string, dtype: DType, n: number, rows: number, width: number, benchmarkOnly = false) =>
  ({
    name,
    inputs: {
      ids: { shape: [n], dtype: 'i32', fill: { kind: 'integers', below: rows } },
      table: { shape: [rows, width], dtype },
    },
    params: {},
    tolerance: 0,
    ...(benchmarkOnly ? { benchmarkOnly } : {}),
  }) satisfies CaseOf<Embedding>;

const cases: readonly CaseOf<Embedding>[] = [
  lookupCase('f32.odd', 'f32', 7, 13, 33),
  lookupCase('bf16.odd', 'bf16', 5, 11, 27),
  lookupCase('f16.odd', 'f16', 5, 11, 27),
  lookupCase('f8e4m3fn.odd', 'f8e4m3fn', 6, 9, 31),
  lookupCase('bf16.even', 'bf16', 20, 40, 64),
  lookupCase('pieces', 'bf16', 150, 301, 10),
  lookupCase('t5.shared', 'bf16', 800, 32128, 512, true),
];

function randomCase(random: (below: number) => number): CaseOf<Embedding> {
  const dtype = floatDTypes[random(floatDTypes.length)]!;
  return lookupCase('random', dtype, 1 + random(20), 1 + random(30), 1 + random(50));
}

export const embeddingOp = defineOp<Embedding>({
  name: 'embedding',
  infer({ ids, table }, _, check) {
    check.dtype('ids', 'i32', 'u32');
    check.rank('ids', 1);
    check.dtype('table', ...floatDTypes);
    check.rank('table', 2);
    return { shape: [ids.shape[0]!, table.shape[1]!], dtype: 'f32' };
  },
  cost({ ids, table }) {
    const width = table.shape[1]!;
    return { flops: 0, bytes: elementCount(ids.shape) * (4 * width + bytesOf(table.dtype, width)) };
  },
  reference({ inputs: { ids, table }, y }) {
    const [rows, width] = table.shape as [number, number];
    ids.data.forEach((id, i) => {
      if (id < 0 || id >= rows) throw new OpError('embedding', `id ${id} is outside ${describeSpec(table)}`);
      for (let k = 0; k < width; k++) y.data[i * width + k] = table.data[id * width + k]!;
    });
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** ids i32 or u32 [n], table [V, K] f32, f16, bf16 or f8e4m3fn -> f32 [n, K]. Ids must lie in 0..V-1; the row of
 * an id that does not comes out as NaN. */
export const embedding = (ids: Tensor, table: Tensor): Tensor => runOp(embeddingOp, { ids, table }, {});
