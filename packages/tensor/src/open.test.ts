// What Device.open and the makers of tensors refuse, and in which words.
import { availableParallelism } from 'node:os';
import { describe, expect, test, vi } from 'vitest';
import { Device } from './device.ts';
import type { DeviceOptions } from './device.ts';

describe('Device.open refuses', () => {
  test.each<[unknown, RegExp]>([
    [null, /Device\.open: an object of options expected, got null/],
    ['wasm', /an object of options expected, got "wasm"/],
    [{ thread: 2 }, /unknown option thread: there are backend, adapter, threads, memoryBudget/],
    [{ constructor: 1 }, /unknown option constructor/],
    [{ backend: 'cuda' }, /backend must be auto, webgpu, wasm, reference, got "cuda"/],
    [{ backend: null }, /backend must be .*, got null/],
    [{ backend: 'webgpu', adapter: 5 }, /adapter must be a part of an adapter's name, got 5/],
    [{ backend: 'webgpu', adapter: '' }, /adapter must be .*, got ""/],
    [{ backend: 'wasm', memoryBudget: NaN }, /memoryBudget must be a whole number of bytes above 0, got NaN/],
    [{ backend: 'wasm', memoryBudget: '1GB' }, /memoryBudget must be a whole number of bytes above 0, got "1GB"/],
    [{ backend: 'wasm', memoryBudget: -1 }, /memoryBudget must be .*, got -1/],
    [{ backend: 'wasm', memoryBudget: 1.5 }, /memoryBudget must be .*, got 1\.5/],
    [{ backend: 'wasm', memoryBudget: Infinity }, /memoryBudget must be .*, got Infinity/],
    [{ backend: 'wasm', memoryBudget: {} }, /memoryBudget must be .*, got an object/],
    [{ backend: 'webgpu', adapter: ['x'] }, /adapter must be .*, got an array/],
    [[{}], /an object of options expected, got an array/],
    [new Date(0), /an object of options expected, got a Date/],
    [new Map(), /an object of options expected, got a Map/],
    [{ backend: 'wasm', threads: 0 }, /threads must be a whole number from 1 to 256, got 0/],
    [{ backend: 'wasm', threads: 1.5 }, /threads must be .*, got 1\.5/],
    [{ backend: 'wasm', adapter: 'llvmpipe' }, /adapter is for webgpu, and backend is wasm/],
    [{ backend: 'reference', threads: 2 }, /threads is for wasm, and backend is reference/],
  ])('%j', async (options, message) => {
    await expect(Device.open(options as DeviceOptions)).rejects.toMatchObject({
      name: 'Magi1Error',
      message: expect.stringMatching(message) as unknown,
    });
  });
});

test('options that are left out may be undefined', async () => {
  await using device = await Device.open({ backend: 'wasm', threads: 1, memoryBudget: undefined } as object);
  expect(device.info.limits['threads']).toBe(1);
});

test('more threads than cores are said', async () => {
  await using few = await Device.open({ backend: 'wasm', threads: 1 });
  expect(few.info.reason).toBe('asked for');
  const cores = availableParallelism();
  await using many = await Device.open({ backend: 'wasm', threads: cores + 1 });
  expect(many.info.reason).toMatch(/^asked for; \d+ threads on \d+ cores?, which slows it down$/);
});

test('a dtype that is missing or unknown is named', async () => {
  await using device = await Device.open({ backend: 'reference' });
  const loose = device as unknown as Record<'tensor' | 'zeros' | 'empty', (...args: unknown[]) => unknown>;
  expect(() => loose.tensor(new Float32Array(2), [2])).toThrow(
    'tensor: dtype must be one of f32, f16, bf16, f8e4m3fn, q8, q4, i32, u32, u8, bool, it is missing',
  );
  expect(() => loose.tensor([1, 2], [2], 'float32')).toThrow(/tensor: dtype must be one of .*, got "float32"/);
  expect(() => loose.tensor([1, 2], [2], 'toString')).toThrow(/tensor: dtype must be one of/);
  expect(() => loose.zeros([2])).toThrow(/zeros: dtype must be one of .*, it is missing/);
  expect(() => loose.empty([2], 7)).toThrow(/empty: dtype must be one of .*, got 7/);
  expect(() => loose.tensor([1, 2])).toThrow(/dtype/);
});

test('a page without SharedArrayBuffer can load every device and run wasm', async () => {
  vi.stubGlobal('SharedArrayBuffer', undefined);
  vi.resetModules();
  try {
    await import('./webgpu/device.ts');
    const { Device } = await import('./device.ts');
    const device = await Device.open({ backend: 'wasm' });
    expect(device.info.limits['threads']).toBe(1);
    const x = device.tensor([1, 2], [2], 'f32');
    expect(await x.read()).toEqual(Float32Array.of(1, 2));
    await device.dispose();
  } finally {
    vi.unstubAllGlobals();
  }
});
