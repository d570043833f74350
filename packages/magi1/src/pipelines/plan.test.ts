// Plans before there are weights: that the counted work is what a run records, that all that is told fits together, and
// that it can be stopped.
import { describe, expect, it } from 'vitest';
import { Device, MetaDevice } from '@magi1/tensor';
import { PUBLISHED_MODELS } from '../config/published.ts';
import { POCKET_MODEL } from '../pocket.ts';
import { modelShapes, plannedRun } from './inspect.ts';
import { MemoryPlanner, plannedSize } from './memory.ts';
import { readModelFolder } from './model-files.ts';
import { Magi1Pipeline } from './pipeline.ts';
import { OFFLOADS } from './offload.ts';
import { planModel, publishedFolder } from './plan.ts';
import { countWork } from './work.ts';

const GIB = 2 ** 30;

async function planOf(model: string, memoryBudget: number, request = {}, signal?: AbortSignal) {
  await using device = await Device.open({ backend: 'wasm', memoryBudget });
  const published = PUBLISHED_MODELS.find((name) => name === model);
  const folder = await readModelFolder(published === undefined ? POCKET_MODEL : publishedFolder(published));
  const planned = plannedRun(folder, { request });
  return await planModel(folder, device, planned, { dtype: undefined, time: model === 'pocket', signal });
}

describe('the counted work', () => {
  it.each([
    ['one chunk, less than the window', { height: 32, width: 48, numFrames: 24 }],
    ['six chunks, more than the window', { height: 32, width: 32, numFrames: 144 }],
  ])('is what a run records: %s', async (_, size) => {
    await using device = await Device.open({ backend: 'wasm', threads: 1 });
    const folder = await readModelFolder(POCKET_MODEL);
    const { caption_channels, caption_max_length } = folder.config.model_config;
    const embeds = new Float32Array(caption_max_length * caption_channels).fill(0.01);
    const pipe = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
    const promptEmbeds = { rows: embeds, length: caption_max_length };
    const { ops } = await device.profile(() => pipe.generate({ promptEmbeds, ...size }));
    await pipe.dispose();

    const run = plannedSize(plannedRun(folder, { request: size }));
    const { shapes } = await modelShapes(folder, undefined);
    const work = await countWork(shapes, { ...run, texts: { ...run.texts, encoded: 0 } }, device);
    const counted = [...work.values()];
    for (const what of ['flops', 'bytes'] as const)
      expect(counted.reduce((sum, each) => sum + each[what], 0)).toBe(ops.reduce((sum, each) => sum + each[what], 0));
    expect(counted.reduce((sum, { calls }) => sum + calls, 0)).toBe(ops.length);
  });
});

it('counts every tile, those too that are gone through together', async () => {
  const folder = await readModelFolder(publishedFolder('4.5B_base'));
  const { shapes } = await modelShapes(folder, undefined);
  const device = new MetaDevice({ as: 'wasm' });
  const flopsOf = async (side: number) => {
    const run = plannedSize(plannedRun(folder, { request: { height: side, width: side, numFrames: 24 } }));
    const work = await countWork(shapes, run, device);
    const of = (stage: string, op: string) =>
      [...work.values()].filter((each) => each.stage === stage && each.op.name === op);
    const sum = (parts: { flops: number }[]) => parts.reduce((all, { flops }) => all + flops, 0);
    return { mlp: sum(of('denoising', 'unary')), tiles: sum(of('decoding', 'attention')) };
  };
  // Tiles of 256 pixels begin every 192, the last one has 64; attention grows with the square of a tile's tokens.
  const squares = (whole: number) => (whole * 256 ** 2 + 64 ** 2) ** 2;
  const [small, large] = [await flopsOf(832), await flopsOf(1408)];
  expect(large.tiles / small.tiles).toBeCloseTo(squares(7) / squares(4), 3);
  expect(large.mlp / small.mlp).toBeCloseTo((1408 / 832) ** 2, 2);
});

