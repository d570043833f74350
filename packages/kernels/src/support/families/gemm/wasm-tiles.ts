// Inner loops of the wasm products. The fastest form measured (Node 20, one thread: 40 GFLOP/s against 34 of dot products
// where the rows lie) keeps 3 x 12 sums in registers and adds the outer product of 3 values of a and 12 of b at each step
// of the depth. Larger tiles spill in V8; all addresses but two are constant offsets, which takes a's rows a constant
// distance apart.
import { F32x4, GROUP, bitsPerElement, bytesOf, isBlocks } from '@magi1/tensor';
import type { FloatDType, I32, KernelBuilder, WeightDType } from '@magi1/tensor';
import { loadFloats } from '../../wasm/floats.ts';

/** Rows of a and columns of b in a tile. */
export const TILE_ROWS = 3;
export const TILE_COLUMNS = 12;
export const TILE_VECTORS = TILE_COLUMNS / 4;
/** Bytes of one step of the depth in a packed panel of b. */
export const PANEL_STEP = 4 * TILE_COLUMNS;

export interface OuterOperands {
  readonly a: I32;
  /** Bytes between rows of a. */
  readonly aStride: number;
  readonly b: I32;
  /** Bytes between steps of the depth in b. */
  readonly bStep: number;
  readonly depth: I32;
}

/** sums[row][vector] of a's rows times the columns of `vectors` vectors of b. */
export function outerProducts(
  f: KernelBuilder,
  rows: number,
  vectors: number,
  { a, aStride, b, bStep, depth }: OuterOperands,
): F32x4[][] {
  const sums = Array.from({ length: rows }, () => Array.from({ length: vectors }, () => f.var(F32x4.of(0))));
  const from = f.var(b);
  f.forRange(a, f.let(a.add(depth.shl(2))), 4, (at) => {
    const values = Array.from({ length: vectors }, (_, c) => f.let(from.loadF32x4(16 * c)));
    sums.forEach((row, i) => {
      const factor = f.let(at.loadF32x4Splat(i * aStride));
      row.forEach((sum, c) => {
        sum.set(f.madd(factor, values[c]!, sum));
      });
    });
    from.set(from.add(bStep));
  });
  return sums;
}

/** Byte offset along a row of a dtype for the byte offset `at` of f32. */
export function scaledOffset(at: I32, dtype: FloatDType): I32 {
  return dtype === 'f32' ? at : at.shrU(Math.log2(32 / bitsPerElement(dtype)));
}

/** Bytes of `count` elements of a row; of q8 and q4, whole groups. */
export function rowBytes(count: I32, dtype: WeightDType): I32 {
  return isBlocks(dtype) ? count.shrU(Math.log2(GROUP)).mul(bytesOf(dtype, GROUP)) : count.mul(bytesOf(dtype, 1));
}

/**
 * A function that packs `rows` (1 to 12) rows of `depth` elements to a panel: 12 f32 of a step side by side. Missing rows
 * repeat the last one; up to three steps past the depth are written, with values that mean nothing.
 */
export function packRowsFunction(k: KernelBuilder, dtype: FloatDType) {
  const params = { from: 'i32', stride: 'i32', rows: 'i32', to: 'i32', depth: 'i32' } as const;
  return k.function(params, null, (f, { from, stride, rows, to, depth }) => {
    const last = f.let(rows.sub(1));
    const bytes = f.let(depth.shl(2));
    for (let vector = 0; vector < TILE_VECTORS; vector++) {
      const sources = [0, 1, 2, 3].map((i) => f.let(from.add(last.minU(4 * vector + i).mul(stride))));
      f.forRange(0, bytes, 16, (at) => {
        const offset = f.let(scaledOffset(at, dtype));
        const target = f.let(to.add(at.mul(TILE_COLUMNS)));
        const four = sources.map((source) => f.let(loadFloats(f, dtype, source.add(offset))));
        transpose(f, four as [F32x4, F32x4, F32x4, F32x4]).forEach((column, step) => {
          f.store(target, column, step * PANEL_STEP + 16 * vector);
        });
      });
    }
  });
}

function transpose(f: KernelBuilder, [r0, r1, r2, r3]: readonly [F32x4, F32x4, F32x4, F32x4]): F32x4[] {
  const [low01, high01] = [f.let(r0.shuffle(r1, [0, 4, 1, 5])), f.let(r0.shuffle(r1, [2, 6, 3, 7]))];
  const [low23, high23] = [f.let(r2.shuffle(r3, [0, 4, 1, 5])), f.let(r2.shuffle(r3, [2, 6, 3, 7]))];
  return [
    low01.shuffle(low23, [0, 1, 4, 5]),
    low01.shuffle(low23, [2, 3, 6, 7]),
    high01.shuffle(high23, [0, 1, 4, 5]),
    high01.shuffle(high23, [2, 3, 6, 7]),
  ];
}

/**
 * A function that packs `width` columns of `depth` rows to panels `panelBytes` apart, row by row, as they lie in memory.
 * Reads up to 44 bytes past the last column.
 */
export function packColumnsFunction(k: KernelBuilder, panelBytes: number) {
  const params = { from: 'i32', stride: 'i32', width: 'i32', to: 'i32', depth: 'i32' } as const;
  return k.function(params, null, (f, { from, stride, width, to, depth }) => {
    const end = f.let(from.add(depth.mul(stride)));
    const row = f.var(from);
    const target = f.var(to);
    f.while(
      () => row.ne(end),
      () => {
        const panel = f.var(target);
        f.forRange(row, row.add(width.shl(2)), PANEL_STEP, (source) => {
          for (let at = 0; at < PANEL_STEP; at += 16) f.store(panel, source.loadF32x4(at), at);
          panel.set(panel.add(panelBytes));
        });
        target.set(target.add(PANEL_STEP));
        row.set(row.add(stride));
      },
    );
  });
}

/** A function that copies rows of `depth` elements to rows `toStride` bytes apart, in whole vectors. */
export function copyRowsFunction(k: KernelBuilder, toStride: number) {
  const params = { from: 'i32', stride: 'i32', rows: 'i32', to: 'i32', depth: 'i32' } as const;
  return k.function(params, null, (f, { from, stride, rows, to, depth }) => {
    const bytes = f.let(depth.shl(2));
    f.forRange(0, rows, 1, (row) => {
      const [source, target] = [f.let(from.add(row.mul(stride))), f.let(to.add(row.mul(toStride)))];
      f.forRange(0, bytes, 16, (at) => {
        f.store(target.add(at), source.add(at).loadF32x4());
      });
    });
  });
}
