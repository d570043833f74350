// WGSL of embedding: one element of the output per invocation; a table larger than one binding takes several dispatches,
// each for the ids in its rows.
import { bytesOf } from '@magi1/tensor';
import type { DType, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { decodeOne } from '../support/wgsl/decode.ts';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../support/wgsl/dispatch.ts';
import { rowRanges } from '../support/wgsl/row-ranges.ts';
import type { Embedding } from './contract.ts';

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

export const webgpu: WebGpuOf<Embedding> = ({ inputs: { ids, table }, y }, capabilities) => {
  const [rows, width] = table.shape as [number, number];
  const rowBytes = bytesOf(table.dtype, width);
  return rowRanges('embedding', rows, [rowBytes], capabilities).map((range) => ({
    program,
    variant: { dtype: table.dtype },
    bindings: { ids, table: range.window(table, rowBytes), y },
    params: { size: y.size, width, all_rows: rows, first_row: range.start, rows: range.count },
    workgroups: gridOf('embedding', y.size, capabilities),
  }));
};
