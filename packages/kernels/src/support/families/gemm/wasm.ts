// Chooses a wasm gemm kernel and cuts a call into items.
import { bytesOf } from '@magi1/tensor';
import type { WasmStep, WeightDType } from '@magi1/tensor';
import type { Gemm } from './call.ts';
import { fewGemm } from './wasm-few.ts';
import { packedGemm, packedScratchBytes } from './wasm-packed.ts';
import { TILE_COLUMNS, TILE_ROWS } from './wasm-tiles.ts';

/** Most columns of an item: 96 panel columns of a slice of the depth are 96 KiB. */
const ITEM_COLUMNS = 96;
/** Items that a call is cut into at least, if it is large enough. */
const ITEMS = 16;
/** Fewest rows of an item: every item packs its columns of b anew. */
const ITEM_ROWS = 16 * TILE_ROWS;
/** Weights below this size stay in the heap, so items may share columns. */
const STREAMED_BYTES = 2 ** 20;

const ceilTo = (value: number, multiple: number): number => Math.ceil(value / multiple) * multiple;

/** The step for one gemm. Results do not depend on how it is cut. */
export function gemmStep({ a, b, layout, bias, y, rows, columns, depth }: Gemm): WasmStep {
  const dtype = b.dtype as WeightDType;
  const isStreamed = layout === 'rows' && b.byteLength >= STREAMED_BYTES;
  const itemColumns = Math.min(ITEM_COLUMNS, Math.max(TILE_COLUMNS, ceilTo(columns / ITEMS, TILE_COLUMNS)));
  const groups = Math.ceil(columns / itemColumns);
  const operands = { a, b, bias: bias ?? 0, y, rows, columns, depth, itemColumns };
  const streamed = isStreamed ? { streamed: { arg: 'b', bytesPerItem: itemColumns * bytesOf(dtype, depth) } } : {};
  // The weights are read again for every three rows: up to twelve where decoding costs next to nothing.
  const few = dtype === 'f32' || dtype === 'bf16' ? 12 : 3;
  if (layout === 'rows' && rows <= few) {
    return {
      kernel: fewGemm,
      variant: { dtype, bias: bias !== undefined },
      args: operands,
      items: groups,
      itemCost: 2 * itemColumns * rows * depth,
      ...streamed,
    };
  }
  const itemRows = isStreamed ? rows : Math.min(rows, Math.max(ITEM_ROWS, ceilTo((rows * groups) / ITEMS, TILE_ROWS)));
  const blocks = Math.ceil(rows / itemRows);
  return {
    kernel: packedGemm,
    variant: { b: layout === 'columns' ? 'columns' : dtype, bias: bias !== undefined },
    args: { ...operands, itemRows, blocks },
    items: groups * blocks,
    itemCost: 2 * itemColumns * itemRows * depth,
    scratchBytes: packedScratchBytes(itemColumns),
    ...streamed,
  };
}
