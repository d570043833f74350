// Rows taken through layers some at a time, so that what lies between the layers stays small.
import { copyRows } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Device, Shape, Tensor } from '@magi1/tensor';

/** Rows start..end-1. */
export type RowRange = readonly [start: number, end: number];

/** Equal parts of rows first..end-1, of at most `most` rows each. */
export function rowTiles([first, end]: RowRange, most: number): RowRange[] {
  const count = Math.max(1, Math.ceil((end - first) / most));
  const size = Math.ceil((end - first) / count);
  return Array.from({ length: count }, (_, i) => [first + i * size, Math.min(first + (i + 1) * size, end)]);
}

/**
 * Results of `rows` rows, put together from those of tiles in order: `part` gives one tensor [tile's rows, ...] for each of
 * `shapes`, the shapes of a row. One tile is handed out as it is. f32.
 */
export function overTiles(
  device: Device,
  tiles: readonly RowRange[],
  shapes: readonly Shape[],
  part: (tile: RowRange) => readonly Tensor[],
): readonly Tensor[] {
  if (tiles.length === 1) return scope(() => part(tiles[0]!));
  const [first, end] = [tiles[0]![0], tiles.at(-1)![1]];
  const whole = shapes.map((shape) => device.empty([end - first, ...shape], 'f32'));
  for (const tile of tiles) {
    scope(() => {
      part(tile).forEach((rows, i) => copyRows(whole[i]!, rows, tile[0] - first));
    });
  }
  return whole;
}
