// The inner loop of wasm-few.ts for q8 and q4: a group of 64 elements of each row of b at a time.
import { I32x4 } from '@magi1/tensor';
import type { BlockDType, F32x4, I32, KernelBuilder, Var } from '@magi1/tensor';
import { decodeScales, groupBytes, loadCodes } from '../../wasm/blocks.ts';

/** Adds the products of rows of f32 and rows of blocks, all of `depth` elements, to `sums[row of a][row of b]`, by lanes. */
export function addBlockProducts(
  f: KernelBuilder,
  dtype: BlockDType,
  { aRows, bRows, depth }: { readonly aRows: readonly I32[]; readonly bRows: readonly I32[]; readonly depth: I32 },
  sums: readonly (readonly Var<F32x4>[])[],
): void {
  const groupAt = f.var(depth.and(0));
  f.forRange(0, f.let(depth.shl(2)), 4 * 64, (at) => {
    const groups = bRows.map((row) => f.let(row.add(groupAt)));
    const factors = aRows.map((row) => f.let(row.add(at)));
    const words = groups.reduce((lanes, group, i) => lanes.withLane(i, group.loadI32()), I32x4.of(0));
    decodeScales(f, words).forEach((scales, half) => {
      const rowScales = groups.map((_, i) => f.let(scales.lane(i).splat()));
      const blockBytes = (groupBytes(dtype) - 4) / 2;
      for (let byte = 0; byte < blockBytes; byte += 8) {
        const codes = groups.map((group) => loadCodes(f, dtype, group, 4 + half * blockBytes + byte));
        // Of q4, the low nibbles are 8 elements and the high ones those 16 further on.
        codes[0]!.forEach((_, part) => {
          [0, 1].forEach((quarter) => {
            const values = codes.map((row, i) => {
              const wide = quarter === 0 ? row[part]!.lowS() : row[part]!.highS();
              return f.let(wide.toF32x4S().mul(rowScales[i]!));
            });
            const element = 32 * half + byte + 16 * part + 4 * quarter;
            factors.forEach((factor, row) => {
              const four = f.let(factor.loadF32x4(4 * element));
              values.forEach((value, column) => {
                const sum = sums[row]![column]!;
                sum.set(f.madd(four, value, sum));
              });
            });
          });
        });
      }
    });
    groupAt.set(groupAt.add(groupBytes(dtype)));
  });
}
