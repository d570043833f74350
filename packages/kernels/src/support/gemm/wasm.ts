// Gemm in wasm: every output is a dot product of two rows that are contiguous along the depth, three by three of them in
// registers (9 sums, 6 loads per 9 multiply-adds; larger tiles spill in V8). Weights of narrow dtypes are decoded, and b
// laid out by columns is transposed, to f32 rows in scratch, a panel and a slice of the depth at a time.
import { F32x4, I32x4, bytesPerElement, wasmKernel } from '@magi1/tensor';
import type { FloatDType, I32, KernelBuilder, Tensor, WasmFunction, WasmStep } from '@magi1/tensor';
import { loadFloats } from '../wasmFloats.ts';
import type { Gemm } from './webgpu.ts';

interface GemmVariant {
  /** `columns`: b is [depth, columns] in f32; else the dtype of b [columns, depth]. */
  readonly b: FloatDType | 'columns';
  readonly bias: boolean;
  /** b's rows are read where they are, decoded in registers: for f32, and where few rows of a would share the work. */
  readonly direct: boolean;
  readonly [name: string]: string | number | boolean;
}

const TILE = 3;
/** Depth of one pass over a panel: three rows of a (12 KiB) stay in the first-level cache, the panel in the second. */
const SLICE = 1024;
/** Scratch rows are a little longer than a slice, so that they do not all fall into the same cache sets. */
const SCRATCH_ROW_BYTES = 4 * (SLICE + 16);

/** Byte offset along a row of b for byte offset `at` of f32. */
const scaled = (at: I32, dtype: FloatDType): I32 => (dtype === 'f32' ? at : at.shrU(bytesPerElement(dtype) === 2 ? 1 : 2));

type TileFunction = WasmFunction<
  {
    a: 'i32';
    aStride: 'i32';
    b: 'i32';
    bStride: 'i32';
    depth: 'i32';
    y: 'i32';
    yStride: 'i32';
    bias: 'i32';
    first: 'i32';
  },
  null
>;

/**
 * A function that makes `rows` x `columns` outputs over `depth` elements: stored (plus the bias) when `first`, else added
 * to y. Kept apart because V8 optimises a function from its next call on, never in the midst of a long loop.
 */
function tileFunction(k: KernelBuilder, rows: number, columns: number, dtype: FloatDType, hasBias: boolean): TileFunction {
  const params = {
    a: 'i32',
    aStride: 'i32',
    b: 'i32',
    bStride: 'i32',
    depth: 'i32',
    y: 'i32',
    yStride: 'i32',
    bias: 'i32',
    first: 'i32',
  } as const;
  return k.function(params, null, (f, { a, aStride, b, bStride, depth, y, yStride, bias, first }) => {
    const rowsOf = (start: I32, stride: I32, count: number) =>
      Array.from({ length: count }, (_, i) => f.let(i === 0 ? start : start.add(stride.mul(i))));
    const [aRows, bRows] = [rowsOf(a, aStride, rows), rowsOf(b, bStride, columns)];
    const sums = Array.from({ length: rows * columns }, () => f.var(F32x4.of(0)));
    const step = (at: I32, part: (value: F32x4) => F32x4) => {
      const bAt = dtype === 'f32' ? at : f.let(scaled(at, dtype));
      const values = bRows.map((row) => f.let(part(loadFloats(f, dtype, row.add(bAt)))));
      for (const [i, row] of aRows.entries()) {
        const value = f.let(part(row.add(at).loadF32x4()));
        for (const [j, other] of values.entries()) {
          const sum = sums[i * columns + j]!;
          sum.set(f.madd(value, other, sum));
        }
      }
    };
    const whole = f.let(depth.and(-4).shl(2));
    f.forRange(0, whole, 16, (at) => {
      step(at, (value) => value);
    });
    const rest = f.let(depth.and(3));
    f.if(rest, () => {
      const valid = f.let(I32x4.lanes(0, 1, 2, 3).ltS(rest.splat()));
      step(whole, (value) => valid.and(value.asI32x4()).asF32x4());
    });
    for (let i = 0; i < rows; i++) {
      const to = f.let(y.add(yStride.mul(i)));
      for (let j = 0; j < columns; j++) {
        const sum = sums[i * columns + j]!;
        const halves = f.let(sum.add(sum.shuffle(sum, [2, 3, 2, 3])));
        const value = f.let(halves.lane(0).add(halves.lane(1)));
        f.if(
          first,
          () => {
            f.store(to, hasBias ? value.add(bias.loadF32(4 * j)) : value, 4 * j);
          },
          () => {
            f.store(to, to.loadF32(4 * j).add(value), 4 * j);
          },
        );
      }
    }
  });
}

