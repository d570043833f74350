// Memory plans: from a config alone, against budgets, a wasm heap and a device's largest buffer; and that the machine's
// memory is the budget where none is given.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device, MetaDevice, machineMemory } from '@magi1/tensor';
import { publishedConfig } from '../config/published.ts';
import { POCKET_MODEL } from '../pocket.ts';
import { RequestError } from '../wording.ts';
import { inspectModel, shapesOf } from './inspect.ts';
import type { InspectOptions } from './inspect.ts';
import { MemoryPlanner, capacityOf } from './memory.ts';
import type { Capacity } from './memory.ts';
import { readModelFolder } from './model-files.ts';
import { OFFLOADS } from './offload.ts';
import { openModelFiles } from './model-files.ts';
import { Magi1Pipeline } from './pipeline.ts';
import { planRequest } from './prepare.ts';
import { NO_PREFIX } from './inputs.ts';
import { TILE_BYTES } from '../transformer/video-dit.ts';
import { plannedSize } from './memory.ts';

const GIB = 2 ** 30;
const SIZE = { height: 256, width: 256, numFrames: 24 };
let folder: string;

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'magi1-memory-'));
  writeFileSync(join(folder, 'config.json'), JSON.stringify(publishedConfig()));
});
afterAll(() => rmSync(folder, { recursive: true }));

const inspected = async (memoryBudget: number, backend: 'wasm' | 'reference' = 'reference') => {
  await using device = await Device.open({ backend, memoryBudget });
  return await inspectModel(await readModelFolder(folder), device, { request: SIZE });
};

describe('a folder with a config alone', () => {
  it('says what is missing, and what its networks will hold', async () => {
    const { missing, parts } = await inspected(100 * GIB);
    for (const name of ['load', 't5_pretrained', 'vae_pretrained']) expect(missing).toContain(name);
    // The table of contents of the published files.
    expect(parts.map(({ name, tensors, parameters }) => [name, tensors, parameters])).toEqual([
      ['text encoder', 219, 4_762_310_656],
      ['transformer', 898, expect.any(Number)],
      ['vae', 496, 613_755_239],
    ]);
    expect(parts[1]!.parameters / 4.5e9).toBeCloseTo(1, 1);
  });

  it('keeps all networks, frees the text encoder, brings blocks, or does not fit', async () => {
    const { need } = (await inspected(100 * GIB)).fit;
    const { none, text, group, disk } = need!.peaks;
    expect(text).toBeLessThan(none);
    expect(group).toBeLessThan(text / 2);
    expect(disk).toBe(group);
    expect((await inspected(Math.ceil(none))).fit.offload).toBe('none');
    expect((await inspected(Math.floor(none) - 1)).fit.offload).toBe('text');
    expect((await inspected(Math.ceil(text))).fit.offload).toBe('text');
    expect((await inspected(Math.floor(text) - 1)).fit.offload).toBe('group');
    expect((await inspected(Math.ceil(group))).fit.offload).toBe('group');
    expect((await inspected(Math.floor(group) - 1)).fit.offload).toBeUndefined();
  });

  it('names the largest size that fits: its need is within, that of the next one is not', async () => {
    const memoryBudget = 4 * GIB;
    const { largest } = await inspected(memoryBudget);
    await using device = await Device.open({ backend: 'reference', memoryBudget });
    const source = await readModelFolder(folder);
    const fits = async (side: number) =>
      (await inspectModel(source, device, { request: { ...SIZE, height: side, width: side } })).fit.offload;
    expect(largest).toMatchObject({ chunks: 1, height: largest!.width });
    expect(await fits(largest!.width)).toBe('group');
    expect(await fits(largest!.width + 16)).toBeUndefined();
  });
});

