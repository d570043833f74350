// Packing of q8 and q4 rows to the panels of wasm-tiles.ts. Bytes are transposed before they are widened: four times fewer
// shuffles than with floats, which pays for the widening.
import { I32x4 } from '@magi1/tensor';
import type { BlockDType, I8x16, KernelBuilder } from '@magi1/tensor';
import { decodeScales, groupBytes, signedCodes } from '../../wasm/blocks.ts';
import { PANEL_STEP, TILE_VECTORS } from './wasm-tiles.ts';

/** As packRowsFunction, for whole groups of 64 elements: `depth` is a multiple of it. */
export function packBlocksFunction(k: KernelBuilder, dtype: BlockDType) {
  const params = { from: 'i32', stride: 'i32', rows: 'i32', to: 'i32', depth: 'i32' } as const;
  return k.function(params, null, (f, { from, stride, rows, to, depth }) => {
    const last = f.let(rows.sub(1));
    const bytes = f.let(depth.shrU(6).mul(groupBytes(dtype)));
    /** Steps of the depth that 16 bytes of codes hold. */
    const steps = dtype === 'q8' ? 16 : 32;
    for (let vector = 0; vector < TILE_VECTORS; vector++) {
      const sources = [0, 1, 2, 3].map((i) => f.let(from.add(last.minU(4 * vector + i).mul(stride))));
      const target = f.var(to);
      f.forRange(0, bytes, groupBytes(dtype), (at) => {
        const groups = sources.map((source) => f.let(source.add(at)));
        const words = groups.reduce((lanes, group, i) => lanes.withLane(i, group.loadI32()), I32x4.of(0));
        const scales = decodeScales(f, words);
        for (let step = 0; step < 64; step += steps) {
          const scale = scales[step < 32 ? 0 : 1];
          const rowBytes = groups.map((group) => f.let(group.loadI8x16(4 + (16 * step) / steps)));
          // Each of the four holds four steps of all four rows, of q4 those 16 steps further on as well.
          transposeBytes(f, rowBytes).forEach((bytes, i) => {
            signedCodes(f, dtype, bytes).forEach((codes, part) => {
              [f.let(codes.lowS()), f.let(codes.highS())].forEach((half, j) => {
                [half.lowS(), half.highS()].forEach((column, c) => {
                  const place = step + 16 * part + 4 * i + 2 * j + c;
                  f.store(target, column.toF32x4S().mul(scale), place * PANEL_STEP + 16 * vector);
                });
              });
            });
          });
        }
        target.set(target.add(64 * PANEL_STEP));
      });
    }
  });
}

/** Of four rows of 16 bytes: bytes 0..3 of every row side by side (r0 r1 r2 r3 of byte 0, then of byte 1...), then 4..7 ... */
function transposeBytes(f: KernelBuilder, rows: readonly I8x16[]): I8x16[] {
  const [r0, r1, r2, r3] = rows as [I8x16, I8x16, I8x16, I8x16];
  const LOW = [0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23];
  const HIGH = LOW.map((byte) => byte + 8);
  const LOW_PAIRS = [0, 1, 16, 17, 2, 3, 18, 19, 4, 5, 20, 21, 6, 7, 22, 23];
  const HIGH_PAIRS = LOW_PAIRS.map((byte) => byte + 8);
  const pairs = [LOW, HIGH].map((bytes) => [f.let(r0.shuffle(r1, bytes)), f.let(r2.shuffle(r3, bytes))] as const);
  return pairs.flatMap(([a, b]) => [f.let(a.shuffle(b, LOW_PAIRS)), f.let(a.shuffle(b, HIGH_PAIRS))]);
}
