// Offloading: every way of it gives the same frames, takes what is planned, and leaves nothing behind, whatever goes wrong.
import { join } from 'node:path';
import { encodeSafetensors, nodeFolder } from '@magi1/loaders';
import type { ByteSource, Folder } from '@magi1/loaders';
import { Device, Magi1Pipeline, Magi1VideoToVideoPipeline, OFFLOADS } from '@magi1/core';
import type { Offload, PipelineOptions, TextToVideoRequest } from '@magi1/core';
import { hostArray } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { describe, expect, it } from 'vitest';
import { TINY_MODEL } from './support/cli.ts';
import { testDevices } from './support/devices.ts';
import { onePassModel, quantizedWeights } from './support/fp8-model.ts';
import { readSafetensors } from './support/safetensors-lite.ts';
import { TRANSFORMER_FILE } from './support/tiny-model.ts';

const SMALL = { prompt: 'a cat', height: 32, width: 32, numFrames: 48, numInferenceSteps: 8, seed: 5 };
const CLIP = {
  data: Uint8Array.from({ length: 32 * 32 * 32 * 3 }, (_, i) => (i * 7) % 256),
  ...{ frameCount: 32, width: 32, height: 32 },
};
const original = readSafetensors(join(TINY_MODEL, TRANSFORMER_FILE));

/** Small changes of a layer of every block. */
async function aLora(): Promise<Uint8Array> {
  const tensors = new Map<string, HostTensor>();
  for (const [name, { shape }] of original) {
    const [, layer] = /^(videodit_blocks\.layers\.\d+\.mlp\.linear_fc\d)\.weight$/.exec(name) ?? [];
    if (layer === undefined) continue;
    const factor = (rows: number, columns: number): HostTensor => ({
      ...{ dtype: 'f32', shape: [rows, columns] },
      data: hostArray('f32', rows * columns).map((_, i) => Math.sin(i * 0.7 + rows) / 20),
    });
    tensors.set(`${layer}.lora_A.weight`, factor(2, shape[1]!));
    tensors.set(`${layer}.lora_B.weight`, factor(shape[0]!, 2));
  }
  expect(tensors.size).toBeGreaterThan(4);
  return encodeSafetensors(tensors);
}

type Options = PipelineOptions<TextToVideoRequest>;
const openTiny = (device: Device, offload: Offload, options: Options = {}, where: string | Folder = TINY_MODEL) =>
  Magi1Pipeline.fromPretrained(where, { device, offload, ...options });

/** Frames of a run, which took no more than was planned and left nothing on the device. */
async function framesOf(pipe: Magi1Pipeline, request: TextToVideoRequest = SMALL): Promise<Uint8Array> {
  const planned = (await pipe.planMemory(request)).peaks[pipe.offload];
  const { frames, facts } = await pipe({ ...request, outputType: 'uint8' });
  expect(facts.offload).toBe(pipe.offload);
  expect(facts.peakDeviceBytes).toBeLessThanOrEqual(planned);
  expect(facts.peakDeviceBytes).toBeGreaterThan(0.9 * planned);
  const { device } = pipe;
  await pipe.dispose();
  expect(device.memory()).toMatchObject({ tensors: 0, inUse: 0 });
  return frames;
}

