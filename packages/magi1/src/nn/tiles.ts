// Rows taken through layers some at a time, so that what lies between the layers stays small.
import { copyRows } from '@magi1/kernels';
import { MetaDevice, scope } from '@magi1/tensor';
import type { Device, Shape, Tensor } from '@magi1/tensor';

/** Rows start..end-1. */
export type RowRange = readonly [start: number, end: number];

/**
 * Parts of rows first..end-1, of at most `most` rows each and alike but for one row: products of a few rows take other
 * kernels, which sum in another order, so that no part may be a small rest.
 */
export function rowTiles([first, end]: RowRange, most: number): RowRange[] {
  const count = Math.max(1, Math.ceil((end - first) / most));
  const start = (i: number) => first + Math.floor((i * (end - first)) / count);
  return Array.from({ length: count }, (_, i) => [start(i), start(i + 1)]);
}

/**
 * Does something for every tile in turn. In a dry run, whose answer must not take longer for more tiles, once for all of a
 * kind: those that take the same.
 */
export function forTiles<Tile>(
  device: Device,
  tiles: readonly Tile[],
  kindOf: (tile: Tile) => string,
  body: (tile: Tile) => void,
): void {
  if (!(device instanceof MetaDevice)) {
    for (const tile of tiles) body(tile);
    return;
  }
  const kinds = new Map<string, [first: Tile, count: number]>();
  for (const tile of tiles) {
    const kind = kindOf(tile);
    const [first, count] = kinds.get(kind) ?? [tile, 0];
    kinds.set(kind, [first, count + 1]);
  }
  for (const [tile, count] of kinds.values()) device.inTurn(count, () => body(tile));
}

/** How many rows. */
export const lengthOf = ([start, end]: RowRange): number => end - start;

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
  const kindOf = (tile: RowRange) => `${lengthOf(tile)}`;
  forTiles(device, tiles, kindOf, (tile) => {
    scope(() => {
      part(tile).forEach((rows, i) => copyRows(whole[i]!, rows, tile[0] - first));
    });
  });
  return whole;
}
