// Which tiles a tiled encode or decode runs, and how they are put together: plain data.

export interface TileSettings {
  /** In pixels and frames. */
  readonly tileLength: number;
  readonly tileHeight: number;
  readonly tileWidth: number;
  /** Share of a tile that it has in common with the next, 0 to below 1. */
  readonly spatialOverlap: number;
  readonly temporalOverlap: number;
}

export interface PatchSize {
  readonly patchLength: number;
  readonly patchSize: number;
}

/** One axis of a plan. Input units are those of what is tiled (pixels or frames to encode, latents to decode). */
export interface AxisPlan {
  readonly starts: readonly number[];
  /** Extent of a whole tile, in input units; tiles at the border are cropped. */
  readonly tile: number;
  /** Positions that are mixed with the tile before, in output units. */
  readonly blend: number;
  /** Positions of each tile that are kept, in output units. */
  readonly keep: number;
}

export interface TilePlan {
  readonly t: AxisPlan;
  readonly h: AxisPlan;
  readonly w: AxisPlan;
}

/** `kind` says which way: encode tiles pixels and assembles latents, decode the reverse. `input` is [t, h, w]. */
export function planTiles(
  kind: 'encode' | 'decode',
  input: readonly [number, number, number],
  settings: TileSettings,
  { patchLength, patchSize }: PatchSize,
): TilePlan {
  const axis = (extent: number, tilePixels: number, patch: number, overlap: number): AxisPlan => {
    const tileLatents = Math.trunc(tilePixels / patch);
    const [tileIn, tileOut] = kind === 'encode' ? [tilePixels, tileLatents] : [tileLatents, tilePixels];
    const stride = Math.max(Math.trunc(tileIn * (1 - overlap)), 1);
    const blend = Math.trunc(tileOut * overlap);
    const starts = Array.from({ length: Math.ceil(extent / stride) }, (_, i) => i * stride);
    return { starts, tile: tileIn, blend, keep: tileOut - blend };
  };
  return {
    t: axis(input[0], settings.tileLength, patchLength, settings.temporalOverlap),
    h: axis(input[1], settings.tileHeight, patchSize, settings.spatialOverlap),
    w: axis(input[2], settings.tileWidth, patchSize, settings.spatialOverlap),
  };
}

/** The tile at index `i` of an axis: where it starts and how long it is, cropped at the end of the input. */
export function tileExtent(axis: AxisPlan, i: number, extent: number): { start: number; length: number } {
  const start = axis.starts[i]!;
  return { start, length: Math.min(axis.tile, extent - start) };
}

/** The tile at `index` of an axis and, in a dry run, those alike that follow it: `count` in all. */
export interface TileGroup {
  readonly index: number;
  readonly count: number;
}

/** Alike are tiles of one length that have a tile before them; where they are not put together, each is a group. */
export function tileGroups(axis: AxisPlan, extent: number, together: boolean): TileGroup[] {
  const groups: { index: number; count: number }[] = [];
  const lengthAt = (i: number) => tileExtent(axis, i, extent).length;
  for (let index = 0; index < axis.starts.length; index++) {
    const last = groups.at(-1);
    const alike = last !== undefined && last.index > 0 && lengthAt(last.index) === lengthAt(index);
    if (together && alike) last.count++;
    else groups.push({ index, count: 1 });
  }
  return groups;
}