describe('a plan', () => {
  it.each(['4.5B_base', '4.5B_distill_quant', '24B_base'])('of %s needs its config alone', async (model) => {
    const { missing, others, fit, largest, settings } = await planOf(model, 40 * GIB, { numFrames: 24 });
    expect(missing).toContain('runtime_config.load');
    expect(fit.need!.weights.transformer / GIB).toBeGreaterThan(model.startsWith('24B') ? 20 : 4);
    for (const { peaks, offload } of others) {
      const fitting = OFFLOADS.find((each) => peaks![each] <= 40 * GIB);
      expect(offload).toBe(fitting ?? null);
      expect(peaks!.group).toBeLessThan(peaks!.text);
      expect(peaks!.text).toBeLessThan(peaks!.none);
    }
    const own = others.filter(({ width }) => width === settings.width);
    // Every row fits in another way than the one before, and nothing follows what fits without offloading.
    expect(new Set(own.map(({ offload }) => offload)).size).toBe(own.length);
    expect(own.slice(0, -1).map(({ offload }) => offload)).not.toContain('none');
    expect(own.at(-1)!.offload).toBe('none');
    expect(own.slice(1).map(({ dtype }) => dtype)).not.toContain(null);
    expect(own[0]).toMatchObject({ peaks: fit.need!.peaks, frames: 24 });
    expect(largest).not.toBeNull();
  });

  it('tells the time of each stage by the device', async () => {
    const { time, missing, fit, capacity } = await planOf('pocket', GIB, { height: 48, width: 48, numFrames: 24 });
    expect(missing).toBeNull();
    expect(fit.offload).toBe('none');
    expect(capacity).toMatchObject({ bytes: GIB, limitedBy: 'budget' });
    expect(time!.device).toMatch(/WebAssembly/);
    expect(time!.stages.map(({ stage }) => stage)).toEqual(['text', 'denoising', 'decoding']);
    for (const { seconds, flops } of time!.stages) {
      expect(seconds).toBeGreaterThan(0);
      expect(flops / seconds).toBeLessThan(1e13);
    }
    expect(time!.seconds).toBeCloseTo(time!.stages.reduce((sum, { seconds }) => sum + seconds, 0));
  });

  it('tells no time where the device has no room to try an op', async () => {
    const { time, fit } = await planOf('pocket', 20_000, { height: 48, width: 48, numFrames: 24 });
    expect(fit.offload).toBeUndefined();
    expect(time).toBeUndefined();
  });

  it('is stopped between two dry runs', async () => {
    const stop = new AbortController();
    const plan = planOf('24B_base', GIB, {}, stop.signal);
    setTimeout(() => stop.abort(), 50);
    await expect(plan).rejects.toThrow(/abort/i);
  });
});

describe('720x720 with the full window on wasm', () => {
  const size = { height: 720, width: 720, numFrames: 96 };
  const GENEROUS = 64 * GIB;

  it('is accepted with a cache of 16 bits: weights leave the heap to it', async () => {
    const { fit } = await planOf('4.5B_distill', GENEROUS, { ...size, cacheDType: 'bf16' });
    expect(fit.offload).toBe('none');
    expect(fit.need!.keyValueCache + fit.need!.denoising).toBeGreaterThan(2 * GIB);
  });

  it('is refused with one of 32 bits, by the heap and with what would fit', async () => {
    await using device = await Device.open({ backend: 'wasm', memoryBudget: GENEROUS });
    const folder = await readModelFolder(publishedFolder('4.5B_distill'));
    const { shapes } = await modelShapes(folder, undefined);
    const run = plannedSize(plannedRun(folder, { request: { ...size, cacheDType: 'f32' } }));
    await expect(new MemoryPlanner(shapes, device, OFFLOADS).choose(run)).rejects.toThrow(
      /^memory: 720x720 needs about .* for activations and the key-value cache, for which a wasm heap of 4.00 GiB is too small; choose .*cacheDType f16, which fits/,
    );
  });
});
