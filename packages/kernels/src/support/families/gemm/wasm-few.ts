// Gemm in wasm for few rows, where packing b would cost more than it saves: every output is a dot product of two rows
// where they lie, 3 x 3 of them at a time, narrow weights decoded in registers.
import { F32x4, I32x4, isBlocks, wasmKernel } from '@magi1/tensor';
import type { FloatDType, I32, KernelBuilder, Var, WeightDType } from '@magi1/tensor';
import { loadFloats } from '../../wasm/floats.ts';
import { addBlockProducts } from './wasm-few-blocks.ts';
import { rowBytes, scaledOffset } from './wasm-tiles.ts';

export interface FewGemmVariant {
  readonly dtype: WeightDType;
  readonly bias: boolean;
  readonly [name: string]: string | number | boolean;
}

const TILE = 3;

/** `rows` x `columns` outputs; kept apart because V8 optimises a function from its next call on. */
function tileFunction(k: KernelBuilder, rows: number, columns: number, { dtype, bias: hasBias }: FewGemmVariant) {
  const params = {
    a: 'i32',
    aStride: 'i32',
    b: 'i32',
    bStride: 'i32',
    depth: 'i32',
    y: 'i32',
    yStride: 'i32',
    bias: 'i32',
  } as const;
  return k.function(params, null, (f, { a, aStride, b, bStride, depth, y, yStride, bias }) => {
    const starts = (start: I32, stride: I32, count: number) =>
      Array.from({ length: count }, (_, i) => f.let(start.add(stride.mul(i))));
    const [aRows, bRows] = [starts(a, aStride, rows), starts(b, bStride, columns)];
    const sums = aRows.map(() => bRows.map(() => f.var(F32x4.of(0))));
    if (isBlocks(dtype)) addBlockProducts(f, dtype, { aRows, bRows, depth }, sums);
    else addProducts(f, dtype, { aRows, bRows, depth }, sums);
    sums.forEach((row, i) => {
      const to = f.let(y.add(yStride.mul(i)));
      row.forEach((sum, j) => {
        const halves = f.let(sum.add(sum.shuffle(sum, [2, 3, 2, 3])));
        const value = halves.lane(0).add(halves.lane(1));
        f.store(to, hasBias ? value.add(bias.loadF32(4 * j)) : value, 4 * j);
      });
    });
  });
}

function addProducts(
  f: KernelBuilder,
  dtype: FloatDType,
  { aRows, bRows, depth }: { readonly aRows: readonly I32[]; readonly bRows: readonly I32[]; readonly depth: I32 },
  sums: readonly (readonly Var<F32x4>[])[],
): void {
  const step = (at: I32, part: (value: F32x4) => F32x4) => {
    const offset = f.let(scaledOffset(at, dtype));
    const values = bRows.map((row) => f.let(part(loadFloats(f, dtype, row.add(offset)))));
    aRows.forEach((row, i) => {
      const factor = f.let(part(row.add(at).loadF32x4()));
      sums[i]!.forEach((sum, j) => {
        sum.set(f.madd(factor, values[j]!, sum));
      });
    });
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
}

export const fewGemm = wasmKernel({
  name: 'gemmFew',
  args: { a: 'ptr', b: 'ptr', bias: 'ptr', y: 'ptr', rows: 'i32', columns: 'i32', depth: 'i32', itemColumns: 'i32' },
  body(k, { a, b, bias, y, rows, columns, depth, itemColumns, begin, end }, variant: FewGemmVariant) {
    const sizes = Array.from({ length: TILE }, (_, i) => i + 1);
    const tiles = sizes.map((r) => sizes.map((c) => tileFunction(k, r, c, variant)));
    const [aBytes, yBytes] = [k.let(depth.shl(2)), k.let(columns.shl(2))];
    const bBytes = k.let(rowBytes(depth, variant.dtype));
    k.forRange(begin, end, 1, (item) => {
      const column0 = k.let(item.mul(itemColumns));
      const width = k.let(columns.sub(column0).minU(itemColumns));
      const b0 = k.let(b.add(column0.mul(bBytes)));
      k.forRange(0, rows, TILE, (row) => {
        k.forRange(0, width, TILE, (column) => {
          const args = {
            a: k.let(a.add(row.mul(aBytes))),
            aStride: aBytes,
            b: k.let(b0.add(column.mul(bBytes))),
            bStride: bBytes,
            depth,
            y: k.let(y.add(row.mul(yBytes)).add(column0.add(column).shl(2))),
            yStride: yBytes,
            bias: k.let(bias.add(column0.add(column).shl(2))),
          };
          const which = k.let(rows.sub(row).minU(TILE).mul(TILE).add(width.sub(column).minU(TILE)));
          for (const r of sizes) {
            for (const c of sizes) {
              k.if(which.eq(r * TILE + c), () => {
                k.call(tiles[r - 1]![c - 1]!, args);
              });
            }
          }
        });
      });
    });
  },
});
