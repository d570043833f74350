// Chooses a gemm program for an adapter and a size, and splits operands that are larger than one binding.
import { bytesOf } from '@magi1/tensor';
import type { Tensor, TensorWindow, WebGpuCapabilities, WebGpuDispatch } from '@magi1/tensor';
import { rowRanges } from '../../wgsl/row-ranges.ts';
import { foldWorkgroups, softwareLanes } from '../../wgsl/dispatch.ts';
import { COLUMNS_PER_LANE, subgroupGemm } from './subgroup.ts';
import { DEPTH_VECTORS, SIDE, tileGemm } from './workgroup.ts';
import type { Gemm } from './call.ts';

export function gemmDispatches(gemm: Gemm, capabilities: WebGpuCapabilities): WebGpuDispatch[] {
  const { op, a, b, layout, bias, y, rows, columns, depth } = gemm;
  // Columns cannot be cut off from b where they are columns.
  const cut = layout === 'rows' && b.byteLength > capabilities.maxBindingBytes;
  const parts = cut
    ? rowRanges(op, columns, { b: [b, bytesOf(b.dtype, depth)] }, capabilities)
    : [{ start: 0, count: columns, bindings: { b } }];
  return rowRanges(op, rows, { a: [a, 4 * depth], y: [y, 4 * columns] }, capabilities).flatMap((range) =>
    parts.map((part): WebGpuDispatch => {
      const { program, variant, extra, tileRows, tileColumns } = choose(gemm, range.count, part.count, capabilities);
      const tiles = Math.ceil(range.count / tileRows) * Math.ceil(part.count / tileColumns);
      const bindings: Record<string, Tensor | TensorWindow> = { ...range.bindings, b: part.bindings.b };
      if (bias !== undefined) bindings['bias'] = bias;
      return {
        program,
        variant,
        bindings,
        params: { rows: range.count, columns: part.count, depth, first_column: part.start, stride: columns, ...extra },
        workgroups: foldWorkgroups(op, tiles, capabilities),
      };
    }),
  );
}

function choose(gemm: Gemm, rows: number, columns: number, capabilities: WebGpuCapabilities) {
  const { layout, bias, depth } = gemm;
  const common = { layout, dtype: gemm.b.dtype, bias: bias !== undefined };
  const lanes = softwareLanes(capabilities);
  if (lanes > 0) {
    // Four lanes with 32 rows take the compiler too long.
    const tileRows = rows <= 8 ? 8 : rows <= 16 || lanes === 4 ? 16 : 32;
    const wide = depth % 4 === 0 && (layout === 'rows' || columns % 4 === 0);
    const variant = { ...common, wide, tileRows, lanes };
    return { program: subgroupGemm, variant, extra: {}, tileRows, tileColumns: COLUMNS_PER_LANE * lanes };
  }
  // Large tiles where they still leave every core of a large GPU something to do.
  const largeTiles = Math.ceil(rows / 128) * Math.ceil(columns / 128);
  const large = largeTiles >= (capabilities.software ? 2 : 128);
  const [rowsEach, columnsEach] = rows <= 16 ? [1, 4] : large ? [8, 8] : [4, 4];
  const variant = { ...common, wide: depth % 4 === 0, rowsEach, columnsEach };
  const extra = { depth_tile: DEPTH_VECTORS };
  return { program: tileGemm, variant, extra, tileRows: SIDE * rowsEach, tileColumns: SIDE * columnsEach };
}