/** Decodes `depth` elements of a row to f32. */
function decodeFunction(k: KernelBuilder, dtype: FloatDType) {
  return k.function({ from: 'i32', to: 'i32', depth: 'i32' }, null, (f, { from, to, depth }) => {
    f.forRange(0, depth.shl(2), 16, (at) => {
      f.store(to.add(at), loadFloats(f, dtype, from.add(scaled(at, dtype))));
    });
  });
}

/** Transposes `depth` rows of four columns to four scratch rows. */
function transposeFunction(k: KernelBuilder) {
  return k.function({ from: 'i32', stride: 'i32', to: 'i32', depth: 'i32' }, null, (f, { from, stride, to, depth }) => {
    const last = f.let(depth.sub(1));
    f.forRange(0, depth, 4, (row) => {
      // Past the last row it is read again; what comes of it is masked out of the sums.
      const [r0, r1, r2, r3] = [0, 1, 2, 3].map((i) =>
        f.let(from.add(row.add(i).minU(last).mul(stride)).loadF32x4()),
      ) as [F32x4, F32x4, F32x4, F32x4];
      const [low01, high01] = [f.let(r0.shuffle(r1, [0, 4, 1, 5])), f.let(r0.shuffle(r1, [2, 6, 3, 7]))];
      const [low23, high23] = [f.let(r2.shuffle(r3, [0, 4, 1, 5])), f.let(r2.shuffle(r3, [2, 6, 3, 7]))];
      const at = f.let(to.add(row.shl(2)));
      f.store(at, low01.shuffle(low23, [0, 1, 4, 5]));
      f.store(at, low01.shuffle(low23, [2, 3, 6, 7]), SCRATCH_ROW_BYTES);
      f.store(at, high01.shuffle(high23, [0, 1, 4, 5]), 2 * SCRATCH_ROW_BYTES);
      f.store(at, high01.shuffle(high23, [2, 3, 6, 7]), 3 * SCRATCH_ROW_BYTES);
    });
  });
}