describe('what is asked of a model', () => {
  const asked = async (options: unknown) => {
    await using device = await Device.open({ backend: 'reference' });
    return await inspectModel(await readModelFolder(folder), device, options as InspectOptions).then(
      ({ settings }) => settings.prefixFrames,
      (error: unknown) => (error as Error).message,
    );
  };

  it.each<[options: unknown, result: number | RegExp]>([
    [{ mode: 'v2v', request: { prefixFrames: 32 } }, 32],
    [{ mode: 'v2v', request: { prefixFrames: 31 } }, /^prefixFrames: the last 3 of 31 .* nearest valid: 28 and 32$/],
    [{ mode: 'v2v', request: { prefixFrames: 999_999 } }, /^prefixFrames: at most 100000 expected, got 999999$/],
    [{ request: { prefixFrames: 32 } }, /^unknown option prefixFrames/],
    [{ request: { numFrames: 0 } }, /^numFrames: a whole number above 0 expected, got 0$/],
    [{ request: null }, /^request: an object of options expected, got null$/],
    [{ mode: 'x2v' }, /^mode: one of t2v, i2v, v2v expected, got "x2v"$/],
    [{ dtype: 'f8' }, /^dtype: f32, f16, bf16, q8 or q4 expected, got "f8"$/],
    [
      { dtype: { vae: {}, unet: 'f16' } },
      /^dtype: unknown option unet .*; dtype: vae: f32, f16, bf16, q8 or q4 expected, got an object$/,
    ],
    [{ sizes: {} }, /^inspectModel: unknown option sizes/],
    [null, /^inspectModel: an object of options expected, got null$/],
  ])('is checked as a run is: %j', async (options, result) => {
    const answer = await asked(options);
    if (typeof result === 'number') expect(answer).toBe(result);
    else expect(answer).toMatch(result);
  });
});

describe('tiles of tokens', () => {
  it('are the largest with which a run fits', async () => {
    const source = await readModelFolder(folder);
    const run = plannedSize(planRequest({ ...SIZE, height: 512, width: 512, numFrames: 96 }, NO_PREFIX, source));
    // With a text encoder that takes less than the rest.
    const planner = new MemoryPlanner(
      shapesOf(source.config, { textEncoder: 'bf16' }),
      new MetaDevice({ as: 'wasm' }),
      ['none', 'text'],
    );
    const needs = [];
    for (const tileBytes of TILE_BYTES) needs.push((await planner.need({ ...run, tileBytes })).peaks.text);
    expect(needs).toEqual([...needs].sort((a, b) => b - a));
    const fitIn = (bytes: number) =>
      planner.fit(run, { bytes, limitedBy: 'budget', heapBytes: Infinity, heapWeightBytes: 0 });
    for (const [i, tileBytes] of TILE_BYTES.entries()) {
      const fit = await fitIn(needs[i]!);
      expect([fit.offload, fit.tileBytes, fit.need!.peaks.text]).toEqual(['text', tileBytes, needs[i]]);
    }
    expect((await fitIn(needs.at(-1)! - 1)).offload).toBeUndefined();
  });
});

describe('limits that no budget raises', () => {
  const planned = async (device: Device, request: object, capacity?: Capacity) => {
    const source = await readModelFolder(folder);
    const run = plannedSize(planRequest(request, NO_PREFIX, source));
    return new MemoryPlanner(shapesOf(source.config), device, OFFLOADS).fit(run, capacity);
  };

  it("a wasm heap holds what is not weights, whatever the machine's memory", async () => {
    const capacity = { bytes: 1000 * GIB, limitedBy: 'machine', heapBytes: 4 * GIB, heapWeightBytes: 2 * GIB } as const;
    const device = new MetaDevice({ as: 'wasm' });
    expect((await planned(device, SIZE, capacity)).offload).toBe('none');
    const { need, offload } = await planned(device, { ...SIZE, height: 2048, width: 2048 }, capacity);
    expect(offload).toBeUndefined();
    expect(need!.peaks.none).toBeLessThan(capacity.bytes);
  });

  it('a tensor beyond the largest buffer is a fault by name', async () => {
    const capacity = { bytes: Infinity, limitedBy: null, heapBytes: Infinity, heapWeightBytes: 0 } as const;
    const device = new MetaDevice({ as: 'webgpu', maxBufferSize: 2 ** 29 });
    const large = await planned(device, { ...SIZE, height: 2560, width: 2560 }, capacity);
    expect(large).toMatchObject({ need: undefined, offload: undefined });
    expect(large.fault).toMatch(/bytes/);
    expect((await planned(device, SIZE, capacity)).offload).toBe('none');
  });
});

