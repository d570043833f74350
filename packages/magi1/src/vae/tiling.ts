// Tiled encode and decode: run tile by tile, mix the overlaps, keep the leading part of each tile, put them together.
// On the meta device equal tiles are run and mixed once, and count as often as there are of them: its answer must not take
// longer for a larger picture.
import { blendEdges, concat, narrow } from '@magi1/kernels';
import { MetaDevice, scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import { planTiles, tileExtent, tileGroups } from './tile-plan.ts';
import type { AxisPlan, TileGroup, TilePlan, TileSettings } from './tile-plan.ts';
import type { ViTVae } from './vit-vae.ts';
import { keepView } from '../nn/index.ts';
import type { RunOptions } from '../nn/index.ts';

const [T, H, W] = [2, 3, 4];

/** The original's tiles: 256x256 pixels and half a second, a quarter shared in space, nothing in time. */
export function defaultTiles(fps: number): TileSettings {
  return {
    tileLength: Math.floor(fps / 2),
    tileHeight: 256,
    tileWidth: 256,
    spatialOverlap: 0.25,
    temporalOverlap: 0,
  };
}

/** video f32 [B, 3, T, H, W] in [-1, 1] -> the posterior's mode [B, z, t, h, w], tile by tile. */
export function tiledEncode(
  vae: ViTVae,
  video: Tensor,
  tiles: TileSettings,
  options: RunOptions = {},
): Promise<Tensor> {
  const plan = planTiles('encode', spaceTime(video), tiles, patchOf(vae));
  // Encoding mixes in place: a tile's neighbours are already mixed themselves.
  return runTiles(video, plan, true, (tile) => vae.encode(tile, options));
}

/** z f32 [B, z, t, h, w] -> video [B, 3, T, H, W], not clamped, tile by tile. */
export function tiledDecode(vae: ViTVae, z: Tensor, tiles: TileSettings, options: RunOptions = {}): Promise<Tensor> {
  const plan = planTiles('decode', spaceTime(z), tiles, patchOf(vae));
  return runTiles(z, plan, false, (tile) => vae.decode(tile, options));
}

/** The tiles of one slab: rows by columns, each of which may stand for several alike. */
interface Grid {
  readonly rows: readonly TileGroup[];
  readonly columns: readonly TileGroup[];
}

async function runTiles(
  input: Tensor,
  plan: TilePlan,
  mixedNeighbours: boolean,
  run: (tile: Tensor) => Promise<Tensor>,
): Promise<Tensor> {
  const slabs: Tensor[] = []; // finished slabs along time
  let previous: Tensor[] = []; // tiles of the slab before, in h-w order
  let tiles: Tensor[] = []; // tiles of this slab
  let mixed: Tensor[] = []; // the same with their edges mixed
  const { device } = input;
  const dry = device instanceof MetaDevice;
  const rows = tileGroups(plan.h, input.shape[H]!, dry);
  const columns = tileGroups(plan.w, input.shape[W]!, dry);
  const grid = { rows, columns };
  try {
    for (let t = 0; t < plan.t.starts.length; t++) {
      const runTile = async (h: number, w: number): Promise<Tensor> => {
        const cut = scope(() => cutTile(input, plan, [t, h, w]));
        try {
          return await run(cut);
        } finally {
          cut.dispose();
        }
      };
      for (const h of rows)
        tiles.push(
          ...(await runAlike(device, h.count, columns, () => runRow(device, columns, (w) => runTile(h.index, w)))),
        );
      mixed = scope(() => mixSlab(tiles, t > 0 ? previous : undefined, plan, grid, mixedNeighbours));
      disposeAll(previous);
      // The next slab sees mixed tiles when encoding, raw ones when decoding, and neither where time does not overlap.
      previous = plan.t.blend === 0 ? [] : mixedNeighbours ? mixed : tiles;
      if (previous !== tiles) disposeAll(tiles);
      tiles = [];
      // A view: a slab of one tile would otherwise be that tile itself.
      slabs.push(scope(() => keepView(assembleSlab(mixed, plan, grid))));
      if (previous !== mixed) disposeAll(mixed);
      mixed = [];
    }
    return scope(() => (slabs.length === 1 ? keepView(slabs[0]!) : concat(slabs, T)));
  } finally {
    disposeAll([...slabs, ...previous, ...tiles, ...mixed]);
  }
}

async function runRow(
  device: Device,
  columns: readonly TileGroup[],
  run: (column: number) => Promise<Tensor>,
): Promise<Tensor[]> {
  const row: Tensor[] = [];
  try {
    for (const { index, count } of columns)
      row.push(...(await runAlike(device, count, ONE, async () => [await run(index)])));
    return row;
  } catch (error) {
    disposeAll(row);
    throw error;
  }
}

const ONE: readonly TileGroup[] = [{ index: 0, count: 1 }];

/** Of several alike, each made of `parts`, the last is run beside the others: that is when most memory is taken. */
async function runAlike(
  device: Device,
  count: number,
  parts: readonly TileGroup[],
  run: () => Promise<Tensor[]>,
): Promise<Tensor[]> {
  if (count === 1) return run();
  const first = await (device as MetaDevice).inTurn(count - 1, run); // only there are several taken together
  disposeAll(first);
  const held = (n: number) =>
    first.map(({ shape, dtype }, i) => times(device, n * parts[i]!.count, () => device.empty(shape, dtype)));
  const others = held(count - 1);
  disposeAll([...(await run()), ...others]);
  return held(count);
}

/** What `body` makes counts `count` times; more than once only in a dry run. */
const times = <R>(device: Device, count: number, body: () => R): R =>
  device instanceof MetaDevice ? device.times(count, body) : body();

function mixSlab(
  tiles: readonly Tensor[],
  previous: readonly Tensor[] | undefined,
  plan: TilePlan,
  { rows, columns }: Grid,
  mixedNeighbours: boolean,
): Tensor[] {
  const mixed: Tensor[] = [];
  tiles.forEach((tile, i) => {
    const neighbours = mixedNeighbours ? mixed : tiles;
    const [row, column] = [Math.floor(i / columns.length), i % columns.length];
    let out = tile.reshape(tile.shape);
    const mix = (neighbour: Tensor | undefined, axis: number, extent: number) => {
      if (neighbour !== undefined && extent > 0) out = blendEdges(neighbour, out, { axis, extent });
    };
    times(tile.device, rows[row]!.count * columns[column]!.count, () => {
      mix(previous?.[i], T, plan.t.blend);
      mix(row > 0 ? neighbours[i - columns.length] : undefined, H, plan.h.blend);
      mix(column > 0 ? neighbours[i - 1] : undefined, W, plan.w.blend);
    });
    mixed.push(out);
  });
  return mixed;
}

function assembleSlab(mixed: readonly Tensor[], plan: TilePlan, { rows, columns }: Grid): Tensor {
  const { device } = mixed[0]!;
  const repeated = (tensor: Tensor, { count }: TileGroup): Tensor[] => Array.from({ length: count }, () => tensor);
  const joined = rows.flatMap((row, r) => {
    const parts = columns.flatMap((column, c) => {
      const tile = mixed[r * columns.length + c]!;
      return repeated(
        times(device, row.count * column.count, () => keepLeading(tile, plan)),
        column,
      );
    });
    return repeated(
      times(device, row.count, () => join(parts, W)),
      row,
    );
  });
  return join(joined, H);
}

function keepLeading(tile: Tensor, plan: TilePlan): Tensor {
  const axes: [number, AxisPlan][] = [
    [T, plan.t],
    [H, plan.h],
    [W, plan.w],
  ];
  return axes.reduce((kept, [axis, { keep }]) => (kept.shape[axis]! > keep ? narrow(kept, axis, 0, keep) : kept), tile);
}

function join(parts: readonly Tensor[], axis: number): Tensor {
  return parts.length === 1 ? parts[0]! : concat(parts, axis);
}

function cutTile(input: Tensor, plan: TilePlan, starts: readonly [number, number, number]): Tensor {
  let tile = input;
  for (const [i, axis] of [T, H, W].entries()) {
    const size = tile.shape[axis]!;
    const { start, length } = tileExtent([plan.t, plan.h, plan.w][i]!, starts[i]!, size);
    if (length < size) tile = narrow(tile, axis, start, length);
  }
  return tile === input ? keepView(input) : tile;
}

function spaceTime(x: Tensor): [number, number, number] {
  return [x.shape[T]!, x.shape[H]!, x.shape[W]!];
}

function patchOf(vae: ViTVae): { patchLength: number; patchSize: number } {
  return { patchLength: vae.config.patch_length, patchSize: vae.config.patch_size };
}

function disposeAll(tensors: readonly Tensor[]): void {
  for (const tensor of tensors) tensor.dispose();
}