const devices = [
  { name: 'reference', open: () => Device.open({ backend: 'reference' }) },
  ...testDevices().filter(({ name }) => !name.includes('as hardware')),
];
describe.each(devices)('on $name', ({ name, open }) => {
  it('every way gives the same frames, with less and less on the device', { timeout: 600_000 }, async () => {
    await using device = await open();
    // Where the device's memory is the host's, blocks do not wait there: this one says that it has its own.
    const own = { ...device.info, memory: 'adapter' as const };
    const peaks: number[] = [];
    let expected: Uint8Array | undefined;
    for (const offload of OFFLOADS) {
      const pipe = await openTiny(device, offload);
      peaks.push((await pipe.planMemory(SMALL)).peaks[offload]);
      const frames = await framesOf(pipe);
      expected ??= frames;
      expect(frames).toEqual(expected);
    }
    expect(peaks[1]).toBeLessThan(peaks[0]!);
    expect(peaks[2]).toBeLessThan(peaks[1]!);
    expect(peaks[3]).toBe(peaks[2]);
    Object.defineProperty(device, 'info', { value: own });
    expect(await framesOf(await openTiny(device, 'group'))).toEqual(expected);
    if (name === 'reference') return;
    for (const dtype of ['f16', 'q8', 'q4'] as const) {
      const whole = await framesOf(await openTiny(device, 'none', { dtype }));
      for (const offload of ['group', 'disk'] as const)
        expect(await framesOf(await openTiny(device, offload, { dtype }))).toEqual(whole);
    }
  });
});

describe('on wasm', () => {
  it('a clip is continued alike', async () => {
    await using device = await Device.open({ backend: 'wasm' });
    let expected: Uint8Array | undefined;
    for (const offload of OFFLOADS) {
      const pipe = await Magi1VideoToVideoPipeline.fromPretrained(TINY_MODEL, { device, offload });
      const request = { ...SMALL, video: CLIP };
      const { frames, facts } = await pipe(request);
      expect(facts.peakDeviceBytes).toBeLessThanOrEqual((await pipe.planMemory(request)).peaks[offload]);
      await pipe.dispose();
      expected ??= frames;
      expect(frames).toEqual(expected);
      expect(device.memory().tensors).toBe(0);
    }
  });

  it('LoRAs act alike, fused into weights that are brought anew and taken out again', async () => {
    await using device = await Device.open({ backend: 'wasm' });
    const loras = [{ source: await aLora(), name: 'style' }];
    const results: Uint8Array[][] = [];
    for (const offload of ['none', 'group'] as const) {
      const pipe = await openTiny(device, offload, { loras });
      const acting = await pipe(SMALL);
      pipe.fuseLora();
      const fused = await pipe(SMALL);
      pipe.unfuseLora();
      pipe.unloadLora();
      const without = await pipe(SMALL);
      results.push([acting.frames, fused.frames, without.frames]);
      await pipe.dispose();
      expect(device.memory().tensors).toBe(0);
    }
    expect(results[1]).toEqual(results[0]);
    expect(results[0]![0]).not.toEqual(results[0]![2]);
    expect(results[0]![1]).not.toEqual(results[0]![2]);
  });

  it('blocks of several types and sizes are brought alike', async () => {
    await using device = await Device.open({ backend: 'wasm' });
    const folder = await onePassModel(quantizedWeights().quantized, { fp8: true, distill: true });
    const whole = await framesOf(await openTiny(device, 'none', {}, folder));
    expect(await framesOf(await openTiny(device, 'group', {}, folder))).toEqual(whole);
  });

  it('one network at a time is enough for a pipeline that changes its way from run to run', async () => {
    const probe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device: { backend: 'wasm' } });
    const large = { ...SMALL, height: 64, width: 64 };
    const [little, much] = [(await probe.planMemory(SMALL)).peaks, (await probe.planMemory(large)).peaks];
    const memoryBudget = Math.ceil(Math.max(little.text, much.group));
    expect(memoryBudget).toBeLessThan(Math.min(little.none, much.text));
    const expected = [await probe(SMALL), await probe(large)];
    await probe.dispose();
    const pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device: { backend: 'wasm', memoryBudget } });
    const [small, again] = [await pipe(SMALL), await pipe(large)];
    expect([small.facts.offload, again.facts.offload]).toEqual(['text', 'group']);
    expect([small.frames, again.frames]).toEqual(expected.map(({ frames }) => frames));
    expect((await pipe(SMALL)).frames).toEqual(small.frames);
    await pipe.dispose();
  });
});