it("keys and values are kept in the model's type where none is asked for, in q8 where its heads are whole groups", async () => {
  const source = await readModelFolder(folder);
  const cacheOf = (request: object, changes = {}) => {
    const config = { ...source.config, model_config: { ...source.config.model_config, ...changes } };
    return planRequest({ ...SIZE, ...request }, NO_PREFIX, { ...source, config }).settings.cacheDType;
  };
  expect(cacheOf({})).toBe('bf16');
  expect(cacheOf({}, { params_dtype: 'torch.float16' })).toBe('f16');
  expect(cacheOf({}, { params_dtype: 'torch.float32' })).toBe('f32');
  expect(planRequest({}, NO_PREFIX, await readModelFolder(POCKET_MODEL)).settings.cacheDType).toBe('f32');
  expect(cacheOf({ cacheDType: 'q8' })).toBe('q8');
  expect(() => cacheOf({ cacheDType: 'q8' }, { num_query_groups: 3, kv_channels: 32 })).toThrow(
    /^cacheDType: q8 takes groups of 64 elements.* the 3 key heads of 32 .*: choose f16 or bf16$/,
  );
});

it('a cache of 16 bits is named where it makes a run fit, and is part of what a model is said to need', async () => {
  await using device = await Device.open({ backend: 'reference' });
  const source = await readModelFolder(POCKET_MODEL);
  const size = { ...SIZE, numFrames: 96 };
  const staged = async (cacheDType: 'f32' | 'f16') =>
    (await inspectModel(source, device, { request: { ...size, cacheDType } })).fit.need!.peaks.group;
  const narrow = await staged('f16');
  expect(narrow).toBeLessThan(await staged('f32'));
  const refused = (memoryBudget: number) =>
    expect(
      Magi1Pipeline.fromPretrained(POCKET_MODEL, {
        device: { backend: 'reference', memoryBudget },
        request: { prompt: 'a red circle', ...size },
      }),
    ).rejects;
  await refused(narrow).toThrow(/or cacheDType f16, which fits/);
  await refused(Math.floor(narrow / 2)).toThrow(/which fits$/);
  await refused(Math.floor(narrow / 2)).not.toThrow(/cacheDType/);
});

describe('without a budget', () => {
  it("the machine's memory is one, on devices that live in it", async () => {
    await using device = await Device.open({ backend: 'reference' });
    const { bytes, limitedBy } = capacityOf(device);
    const machine = machineMemory()!;
    expect(['machine', 'cgroup']).toContain(limitedBy);
    expect(bytes / machine.available).toBeCloseTo(1, 1);
  });

  it('a model that is opened without a request is refused by its own run, with the way out', async () => {
    const opened = Magi1Pipeline.fromPretrained(POCKET_MODEL, { device: { backend: 'reference', memoryBudget: 2e6 } });
    const error = await opened.then(String, (cause: unknown) => cause);
    expect(error).toBeInstanceOf(RequestError);
    expect((error as RequestError).message).toMatch(/no request was given, .* give the one that you mean to make$/);
    expect((error as RequestError).options).toEqual(['memoryBudget', 'request']);
  });

  it('a run beyond it is refused before weights are loaded, with a size that fits', async () => {
    await using device = await Device.open({ backend: 'reference' });
    await using pipe = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
    const before = device.memory().peak;
    // Some 200 GiB: more than the machines that run this have.
    const request = { prompt: 'a red circle', height: 8192, width: 16384, numFrames: 96 };
    const message = await pipe(request).then(String, (error: unknown) => (error as Error).message);
    expect(message).toMatch(/^memory: this run needs about .* (this machine has left|leaves) .* which fits/);
    expect(device.memory().peak).toBe(before);
  });
});

it('a number of frames that is said to fit makes as many chunks as were planned, after a prefix too', async () => {
  const source = await readModelFolder(POCKET_MODEL);
  const files = await openModelFiles(source, undefined);
  await files.close();
  await using device = await Device.open({ backend: 'wasm' });
  for (const prefixFrames of [0, 4, 8]) {
    const prefix = { ...NO_PREFIX, frames: prefixFrames, latentFrames: prefixFrames / 4 };
    const sized = (numFrames: number) =>
      plannedSize(planRequest({ height: 192, width: 192, numFrames }, prefix, source));
    const run = sized(240);
    const planner = new MemoryPlanner(files, device, OFFLOADS.slice(1));
    const { need } = await planner.fit(sized(30));
    const budget = { bytes: need!.peaks.group, limitedBy: 'budget', heapBytes: Infinity, heapWeightBytes: 0 } as const;
    const message = await planner.choose(run, budget).then(String, (error: unknown) => (error as Error).message);
    expect(message).toContain('numFrames');
    const told = /numFrames (\d+), which fits/.exec(message)?.[1];
    expect((await planner.fit(sized(Number(told)), budget)).offload).toBe('group');
  }
});
