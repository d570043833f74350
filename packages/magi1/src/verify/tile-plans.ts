// Recorded tile rectangles and assembled sizes against our own plans.
import { planTiles, tileExtent } from '../vae/tile-plan.ts';
import type { AxisPlan } from '../vae/tile-plan.ts';
import { compareExact } from './goldens.ts';
import type { Check } from './types.ts';

interface RecordedPlan {
  readonly kind: 'encode' | 'decode';
  readonly input_thw: [number, number, number];
  readonly tile_length: number;
  readonly tile_height: number;
  readonly tile_width: number;
  readonly spatial_overlap: number;
  readonly temporal_overlap: number;
  readonly patch_size: number;
  readonly patch_length: number;
  readonly tiles: readonly { origin: number[]; size: number[]; out: number[] }[];
  readonly output_thw: number[];
}

export function verifyTilePlans(json: unknown): Check[] {
  return (json as { plans: RecordedPlan[] }).plans.flatMap((recorded, i) => {
    const what = `plan ${i}: ${recorded.kind} ${recorded.input_thw.join('x')}`;
    const { tiles, output } = layOut(recorded);
    return [
      compareExact(`${what}, tiles`, tiles.flat(2), recorded.tiles.map((t) => [t.origin, t.size, t.out]).flat(2)),
      compareExact(`${what}, assembled size`, output, recorded.output_thw),
    ];
  });
}

function layOut(recorded: RecordedPlan): { tiles: number[][][]; output: number[] } {
  const patch = [recorded.patch_length, recorded.patch_size, recorded.patch_size];
  const plan = planTiles(
    recorded.kind,
    recorded.input_thw,
    {
      tileLength: recorded.tile_length,
      tileHeight: recorded.tile_height,
      tileWidth: recorded.tile_width,
      spatialOverlap: recorded.spatial_overlap,
      temporalOverlap: recorded.temporal_overlap,
    },
    { patchLength: recorded.patch_length, patchSize: recorded.patch_size },
  );
  const axes = [plan.t, plan.h, plan.w];
  const outLength = (axis: number, length: number): number => {
    if (recorded.kind === 'encode') {
      // A lone frame is repeated to fill a patch and gives one latent.
      return axis === 0 && length === 1 ? 1 : Math.floor(length / patch[axis]!);
    }
    return axis === 0 && length === 1 ? 1 : length * patch[axis]!;
  };
  const extents = axes.map((axis: AxisPlan, a) =>
    axis.starts.map((_, i) => tileExtent(axis, i, recorded.input_thw[a]!)),
  );
  const tiles: number[][][] = [];
  for (const t of extents[0]!)
    for (const h of extents[1]!)
      for (const w of extents[2]!) {
        const sizes = [t.length, h.length, w.length];
        tiles.push([[t.start, h.start, w.start], sizes, sizes.map((length, axis) => outLength(axis, length))]);
      }
  const output = axes.map((axis, a) =>
    extents[a]!.reduce((sum, { length }) => sum + Math.min(axis.keep, outLength(a, length)), 0),
  );
  return { tiles, output };
}
