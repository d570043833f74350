// Tiled encode and decode: run tile by tile, mix the overlaps, keep the leading part of each tile, put them together.
import { blendEdges, concat, narrow } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { planTiles, tileExtent } from './tile-plan.ts';
import type { AxisPlan, TilePlan, TileSettings } from './tile-plan.ts';
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
  const columns = plan.w.starts.length;
  try {
    for (let t = 0; t < plan.t.starts.length; t++) {
      for (let h = 0; h < plan.h.starts.length; h++) {
        for (let w = 0; w < columns; w++) {
          const cut = scope(() => cutTile(input, plan, t, h, w));
          try {
            tiles.push(await run(cut));
          } finally {
            cut.dispose();
          }
        }
      }
      mixed = scope(() => mixSlab(tiles, t > 0 ? previous : undefined, plan, columns, mixedNeighbours));
      // A view: a slab of one tile would otherwise be that tile itself.
      slabs.push(scope(() => keepView(assembleSlab(mixed, plan, columns))));
      disposeAll(previous);
      // The next slab sees mixed tiles when encoding, raw ones when decoding.
      previous = mixedNeighbours ? mixed : tiles;
      disposeAll(mixedNeighbours ? tiles : mixed);
      [tiles, mixed] = [[], []];
    }
    return scope(() => (slabs.length === 1 ? keepView(slabs[0]!) : concat(slabs, T)));
  } finally {
    disposeAll([...slabs, ...previous, ...tiles, ...mixed]);
  }
}

function mixSlab(
  tiles: readonly Tensor[],
  previous: readonly Tensor[] | undefined,
  plan: TilePlan,
  columns: number,
  mixedNeighbours: boolean,
): Tensor[] {
  const mixed: Tensor[] = [];
  tiles.forEach((tile, i) => {
    const neighbours = mixedNeighbours ? mixed : tiles;
    let out = tile.reshape(tile.shape);
    const mix = (neighbour: Tensor | undefined, axis: number, extent: number) => {
      if (neighbour !== undefined && extent > 0) out = blendEdges(neighbour, out, { axis, extent });
    };
    mix(previous?.[i], T, plan.t.blend);
    mix(i >= columns ? neighbours[i - columns] : undefined, H, plan.h.blend);
    mix(i % columns > 0 ? neighbours[i - 1] : undefined, W, plan.w.blend);
    mixed.push(out);
  });
  return mixed;
}

function assembleSlab(mixed: readonly Tensor[], plan: TilePlan, columns: number): Tensor {
  const rows: Tensor[] = [];
  for (let i = 0; i < mixed.length; i += columns) {
    rows.push(
      join(
        mixed.slice(i, i + columns).map((tile) => keepLeading(tile, plan)),
        W,
      ),
    );
  }
  return join(rows, H);
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

function cutTile(input: Tensor, plan: TilePlan, t: number, h: number, w: number): Tensor {
  const cut = (x: Tensor, axis: number, axisPlan: AxisPlan, i: number) => {
    const { start, length } = tileExtent(axisPlan, i, x.shape[axis]!);
    return length === x.shape[axis] ? x : narrow(x, axis, start, length);
  };
  const tile = cut(cut(cut(input, T, plan.t, t), H, plan.h, h), W, plan.w, w);
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