/** A folder whose files are read as `read` says: it is told how many reads there were and may fail or wait. */
function watched(folder: Folder, read: (count: number) => Promise<void>): Folder {
  let count = 0;
  const around = (inner: Folder): Folder => ({
    name: inner.name,
    list: (options) => inner.list(options),
    async open(path, options) {
      const source = await inner.open(path, options);
      const wrapped: ByteSource = {
        name: source.name,
        size: source.size,
        async read(...args) {
          await read(++count);
          return source.read(...args);
        },
        close: () => source.close(),
      };
      return wrapped;
    },
    at: (path) => around(inner.at(path)),
  });
  return around(folder);
}

describe('what goes wrong while blocks are brought', () => {
  it('a file that fails in mid-run ends the run with its error, and nothing stays', async () => {
    await using device = await Device.open({ backend: 'wasm' });
    let failing = false;
    const folder = watched(nodeFolder(TINY_MODEL), () =>
      failing ? Promise.reject(new Error('the disk is gone')) : Promise.resolve(),
    );
    const pipe = await openTiny(device, 'disk', {}, folder);
    const before = device.memory().tensors;
    const onStep = () => void (failing = true);
    await expect(pipe({ ...SMALL, onStep })).rejects.toThrow('the disk is gone');
    failing = false;
    const { frames } = await pipe(SMALL);
    await pipe.dispose();
    expect(before).toBe(0);
    expect(device.memory()).toMatchObject({ tensors: 0, inUse: 0 });
    expect(frames).toEqual(await framesOf(await openTiny(device, 'none')));
  });

  it('an abort in mid-read ends the run at once, and the next one gives the same', async () => {
    await using device = await Device.open({ backend: 'wasm' });
    const controller = new AbortController();
    let slow = false;
    const folder = watched(nodeFolder(TINY_MODEL), async () => {
      if (!slow) return;
      controller.abort(new Error('enough'));
      await new Promise((resolve) => setTimeout(resolve, 20));
    });
    const pipe = await openTiny(device, 'disk', {}, folder);
    const first = await pipe(SMALL);
    const onStep = () => void (slow = true);
    await expect(pipe({ ...SMALL, signal: controller.signal, onStep })).rejects.toThrow('enough');
    slow = false;
    expect((await pipe(SMALL)).frames).toEqual(first.frames);
    await pipe.dispose();
    expect(device.memory()).toMatchObject({ tensors: 0, inUse: 0 });
  });

  it('a pipeline that is disposed in mid-read writes into no memory that others have by then', async () => {
    await using device = await Device.open({ backend: 'wasm' });
    let reading: (() => void) | undefined;
    let wait = false;
    const folder = watched(nodeFolder(TINY_MODEL), async () => {
      if (wait) await new Promise<void>((resolve) => (reading = resolve));
    });
    const pipe = await openTiny(device, 'disk', {}, folder);
    const run = pipe({ ...SMALL, onStep: () => void (wait = true) });
    const failed = run.catch((error: unknown) => (error as Error).message);
    while (reading === undefined) await new Promise((resolve) => setTimeout(resolve, 5));
    const disposal = pipe.dispose();
    wait = false;
    reading();
    await disposal;
    expect(await failed).toBe('the pipeline was disposed');
    await device.sync();
    expect(device.memory()).toMatchObject({ tensors: 0, inUse: 0 });
  });
});

it('an unknown way is refused with those there are', async () => {
  const offload = 'all' as Offload;
  await expect(Magi1Pipeline.fromPretrained(TINY_MODEL, { offload })).rejects.toThrow(
    'offload: one of none, text, group, disk expected, got "all"',
  );
});

it('a way that does not fit is refused with one that does', async () => {
  const probe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device: { backend: 'wasm' } });
  const { text, group } = (await probe.planMemory(SMALL)).peaks;
  await probe.dispose();
  const device = { backend: 'wasm', memoryBudget: Math.floor((text + group) / 2) } as const;
  await expect(Magi1Pipeline.fromPretrained(TINY_MODEL, { device, offload: 'text', request: SMALL })).rejects.toThrow(
    /this run needs about .* choose offload group, which fits/,
  );
});
