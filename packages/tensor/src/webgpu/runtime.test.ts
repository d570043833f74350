// The WebGPU runtime itself: memory, slices, tables, errors, abort and loss, on every adapter at hand.
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import {
  defineOp,
  Device,
  DeviceLostError,
  elementCount,
  listWebGpuAdapters,
  Magi1Error,
  OpError,
  OutOfMemoryError,
  runOp,
  TensorTooLargeError,
} from '@magi1/tensor';
import type { DeviceOptions, OpTypes, Tensor, WebGpuDevice, WebGpuOf, WgslProgram } from '@magi1/tensor';
import { testAdapters } from '../../../../tests/support/devices.ts';

type WebGpu = WebGpuOf<OpTypes<{ x: Tensor }>>;

const inputAndOutput = [
  { name: 'x', type: 'array<u32>', access: 'read' },
  { name: 'y', type: 'array<u32>', access: 'read_write' },
] as const;

/** An op of one input and an output like it, for programs of these tests. */
function testOp(name: string, webgpu: WebGpu) {
  return defineOp<OpTypes<{ x: Tensor }>>({
    name,
    infer: ({ x }) => ({ shape: x.shape, dtype: x.dtype }),
    cost: ({ x }) => ({ flops: elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
    reference: () => undefined,
    cases: [],
    webgpu,
  });
}

const words = (tensor: Tensor) => Math.ceil(tensor.byteLength / 4);
const groups = (count: number) => [Math.ceil(count / 64), 1, 1] as const;

/** y = x + add, on words. */
const addProgram: WgslProgram = {
  name: 'test.add',
  bindings: () => inputAndOutput,
  params: { size: 'u32', add: 'u32' },
  source: () => `
@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3u) {
  if (id.x < params.size) { y[id.x] = x[id.x] + params.add; }
}`,
};
const addOp = (add: number) =>
  testOp('add', ({ inputs: { x }, y }) => [
    {
      program: addProgram,
      variant: {},
      bindings: { x, y },
      params: { size: words(x), add },
      workgroups: groups(words(x)),
    },
  ]);
const add = (x: Tensor, by = 1): Tensor => runOp(addOp(by), { x }, {});

const openDevice = async (adapter: string, options: DeviceOptions = {}) =>
  (await Device.open({ ...options, backend: 'webgpu', adapter })) as WebGpuDevice;

const adapters = testAdapters();

const withWebGpu = process.env['MAGI1_NO_WEBGPU'] !== '1';

test.runIf(withWebGpu)('an adapter that does not exist is refused with the list of those that do', async () => {
  await expect(Device.open({ backend: 'webgpu', adapter: 'Voodoo 2' })).rejects.toThrow(
    /no adapter is named like "Voodoo 2" \(.*\)\. `magi1 info` lists adapters; .*VK_ADD_DRIVER_FILES/,
  );
  const names = await listWebGpuAdapters();
  for (const adapter of adapters) expect(names.join()).toContain(adapter);
});

test.runIf(withWebGpu)('auto takes a GPU or says why not', async () => {
  await using device = await Device.open();
  if (device.backend === 'webgpu') expect((device as WebGpuDevice).capabilities.software).toBe(false);
  else expect(device.info.reason).toMatch(/^auto: (no GPU, .* is a CPU adapter|WebGPU: no adapter found)/);
});

describe.each(adapters)('%s', (adapter) => {
  let device: WebGpuDevice;
  beforeEach(async () => {
    device = await openDevice(adapter);
  });
  afterEach(() => device.dispose());

  const counting = (size: number) =>
    device.tensor(
      Uint32Array.from({ length: size }, (_, i) => i),
      [size],
      'u32',
    );

  test('workgroup memory starts as zeros, and zeroing it is cheap to compile', async () => {
    // Processor time of the first call; the array is `size` words, dirtied by the program itself after it was read.
    const firstCall = async (size: number) => {
      const program: WgslProgram = {
        name: `test.zeros${size}`,
        bindings: () => inputAndOutput,
        params: { size: 'u32' },
        source: () => `
var<workgroup> memory: array<u32, ${size}>;

@compute @workgroup_size(64)
fn main(@builtin(local_invocation_index) lane: u32) {
  var sum = x[0];
  for (var i = lane; i < params.size; i += 64u) { sum += memory[i]; }
  workgroupBarrier();
  for (var i = lane; i < params.size; i += 64u) { memory[i] = sum + 7u; }
  workgroupBarrier();
  y[lane] = sum + memory[lane] - memory[lane];
}`,
      };
      const op = testOp(program.name, ({ inputs: { x }, y }) => [
        { program, variant: {}, bindings: { x, y }, params: { size }, workgroups: [1, 1, 1] },
      ]);
      using x = device.zeros([64], 'u32');
      await device.sync();
      const start = process.cpuUsage();
      for (let i = 0; i < 3; i++) {
        using y = runOp(op, { x }, {});
        expect(await y.read()).toEqual(new Uint32Array(64));
      }
      const { user, system } = process.cpuUsage(start);
      return user + system;
    };
    const small = await firstCall(64);
    expect(await firstCall(4096)).toBeLessThan(8 * small + 200e3);
  });

  test('describes itself', () => {
    expect(device.info.name.toLowerCase()).toContain(adapter.toLowerCase());
    expect(device.info.reason).toBe('asked for');
    expect(device.capabilities.maxBindingBytes).toBeGreaterThanOrEqual(2 ** 27);
  });

  test('many dispatches in order, over several submits and recycled buffers', async () => {
    let x: Tensor = counting(100);
    for (let i = 0; i < 700; i++) {
      const next = add(x);
      x.dispose();
      x = next;
    }
    expect([...(await x.read())]).toEqual(Array.from({ length: 100 }, (_, i) => i + 700));
    x.dispose();
    expect(device.memory()).toMatchObject({ inUse: 0, tensors: 0 });
  });

  test('a write into a recycled buffer does not overtake recorded work', async () => {
    const x = counting(64);
    const y = add(x, 5);
    x.dispose();
    const z = device.tensor(new Uint32Array(64).fill(9), [64], 'u32');
    expect((await y.read())[3]).toBe(8);
    expect((await z.read())[3]).toBe(9);
  });

  test('a read sees its moment, even when the tensor goes or changes at once', async () => {
    const x = counting(8);
    const before = x.read();
    x.writeBytes(new Uint8Array(32));
    const after = x.read();
    x.dispose();
    const other = device.tensor(new Uint32Array(8).fill(7), [8], 'u32');
    expect((await before)[5]).toBe(5);
    expect((await after)[5]).toBe(0);
    other.dispose();
  });

  test('slices at any offset look like tensors to kernels', async () => {
    const x = device.tensor(
      Uint8Array.from({ length: 64 }, (_, i) => i),
      [16, 4],
      'u8',
    );
    const odd = device.tensor(
      Uint8Array.from({ length: 63 }, (_, i) => i),
      [21, 3],
      'u8',
    );
    const bytes = async (t: Tensor) => [...(await add(t, 0).read())];
    expect(await bytes(x.slice(3, 7))).toEqual(Array.from({ length: 16 }, (_, i) => 12 + i));
    expect(await bytes(odd.slice(3, 8))).toEqual(Array.from({ length: 15 }, (_, i) => 9 + i));
    expect([...(await odd.slice(1, 2).read())]).toEqual([3, 4, 5]);
  });

  test('writes and copies at any byte, against a model on the host', async () => {
    const place = fc.record({ from: fc.nat(40), to: fc.nat(40), length: fc.nat(30), copy: fc.boolean() });
    await fc.assert(
      fc.asyncProperty(fc.array(place, { minLength: 1, maxLength: 8 }), async (places) => {
        const size = 71;
        const start = Uint8Array.from({ length: size }, (_, i) => i + 1);
        const [model, source] = [start.slice(), start.map((v) => 255 - v)];
        const a = device.tensor(start, [size], 'u8');
        const b = device.tensor(source, [size], 'u8');
        for (const { from, to, length, copy } of places) {
          const bytes = source.subarray(from, from + length);
          if (copy) device.copyBuffer(b.buffer, from, a.buffer, to, length);
          else a.writeBytes(bytes, to);
          model.set(bytes, to);
        }
        expect(await a.read()).toEqual(model);
        a.dispose();
        b.dispose();
      }),
      { numRuns: 25, seed: 1 },
    );
  });

  test('tables of many lengths', async () => {
    const program: WgslProgram = {
      name: 'test.table',
      bindings: () => [...inputAndOutput, { name: 'table', type: 'array<u32>', access: 'read' }],
      params: { last: 'u32' },
      source: () => `
@compute @workgroup_size(1)
fn main() { y[0] = x[0] + table[0] + table[params.last]; }`,
    };
    const withTable = (table: Uint32Array) =>
      testOp('table', ({ inputs: { x }, y }) => [
        {
          program,
          variant: {},
          bindings: { x, y, table },
          params: { last: table.length - 1 },
          workgroups: [1, 1, 1],
        },
      ]);
    const x = counting(1);
    const lengths = [1, 3, 64, 65, 1000, 200_000, 7, 70_000];
    const sums = lengths.map((length) => {
      const table = new Uint32Array(length);
      table[0] = 3;
      table[length - 1]! += length;
      return runOp(withTable(table), { x }, {});
    });
    const got = await Promise.all(sums.map(async (sum) => (await sum.read())[0]));
    expect(got).toEqual(lengths.map((length) => (length === 1 ? 8 : 3 + length)));
  });

  test('temporaries of an op are freed', async () => {
    const twice = testOp('twice', ({ inputs: { x }, y }) => {
      const middle = device.empty(x.shape, x.dtype);
      const base = {
        program: addProgram,
        variant: {},
        params: { size: words(x), add: 10 },
        workgroups: groups(words(x)),
      };
      return [
        { ...base, bindings: { x, y: middle } },
        { ...base, bindings: { x: middle, y } },
      ];
    });
    const x = counting(70);
    const y = runOp(twice, { x }, {});
    expect(device.memory().tensors).toBe(2);
    expect((await y.read())[69]).toBe(89);
  });

  test('wrong bindings and parameters are named', () => {
    const x = counting(4);
    type Dispatch = ReturnType<WebGpu>[number];
    const attempt = (change: Partial<Dispatch>, ofBindings: Dispatch['bindings'] = {}) => {
      const op = testOp('wrong', ({ y }) => [
        {
          program: addProgram,
          variant: {},
          bindings: { x, y, ...ofBindings },
          params: { size: 4, add: 1 },
          workgroups: [1, 1, 1],
          ...change,
        },
      ]);
      return () => runOp(op, { x }, {});
    };
    expect(attempt({})).not.toThrow();
    expect(attempt({ params: { size: 4 } })).toThrow('wrong: parameter add of program test.add is missing');
    expect(attempt({ params: { size: 4, add: 1, more: 1 } })).toThrow('no parameter more');
    expect(attempt({ params: { size: -1, add: 1 } })).toThrow('parameter size of program test.add must be u32, got -1');
    expect(attempt({ params: { size: 1.5, add: 1 } })).toThrow('must be u32, got 1.5');
    expect(attempt({ bindings: { x } })).toThrow('binding y of program test.add is missing');
    expect(attempt({}, { z: x })).toThrow('no binding z');
    expect(attempt({}, { y: x })).toThrow('writes y and binds the same buffer as x');
    expect(attempt({ workgroups: [1e6, 1, 1] })).toThrow('workgroups 1000000 x 1 x 1');
    expect(attempt({ workgroups: [0.5, 1, 1] })).toThrow(OpError);
    expect(device.memory().tensors).toBe(2);
  });

  test('an op without WebGPU version says so', () => {
    const noWebGpu = defineOp<OpTypes<{ x: Tensor }>>({ ...addOp(1), webgpu: undefined as never });
    expect(() => runOp(noWebGpu, { x: counting(1) }, {})).toThrow('add: has no WebGPU version');
  });

  test('a compile error carries op, program and numbered source, and reaches every wait', async () => {
    const program: WgslProgram = {
      ...addProgram,
      name: 'test.broken',
      source: () => '@compute @workgroup_size(1)\nfn main() { y[0] = nonsense; }',
    };
    const broken = testOp('broken', ({ inputs: { x }, y }) => [
      { program, variant: {}, bindings: { x, y }, params: { size: 1, add: 1 }, workgroups: [1, 1, 1] },
    ]);
    const x = counting(4);
    const y = runOp(broken, { x }, {});
    const outcomes = await Promise.allSettled([y.read(), device.sync()]);
    for (const outcome of outcomes) {
      expect(outcome.status).toBe('rejected');
      const { message } = (outcome as PromiseRejectedResult).reason as Magi1Error;
      expect(message).toMatch(/^broken: program test.broken does not compile:/);
      expect(message).toContain('nonsense');
      expect(message).toMatch(/\d+ \| fn main/);
    }
    // Reported: the device goes on.
    expect((await add(x).read())[3]).toBe(4);
  });

  test('guards see a write behind the end', async () => {
    await using guarded = await openDevice(adapter, { guardBytes: 64 });
    const overrun: WgslProgram = {
      ...addProgram,
      name: 'test.overrun',
      source: () => '@compute @workgroup_size(1)\nfn main() { y[0] = x[0]; y[5] = params.size + params.add; }',
    };
    const op = testOp('overrun', ({ inputs: { x }, y }) => [
      { program: overrun, variant: {}, bindings: { x, y }, params: { size: 1, add: 1 }, workgroups: [1, 1, 1] },
    ]);
    const x = guarded.tensor([1, 2, 3], [3], 'u32');
    const y = runOp(op, { x }, {});
    expect(await guarded.guardDamage(x)).toBeUndefined();
    expect(await guarded.guardDamage(y)).toContain('overrun');
    // What the kernel left out is NaN.
    expect((await y.read())[1]).toBe(0xffffffff);
  });

  test('the pool reuses exact sizes, and trim empties it', async () => {
    const x = counting(5000);
    add(x).dispose();
    await device.sync();
    const { reserved } = device.memory();
    for (let i = 0; i < 50; i++) add(x).dispose();
    await device.sync();
    expect(device.memory().reserved).toBe(reserved);
    device.trim();
    expect(device.memory().reserved).toBe(reserved - 20_000);
    const weight = device.tensor(new Uint32Array(5000), [5000], 'u32', { weight: true });
    weight.dispose();
    await device.sync();
    expect(device.memory().reserved).toBe(reserved - 20_000);
    expect(device.memory().inUse).toBe(20_000);
  });

  test('memory budget: pooled memory is given up first, then it is an error', async () => {
    await using small = await openDevice(adapter, { memoryBudget: 1000 });
    small.empty([100], 'f32').dispose();
    small.empty([120], 'f32').dispose();
    const kept = small.empty([200], 'f32');
    expect(() => small.empty([100], 'f32')).toThrow(OutOfMemoryError);
    expect(() => small.empty([100], 'f32')).toThrow('400 bytes asked for, 800 in use of a memory budget of 1000');
    expect(() => small.empty([251], 'f32')).toThrow(TensorTooLargeError);
    expect(() => add(kept)).toThrow('add: output f32[200]: WebGPU: 800 bytes asked for, 800 in use');
    kept.dispose();
    small.empty([240], 'f32').dispose();
    expect(small.memory().peak).toBe(960);
  });

  test('tensors beyond the limits', async () => {
    const limit = device.info.limits['maxBufferSize']!;
    expect(() => device.empty([limit + 16], 'u8')).toThrow(TensorTooLargeError);
    expect(() => device.empty([limit + 16], 'u8', { name: 'blocks.0.weight' })).toThrow(
      `blocks.0.weight u8[${limit + 16}]: WebGPU: ${limit + 16} bytes exceed the adapter's largest buffer of ${limit} bytes`,
    );
    expect(device.info.memory).toBe('host');
    const most = device.capabilities.maxBindingBytes;
    if (most >= limit) return;
    const x = device.empty([2, most], 'u8');
    expect(() => add(x)).toThrow(
      new RegExp(`add: binding x .* exceeds the adapter's largest binding of ${most} bytes`),
    );
    // Kernels bind such a tensor window by window.
    const firstWord: WgslProgram = {
      name: 'test.firstWord',
      bindings: () => inputAndOutput,
      params: { row: 'u32' },
      source: () => '@compute @workgroup_size(1)\nfn main() { y[params.row] = x[0]; }',
    };
    const firstWords = defineOp<OpTypes<{ x: Tensor }>>({
      ...addOp(0),
      infer: () => ({ shape: [2], dtype: 'u32' }),
      webgpu: ({ inputs: { x }, y }) =>
        [0, 1].map((row) => ({
          program: firstWord,
          variant: {},
          bindings: { x: { tensor: x, byteStart: row * most, byteLength: most }, y },
          params: { row },
          workgroups: [1, 1, 1],
        })),
    });
    x.writeBytes(Uint8Array.of(1, 0, 0, 0), 0);
    x.writeBytes(Uint8Array.of(2, 0, 0, 0), most);
    expect(await runOp(firstWords, { x }, {}).read()).toEqual(Uint32Array.of(1, 2));
  });

  test('an abort leaves what others have recorded', async () => {
    const x = counting(1000);
    const theirs = add(x);
    const ours = add(x);
    await expect(device.tick(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    ours.dispose();
    await expect(device.sync(AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough');
    expect((await theirs.read())[999]).toBe(1000);
  });

  test('an abort rejects with the reason, and work goes on after it', async () => {
    const controller = new AbortController();
    const x = counting(1000);
    const y = add(x);
    controller.abort(new Error('enough'));
    await expect(device.sync(controller.signal)).rejects.toThrow('enough');
    await expect(device.tick(controller.signal)).rejects.toThrow('enough');
    y.dispose();
    expect((await add(x).read())[999]).toBe(1000);
    const late = new AbortController();
    for (let i = 0; i < 20; i++) add(x).dispose();
    const waiting = device.sync(late.signal);
    late.abort(new Error('late'));
    await expect(waiting).rejects.toThrow('late');
    expect((await add(x).read())[999]).toBe(1000);
  });

  test('ticks bound what is under way and let results through', async () => {
    let x: Tensor = counting(10);
    for (let i = 0; i < 30; i++) {
      const next = add(x);
      x.dispose();
      x = next;
      await device.tick();
    }
    expect((await x.read())[9]).toBe(39);
  });

  test('disposed devices are collected, with their arrays', async () => {
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    const opened: WeakRef<WebGpuDevice>[] = [];
    const useOne = async () => {
      const one = await openDevice(adapter);
      opened.push(new WeakRef(one));
      await add(one.zeros([4], 'u32')).read();
      await one.dispose();
    };
    for (let i = 0; i < 4; i++) await useOne();
    const alive = () => opened.filter((reference) => reference.deref() !== undefined).length;
    for (let i = 0; i < 50 && alive() > 0; i++) {
      await new Promise((done) => setTimeout(done, 20));
      collect();
    }
    expect(alive()).toBe(0);
  });

  test('a lost device rejects what waits and what comes', async () => {
    const x = counting(4);
    const reading = add(x).read();
    device.gpu.destroy();
    await expect(reading).rejects.toThrow(DeviceLostError);
    await expect(device.sync()).rejects.toThrow(/is lost \(destroyed\)/);
    expect(() => add(x)).toThrow(DeviceLostError);
    expect(() => device.empty([1], 'f32')).toThrow(DeviceLostError);
  });

  test('a disposed device says so', async () => {
    const x = counting(4);
    const reading = add(x).read();
    await device.dispose();
    await device.dispose();
    await expect(reading).rejects.toThrow(/was disposed/);
    expect(() => add(x)).toThrow(DeviceLostError);
    x.dispose();
  });

  test('profile gives the GPU time of every call', async () => {
    const x = counting(100_000);
    const { clock, ops, milliseconds } = await device.profile(() => {
      device.mark('adding');
      for (let i = 0; i < 3; i++) add(x).dispose();
    });
    expect(clock).toBe('GPU timestamps');
    expect(ops.map(({ op, stage }) => [op, stage])).toEqual(new Array(3).fill(['add', 'adding']));
    for (const [i, time] of ops.entries()) {
      expect(time.milliseconds).toBeGreaterThan(0);
      expect(time.start).toBeGreaterThanOrEqual(i === 0 ? 0 : ops[i - 1]!.start);
      expect(time.start + time.milliseconds).toBeLessThan(milliseconds * 1.5);
    }
  });

  test('without timestamps, profile hands over one op at a time and says so', async () => {
    const has = device.gpu.features.has.bind(device.gpu.features);
    const spy = vi
      .spyOn(device.gpu.features, 'has')
      .mockImplementation((name) => name !== 'timestamp-query' && has(name));
    try {
      const x = counting(100_000);
      const { clock, ops, milliseconds } = await device.profile(() => {
        for (let i = 0; i < 3; i++) add(x).dispose();
      });
      expect(clock).toBe('submission and wait');
      expect(ops).toHaveLength(3);
      expect(ops[0]!.milliseconds).toBeGreaterThan(0);
      expect(ops.reduce((sum, time) => sum + time.milliseconds, 0)).toBeLessThanOrEqual(milliseconds);
    } finally {
      spy.mockRestore();
    }
  });
});
