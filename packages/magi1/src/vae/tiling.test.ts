// Memory and arithmetic of tiled runs: a dry run, which takes equal tiles together, against real devices, which run them one by one.
import { expect, it } from 'vitest';
import { tanh } from '@magi1/kernels';
import { Device, MetaDevice, scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { tiledDecode, tiledEncode } from './tiling.ts';
import type { ViTVae } from './vit-vae.ts';

const TILES = { tileLength: 4, tileHeight: 16, tileWidth: 16, spatialOverlap: 0.25, temporalOverlap: 0 };
const PATCH = { patch_length: 2, patch_size: 4 };
const CHANNELS = 5;

/** Takes memory as a network does, more for larger tiles, and counts its runs. */
class Stub {
  readonly config = PATCH;
  runs = 0;

  encode = (tile: Tensor): Promise<Tensor> => this.#run(tile, CHANNELS, 1 / PATCH.patch_length, 1 / PATCH.patch_size);
  decode = (tile: Tensor): Promise<Tensor> => this.#run(tile, 3, PATCH.patch_length, PATCH.patch_size);

  #run(tile: Tensor, channels: number, time: number, space: number): Promise<Tensor> {
    this.runs++;
    const { device, shape, size } = tile;
    const [, , t, h, w] = shape as [number, number, number, number, number];
    return Promise.resolve(
      scope(() => {
        device.empty([size * 7], 'f32');
        tanh(tile);
        return device.empty([1, channels, t * time, h * space, w * space], 'f32');
      }),
    );
  }
}

const SIDES = [16, 20, 28, 52, 76];

/** What is computed, by the device itself in a dry run, else by a profile. */
async function counted(device: Device, run: () => Promise<Tensor>): Promise<[Tensor, { ops: number; flops: number }]> {
  if (device instanceof MetaDevice) {
    device.resetCounts();
    const y = await run();
    const { ops, flops } = device.counts;
    return [y, { ops, flops }];
  }
  let y: Tensor | undefined;
  const { ops } = await device.profile(async () => {
    y = await run();
  });
  return [y!, { ops: ops.length, flops: ops.reduce((sum, each) => sum + each.flops, 0) }];
}

async function figuresOf(device: Device, kind: 'encode' | 'decode', [frames, height, width]: readonly number[]) {
  const vae = new Stub();
  const [run, input] =
    kind === 'encode'
      ? [tiledEncode, [1, 3, frames!, height!, width!]]
      : [tiledDecode, [1, CHANNELS, frames! / 2, height! / 4, width! / 4]];
  const x = device.empty(input, 'f32');
  const { inUse, tensors } = device.memory();
  device.resetPeak();
  const [y, work] = await counted(device, () => run(vae as unknown as ViTVae, x, TILES));
  const { shape } = y;
  const held = device.memory().inUse - inUse;
  const peak = device.memory().peak - inUse;
  y.dispose();
  await device.sync();
  expect(device.memory()).toMatchObject({ inUse, tensors });
  x.dispose();
  return { figures: { shape, held, peak, ...work }, runs: vae.runs };
}

for (const backend of ['reference', 'wasm'] as const)
  for (const kind of ['encode', 'decode'] as const)
    it(`${kind} on ${backend}: equal tiles taken together take what each by itself takes`, async () => {
      await using device = await Device.open({ backend, ...(backend === 'wasm' && { threads: 1 }) });
      const dry = new MetaDevice({ as: backend });
      let [runs, dryRuns] = [0, 0];
      for (const frames of [4, 10])
        for (const height of SIDES)
          for (const width of SIDES) {
            const size = [frames, height, width];
            const full = await figuresOf(device, kind, size);
            const planned = await figuresOf(dry, kind, size);
            expect(planned.figures, size.join('x')).toEqual(full.figures);
            runs += full.runs;
            dryRuns += planned.runs;
          }
      expect(dryRuns).toBeLessThan(runs);
    });

it('a dry run of a picture of any size runs few tiles', async () => {
  const { runs, figures } = await figuresOf(new MetaDevice({ as: 'webgpu' }), 'decode', [4, 20_000, 40_000]);
  expect(figures.shape).toEqual([1, 3, 4, 20_000, 40_000]);
  expect(runs).toBeLessThan(50);
});
