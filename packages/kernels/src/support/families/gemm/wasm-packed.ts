// Gemm in wasm for many rows. An item is a panel group of b's columns and a block of a's rows; for each slice of the
// depth, b's columns are packed (decoded, transposed) to panels of 12 in scratch, then a's rows three at a time.
import { isBlocks, wasmKernel } from '@magi1/tensor';
import type { I32, KernelBuilder, WeightDType } from '@magi1/tensor';
import { packBlocksFunction } from './wasm-blocks.ts';
import {
  PANEL_STEP,
  TILE_COLUMNS,
  TILE_ROWS,
  TILE_VECTORS,
  copyRowsFunction,
  outerProducts,
  packColumnsFunction,
  packRowsFunction,
  rowBytes,
} from './wasm-tiles.ts';

/** Steps of the depth that are summed before they join y: keeps rounding errors small and operands in the cache. */
const SLICE = 256;
/** Rows of a in scratch, a little apart, so that they do not all fall into the same cache sets. */
const A_STRIDE = 4 * SLICE + 64;
const PANEL_BYTES = SLICE * PANEL_STEP;

const A_BYTES = TILE_ROWS * A_STRIDE;
const EDGE_BYTES = TILE_ROWS * PANEL_STEP;

/** Scratch: a's rows, zeros for sums that start from nothing, a tile that the matrix's edge cuts, then the panels. */
export const packedScratchBytes = (columns: number): number =>
  A_BYTES + PANEL_STEP + EDGE_BYTES + Math.ceil(columns / TILE_COLUMNS) * PANEL_BYTES;

export interface PackedGemmVariant {
  /** `columns`: b is [depth, columns] in f32; else the dtype of b [columns, depth]. */
  readonly b: WeightDType | 'columns';
  readonly bias: boolean;
  readonly [name: string]: string | number | boolean;
}

/** y = start + a b for one tile; kept apart because V8 optimises a function from its next call on. */
function tileFunction(k: KernelBuilder, rows: number) {
  const params = {
    a: 'i32',
    b: 'i32',
    depth: 'i32',
    start: 'i32',
    startStride: 'i32',
    y: 'i32',
    yStride: 'i32',
  } as const;
  return k.function(params, null, (f, { a, b, depth, start, startStride, y, yStride }) => {
    const sums = outerProducts(f, rows, TILE_VECTORS, { a, aStride: A_STRIDE, b, bStep: PANEL_STEP, depth });
    sums.forEach((row, i) => {
      const [from, to] = [f.let(start.add(startStride.mul(i))), f.let(y.add(yStride.mul(i)))];
      row.forEach((sum, c) => {
        f.store(to, sum.add(from.loadF32x4(16 * c)), 16 * c);
      });
    });
  });
}

export const packedGemm = wasmKernel({
  name: 'gemmPacked',
  args: {
    a: 'ptr',
    b: 'ptr',
    bias: 'ptr',
    y: 'ptr',
    rows: 'i32',
    columns: 'i32',
    depth: 'i32',
    /** Columns and rows of an item; blocks of rows of the same columns follow each other. */
    itemColumns: 'i32',
    itemRows: 'i32',
    blocks: 'i32',
  },
  body(k, args, variant: PackedGemmVariant) {
    const { columns, depth, begin, end, scratch } = args;
    const byColumns = variant.b === 'columns';
    const dtype = variant.b === 'columns' ? 'f32' : variant.b;
    const tiles = Array.from({ length: TILE_ROWS }, (_, i) => tileFunction(k, i + 1));
    const packRows = isBlocks(dtype) ? packBlocksFunction(k, dtype) : packRowsFunction(k, dtype);
    const packColumns = packColumnsFunction(k, PANEL_BYTES);
    const copyRows = copyRowsFunction(k, A_STRIDE);
    const [aBytes, yBytes] = [k.let(depth.shl(2)), k.let(columns.shl(2))];
    const bBytes = k.let(byColumns ? yBytes : rowBytes(depth, dtype));
    const zeros = k.let(scratch.add(A_BYTES));
    const edge = k.let(zeros.add(PANEL_STEP));
    const panels = k.let(edge.add(EDGE_BYTES));
    k.fill(zeros, 0, PANEL_STEP);

    k.forRange(begin, end, 1, (item) => {
      const group = k.let(item.divU(args.blocks));
      const column0 = k.let(group.mul(args.itemColumns));
      const width = k.let(columns.sub(column0).minU(args.itemColumns));
      const row0 = k.let(item.sub(group.mul(args.blocks)).mul(args.itemRows));
      const rowEnd = k.let(row0.add(args.itemRows).minU(args.rows));
      const b0 = k.let(args.b.add(column0.mul(byColumns ? 4 : bBytes)));
      const slice = k.var(depth.and(0));
      // At least one slice, so that a depth of 0 stores the bias or zeros.
      k.loop((control) => {
        const length = k.let(depth.sub(slice).minU(SLICE));
        const first = k.let(slice.eqz());
        if (byColumns) {
          k.call(packColumns, { from: b0.add(slice.mul(bBytes)), stride: bBytes, width, to: panels, depth: length });
        } else {
          k.forRange(0, width, TILE_COLUMNS, (c) => {
            const from = b0.add(c.mul(bBytes)).add(rowBytes(slice, dtype));
            const to = panels.add(c.mul(PANEL_BYTES / TILE_COLUMNS));
            k.call(packRows, { from, stride: bBytes, rows: width.sub(c).minU(TILE_COLUMNS), to, depth: length });
          });
        }
        k.forRange(row0, rowEnd, TILE_ROWS, (row) => {
          const count = k.let(rowEnd.sub(row).minU(TILE_ROWS));
          const from = args.a.add(row.mul(aBytes)).add(slice.shl(2));
          k.call(copyRows, { from, stride: aBytes, rows: count, to: scratch, depth: length });
          const yRow = k.let(args.y.add(row.mul(yBytes)).add(column0.shl(2)));
          for (let rows = 1; rows <= TILE_ROWS; rows++) {
            k.if(count.eq(rows), () => {
              k.forRange(0, width, TILE_COLUMNS, (c) => {
                const y = k.let(yRow.add(c.shl(2)));
                const whole = k.let(c.add(TILE_COLUMNS).leU(width));
                const initial = variant.bias ? args.bias.add(column0.add(c).shl(2)) : zeros;
                k.call(tiles[rows - 1]!, {
                  a: scratch,
                  b: panels.add(c.mul(PANEL_BYTES / TILE_COLUMNS)),
                  depth: length,
                  start: k.select(first, initial, y),
                  startStride: k.select(first, yBytes.and(0), yBytes),
                  y: k.select(whole, y, edge),
                  yStride: k.select(whole, yBytes, yBytes.and(0).add(PANEL_STEP)),
                });
                k.if(whole.eqz(), () => {
                  copyEdge(k, edge, y, yBytes, rows, width.sub(c));
                });
              });
            });
          }
        });
        slice.set(slice.add(SLICE));
        control.breakIf(slice.geU(depth));
      });
    });
  },
});

function copyEdge(k: KernelBuilder, edge: I32, y: I32, yBytes: I32, rows: number, columns: I32): void {
  k.forRange(0, rows, 1, (row) => {
    k.copy(y.add(row.mul(yBytes)), edge.add(row.mul(PANEL_STEP)), columns.shl(2));
  });
}