const kernel = wasmKernel({
  name: 'gemm',
  args: {
    a: 'ptr',
    b: 'ptr',
    bias: 'ptr',
    y: 'ptr',
    rows: 'i32',
    columns: 'i32',
    depth: 'i32',
    /** An item is a panel of columns and a block of rows; blocks of one panel follow each other. */
    panelColumns: 'i32',
    blockRows: 'i32',
    blocks: 'i32',
  },
  body(k, args, variant: GemmVariant) {
    const { a, b, bias, y, rows, columns, depth, panelColumns, blockRows, blocks, begin, end, scratch } = args;
    const dtype = variant.b === 'columns' ? 'f32' : variant.b;
    const tileDType = variant.direct ? dtype : 'f32';
    const sizes = Array.from({ length: TILE }, (_, i) => i + 1);
    const tiles = sizes.map((r) => sizes.map((c) => tileFunction(k, r, c, tileDType, variant.bias)));
    const decode = variant.direct ? undefined : decodeFunction(k, dtype);
    const transpose = variant.b === 'columns' ? transposeFunction(k) : undefined;
    const [aBytes, yBytes] = [k.let(depth.shl(2)), k.let(columns.shl(2))];
    const bBytes = k.let(variant.b === 'columns' ? yBytes : depth.mul(bytesPerElement(dtype)));

    k.forRange(begin, end, 1, (item) => {
      const panel = k.let(item.divU(blocks));
      const column0 = k.let(panel.mul(panelColumns));
      const width = k.let(columns.sub(column0).minU(panelColumns));
      const row0 = k.let(item.sub(panel.mul(blocks)).mul(blockRows));
      const rowEnd = k.let(row0.add(blockRows).minU(rows));
      const bPanel = k.let(b.add(column0.mul(variant.b === 'columns' ? 4 : bBytes)));
      const slice = k.var(depth.sub(depth));
      // At least one slice, so that a depth of 0 stores zeros.
      k.loop((control) => {
        const length = k.let(depth.sub(slice).minU(SLICE));
        if (transpose !== undefined) {
          k.if(length, () => {
            k.forRange(0, width, 4, (c) => {
              const from = bPanel.add(slice.mul(bBytes)).add(c.shl(2));
              k.call(transpose, { from, stride: bBytes, to: scratch.add(c.mul(SCRATCH_ROW_BYTES)), depth: length });
            });
          });
        } else if (decode !== undefined) {
          k.forRange(0, width, 1, (c) => {
            const from = bPanel.add(c.mul(bBytes)).add(slice.mul(bytesPerElement(dtype)));
            k.call(decode, { from, to: scratch.add(c.mul(SCRATCH_ROW_BYTES)), depth: length });
          });
        }
        const bStart = k.let(variant.direct ? bPanel.add(slice.mul(bytesPerElement(dtype))) : scratch);
        const bStride = k.let(variant.direct ? bBytes : bBytes.and(0).add(SCRATCH_ROW_BYTES));
        const first = k.let(slice.eqz());
        const row = k.var(row0);
        const rowTiles = (count: number): void => {
          const aRow = k.let(a.add(row.mul(aBytes)).add(slice.shl(2)));
          const yRow = k.let(y.add(row.mul(yBytes)).add(column0.shl(2)));
          const biasStart = k.let(bias.add(column0.shl(2)));
          const tile = (column: I32, wide: number): void => {
            k.call(tiles[count - 1]![wide - 1]!, {
              a: aRow,
              aStride: aBytes,
              b: bStart.add(column.mul(bStride)),
              bStride,
              depth: length,
              y: yRow.add(column.shl(2)),
              yStride: yBytes,
              bias: biasStart.add(column.shl(2)),
              first,
            });
          };
          const whole = k.let(width.sub(width.remU(TILE)));
          k.forRange(0, whole, TILE, (column) => {
            tile(column, TILE);
          });
          for (let rest = 1; rest < TILE; rest++) {
            k.if(width.sub(whole).eq(rest), () => {
              tile(whole, rest);
            });
          }
          row.set(row.add(count));
        };
        k.while(() => row.add(TILE - 1).ltU(rowEnd), () => {
          rowTiles(TILE);
        });
        for (let rest = TILE - 1; rest >= 1; rest--) {
          k.if(rowEnd.sub(row).eq(rest), () => {
            rowTiles(rest);
          });
        }
        slice.set(slice.add(SLICE));
        control.breakIf(slice.geU(depth));
      });
    });
  },
});

/** Columns of a panel: 48 rows of b by a slice are 192 KiB. */
const PANEL = 48;
/** Items that a call is cut into at least, if it is large enough. */
const ITEMS = 16;
/** Weights below this size stay in the heap, so items may share a panel. */
const STREAMED_BYTES = 2 ** 20;

const ceilTo = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;

export function gemmStep({ a, b, layout, bias, y, rows, columns, depth }: Omit<Gemm, 'op'>): WasmStep {
  const streamed = layout === 'rows' && b.byteLength >= STREAMED_BYTES;
  // Panels are multiples of 12: of the tile, and of the four columns that are transposed at a time.
  const panelColumns = Math.min(PANEL, Math.max(12, ceilTo(columns / ITEMS, 12)));
  const panels = Math.ceil(columns / panelColumns);
  const blockRows = streamed ? rows : Math.min(rows, Math.max(48, ceilTo((rows * panels) / ITEMS, TILE)));
  const blocks = Math.ceil(rows / blockRows);
  const dtype = b.dtype as FloatDType;
  const direct = layout === 'rows' && (dtype === 'f32' || rows <= TILE);
  return {
    kernel,
    variant: { b: layout === 'columns' ? 'columns' : dtype, bias: bias !== undefined, direct },
    args: { a, b, bias: bias ?? 0, y, rows, columns, depth, panelColumns, blockRows, blocks } satisfies Record<
      string,
      Tensor | number
    >,
    items: panels * blocks,
    itemCost: 2 * panelColumns * blockRows * depth,
    ...(direct ? {} : { scratchBytes: panelColumns * SCRATCH_ROW_BYTES }),
    ...(streamed
      ? { streamed: { arg: 'b', bytesPerItem: panelColumns * depth * bytesPerElement(dtype) } }
      : {}),
  };
}
