// The wasm device with small ops of its own: order, memory, threads, abort, traps, weights outside the heap.
import { execFile } from 'node:child_process';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import ts from 'typescript';
import { afterEach, expect, test } from 'vitest';
import { DeviceLostError, OpError, OutOfMemoryError, TensorTooLargeError } from '../errors.ts';
import { defineOp, runOp } from '../op.ts';
import type { OpTypes } from '../op.ts';
import { Device } from '../device.ts';
import type { Tensor } from '../tensor.ts';
import { WasmDevice } from './device.ts';
import type { WasmDeviceOptions } from './device.ts';
import { F32x4, I32, wasmKernel } from './emitter.ts';
import { ExternalBuffer } from './memory.ts';

const open: WasmDevice[] = [];
function device(options: Omit<WasmDeviceOptions, 'reason'> = {}): WasmDevice {
  const opened = new WasmDevice({ reason: 'test', threads: 1, ...options });
  open.push(opened);
  return opened;
}
afterEach(async () => {
  for (const opened of open.splice(0)) await opened.dispose();
});

const unused = { reference: () => undefined, cases: [], cost: () => ({ flops: 0, bytes: 0 }) };

/** y = x * factor + table[item % 4], an item being four elements; uses scratch as a detour. */
const scaleKernel = wasmKernel({
  name: 'test.scale',
  args: { x: 'ptr', table: 'ptr', y: 'ptr', factor: 'f32' },
  body(k, { begin, end, scratch, x, table, y, factor }) {
    k.forRange(begin, end, 1, (i) => {
      const at = k.let(i.shl(4));
      k.store(scratch, x.add(at).loadF32x4().mul(factor.splat()));
      const extra = table.add(i.and(3).shl(2)).loadF32x4Splat();
      k.store(y.add(at), scratch.loadF32x4().add(extra));
    });
  },
});
const scale = defineOp<OpTypes<{ x: Tensor }, { factor: number; table: Float32Array }>>({
  ...unused,
  name: 'scale',
  infer: ({ x }) => x,
  wasm: ({ inputs: { x }, y, params }) => [
    {
      kernel: scaleKernel,
      variant: {},
      args: { x, y, ...params },
      items: Math.ceil(x.size / 4),
      itemCost: 12,
      scratchBytes: 16,
    },
  ],
});

/** y[row] = sum of a weight row times x, in a fixed order; the weight is streamed row by row. */
const rowSumKernel = wasmKernel({
  name: 'test.rowSum',
  args: { x: 'ptr', weight: 'ptr', y: 'ptr', rowBytes: 'i32' },
  body(k, { begin, end, x, weight, y, rowBytes }) {
    k.forRange(begin, end, 1, (row) => {
      const from = k.let(weight.add(row.mul(rowBytes)));
      const sum = k.var(F32x4.of(0));
      k.forRange(0, rowBytes, 16, (at) => {
        sum.set(k.madd(from.add(at).loadF32x4(), x.add(at).loadF32x4(), sum));
      });
      k.store(
        y.add(row.shl(2)),
        sum
          .lane(0)
          .add(sum.lane(1))
          .add(sum.lane(2).add(sum.lane(3))),
      );
    });
  },
});
const rowSum = defineOp<OpTypes<{ x: Tensor; weight: Tensor }, { streamed: boolean }>>({
  ...unused,
  name: 'rowSum',
  infer: ({ weight }) => ({ shape: [weight.shape[0]!], dtype: 'f32' }),
  wasm({ inputs: { x, weight }, y, params }) {
    const rowBytes = 4 * weight.shape[1]!;
    return [
      {
        kernel: rowSumKernel,
        variant: {},
        args: { x, weight, y, rowBytes },
        items: weight.shape[0]!,
        itemCost: rowBytes / 2,
        ...(params.streamed ? { streamed: { arg: 'weight', bytesPerItem: rowBytes } } : {}),
      },
    ];
  },
});

/** Works for `rounds` per item, then traps in the item `trapAt`. */
const spinKernel = wasmKernel({
  name: 'test.spin',
  args: { y: 'ptr', rounds: 'i32', trapAt: 'i32' },
  body(k, { begin, end, y, rounds, trapAt }) {
    k.forRange(begin, end, 1, (item) => {
      const x = k.var(item);
      k.forRange(0, rounds, 1, () => {
        x.set(x.mul(1664525).add(1013904223));
      });
      k.store(y.add(item.and(63).shl(2)), x);
      k.if(item.eq(trapAt), () => {
        k.trap();
      });
    });
  },
});
const spin = defineOp<OpTypes<{ x: Tensor }, { items: number; rounds: number; trapAt: number }>>({
  ...unused,
  name: 'spin',
  infer: () => ({ shape: [64], dtype: 'i32' }),
  wasm: ({ y, params: { items, rounds, trapAt } }) => [
    { kernel: spinKernel, variant: {}, args: { y, rounds, trapAt }, items, itemCost: 2 * rounds },
  ],
});

const numbers = (count: number): Float32Array =>
  Float32Array.from({ length: count }, (_, i) => Math.sin(i * 12.9898) * 43);
const sameBits = (a: Float32Array, b: Float32Array): boolean =>
  Buffer.compare(new Uint8Array(a.buffer), new Uint8Array(b.buffer)) === 0;
const table = Float32Array.of(1, 2, 3, 4);
const scaled = (x: Tensor, factor: number): Tensor => runOp(scale, { x }, { factor, table });
const expectedScale = (x: Float32Array, factor: number): Float32Array =>
  x.map((v, i) => Math.fround(Math.fround(v * Math.fround(factor)) + table[(i >> 2) % 4]!));

test('runs an op with a table, a scalar and scratch; the table may change after the call', async () => {
  const wasm = device();
  const data = numbers(1001);
  const x = wasm.tensor(data, [1001], 'f32');
  const own = table.slice();
  const y = runOp(scale, { x }, { factor: 0.1, table: own });
  own.fill(99);
  expect(await y.read()).toEqual(expectedScale(data, 0.1));
});

test('keeps the order of writes, ops, copies and reads over recycled memory', async () => {
  const wasm = device();
  const first = numbers(4096);
  const x = wasm.tensor(first, [4096], 'f32');
  const y = scaled(x, 2);
  x.dispose();
  // Takes the place of x while the op on x has not run yet.
  const other = wasm.tensor(new Float32Array(4096).fill(7), [4096], 'f32');
  const z = scaled(other, 3);
  const half = z.slice(0, 2048);
  wasm.copyBuffer(half.buffer, 0, y.buffer, 0, 4);
  other.writeBytes(new Uint8Array(Float32Array.of(5).buffer), 4);
  const results = await Promise.all([y.read(), z.read(), other.read()]);
  const expected = expectedScale(first, 2);
  expected[0] = 22;
  expect(results[0]).toEqual(expected);
  expect(results[1]).toEqual(expectedScale(new Float32Array(4096).fill(7), 3));
  expect([...results[2].subarray(0, 3)]).toEqual([7, 5, 7]);
});

test('gives the same bits for any number of threads', async () => {
  const data = numbers(300_000);
  const weight = numbers(512 * 640);
  const results: Float32Array[] = [];
  for (const threads of [1, 2, 3, 5]) {
    const wasm = device({ threads });
    expect(wasm.info.limits['threads']).toBe(threads);
    const x = wasm.tensor(data, [data.length], 'f32');
    const y = scaled(scaled(x, 1.1), 0.3);
    const w = wasm.tensor(weight, [512, 640], 'f32');
    const sums = runOp(rowSum, { x: x.slice(0, 640), weight: w }, { streamed: true });
    results.push(await y.toFloat32(), await sums.toFloat32());
  }
  for (let i = 2; i < results.length; i++) expect(sameBits(results[i]!, results[i % 2]!)).toBe(true);
});

test('several threads do share the work', async () => {
  const wasm = device({ threads: 4 });
  const x = wasm.tensor(new Float32Array(4), [4], 'f32');
  // Warm up: workers need a moment to start.
  await new Promise((resolve) => setTimeout(resolve, 300));
  // Each thread's scratch is its own, so the addresses that were written tell who took part.
  const kernel = wasmKernel({
    name: 'test.who',
    args: { y: 'ptr', rounds: 'i32' },
    body(k, { begin, end, scratch, y, rounds }) {
      k.forRange(begin, end, 1, (item) => {
        const n = k.var(I32.of(0));
        k.while(
          () => n.ltU(rounds),
          () => n.set(n.add(1)),
        );
        k.store(y.add(item.shl(2)), scratch);
      });
    },
  });
  const who = defineOp<OpTypes<{ x: Tensor }>>({
    ...unused,
    name: 'who',
    infer: () => ({ shape: [400], dtype: 'i32' }),
    wasm: ({ y }) => [
      {
        kernel,
        variant: {},
        args: { y, rounds: 2_000_000 },
        items: 400,
        itemCost: 4e6,
        scratchBytes: 64,
      },
    ],
  });
  const y = runOp(who, { x }, {});
  expect(new Set(await y.read()).size).toBe(4);
});

test.each([1, 3])('weights outside the heap give the same bits, %d threads', async (threads) => {
  const rows = 333;
  const columns = 2048;
  const weight = numbers(rows * columns);
  const x = numbers(columns);
  const results: Float32Array[] = [];
  for (const external of [false, true]) {
    const wasm = device(external ? { threads, heapWeightLimit: 0, smallestExternal: 0 } : { threads });
    const w = wasm.tensor(weight, [rows, columns], 'f32', { weight: true });
    expect(wasm.memory().reserved > 4 * weight.length).toBe(true);
    expect(w.buffer.constructor.name).toBe(external ? 'ExternalBuffer' : 'HeapBuffer');
    const xs = wasm.tensor(x, [columns], 'f32');
    for (const streamed of [true, false]) {
      const y = runOp(rowSum, { x: xs, weight: w }, { streamed });
      const part = runOp(rowSum, { x: xs, weight: w.slice(100, 301) }, { streamed });
      const all = await y.toFloat32();
      expect(await part.toFloat32()).toEqual(all.slice(100, 301));
      results.push(all);
    }
    expect(sameBits(await w.read(), weight)).toBe(true);
    w.dispose();
    await wasm.sync();
  }
  for (const result of results) expect(sameBits(result, results[0]!)).toBe(true);
});

test('external buffers span chunks', () => {
  const buffer = ExternalBuffer.allocate(1, 1000, true, 64);
  const bytes = Uint8Array.from({ length: 700 }, (_, i) => i * 7);
  buffer.write(123, bytes);
  const back = new Uint8Array(500);
  buffer.copyTo(200, back);
  expect(back).toEqual(bytes.slice(77, 577));
});

test.each([1, 2])('an abort stops a long op soon, %d threads', async (threads) => {
  const wasm = device({ threads });
  const x = wasm.tensor(new Float32Array(4), [4], 'f32');
  runOp(spin, { x }, { items: 100_000, rounds: 100_000, trapAt: -1 });
  const after = runOp(spin, { x }, { items: 1, rounds: 1, trapAt: -1 });
  const controller = new AbortController();
  let aborted = 0;
  setTimeout(() => {
    aborted = performance.now();
    controller.abort(new Error('enough'));
  }, 100);
  await expect(wasm.sync(controller.signal)).rejects.toThrow('enough');
  // A slice takes 15 ms; the rest is for a machine that is busy with other things.
  expect(performance.now() - aborted).toBeLessThan(300);
  // What had not begun is dropped, and the device works on.
  await wasm.sync();
  expect(await scaled(x, 2).read()).toEqual(Float32Array.of(1, 1, 1, 1));
  expect(after.disposed).toBe(false);
});

test.each([1, 3])('a trap surfaces with the name of the op, %d threads', async (threads) => {
  const wasm = device({ threads });
  const x = wasm.tensor(new Float32Array(4), [4], 'f32');
  for (const trapAt of [0, 777, 999]) {
    runOp(spin, { x }, { items: 1000, rounds: 20_000, trapAt });
    await expect(wasm.sync()).rejects.toThrow(/^spin: wasm kernel test\.spin failed: .*unreachable/);
  }
  runOp(spin, { x }, { items: 1000, rounds: 1000, trapAt: 0 });
  await expect(x.read()).rejects.toThrow(/unreachable/);
  expect(await scaled(x, 2).read()).toEqual(Float32Array.of(1, 1, 1, 1));
});

test('a kernel that does not compile is an error of its op', async () => {
  const wasm = device();
  const x = wasm.tensor(new Float32Array(4), [4], 'f32');
  const broken = defineOp<OpTypes<{ x: Tensor }>>({
    ...unused,
    name: 'broken',
    infer: ({ x: spec }) => spec,
    wasm: () => [
      {
        kernel: { name: 'test.broken', args: {}, build: () => Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 9) },
        variant: {},
        args: {},
        items: 1,
        itemCost: 1,
      },
    ],
  });
  runOp(broken, { x }, {});
  await expect(wasm.sync()).rejects.toThrow(/test\.broken.* does not compile/);
});

test('missing and unknown arguments are refused', () => {
  const wasm = device();
  const x = wasm.tensor(new Float32Array(4), [4], 'f32');
  for (const [args, message] of [
    [{ x, factor: 1, table }, /argument y is missing/],
    [{ x, y: x, factor: 1, table, z: 1 }, /has no argument z/],
  ] as const) {
    const wrong = defineOp<OpTypes<{ x: Tensor }>>({
      ...unused,
      name: 'wrong',
      infer: ({ x: spec }) => spec,
      wasm: () => [{ kernel: scaleKernel, variant: {}, args, items: 1, itemCost: 1, scratchBytes: 16 }],
    });
    expect(() => runOp(wrong, { x }, {})).toThrow(message);
  }
});

test('an op without a wasm version says so', () => {
  const wasm = device();
  const x = wasm.tensor(new Float32Array(4), [4], 'f32');
  const missing = defineOp<OpTypes<{ x: Tensor }>>({ ...unused, name: 'missing', infer: ({ x: spec }) => spec });
  expect(() => runOp(missing, { x }, {})).toThrow(new OpError('missing', 'has no wasm version'));
  expect(wasm.memory().tensors).toBe(1);
});

test('memory: counters, budget, limits', () => {
  const wasm = device({ memoryBudget: 1000 * 64 });
  const { inUse } = wasm.memory();
  const x = wasm.empty([999, 16], 'f32');
  expect(wasm.memory()).toMatchObject({ inUse: inUse + 999 * 64, peak: 999 * 64, tensors: 1 });
  expect(wasm.memory().reserved).toBeGreaterThanOrEqual(999 * 64);
  expect(() => wasm.empty([17], 'f32')).toThrow(OutOfMemoryError);
  expect(() => wasm.empty([1001, 16], 'f32')).toThrow(TensorTooLargeError);
  x.dispose();
  expect(wasm.memory()).toMatchObject({ inUse: 0, tensors: 0 });

  const unlimited = device();
  expect(() => unlimited.empty([5, 2 ** 28], 'f32')).toThrow(/5368709120 bytes can never fit the wasm heap/);
  // Wasm memory is only reserved until it is touched: growing to 4 GiB takes no memory here.
  const large = unlimited.empty([3, 2 ** 28], 'f32');
  expect(() => unlimited.empty([2 ** 28], 'f32')).toThrow(/heap has 3221225472 of 429\d+ bytes in use/);
  const weight = unlimited.empty([2 ** 28], 'f32', { weight: true });
  expect(weight.buffer).toBeInstanceOf(ExternalBuffer);
  large.dispose();
  weight.dispose();
});

test('addresses above 2 GiB work', async () => {
  const wasm = device({ threads: 2 });
  const below = wasm.empty([9, 2 ** 28], 'u8');
  const data = numbers(100_000);
  const x = wasm.tensor(data, [data.length], 'f32');
  expect(await scaled(x, 3).read()).toEqual(expectedScale(data, 3));
  below.dispose();
});

test('guard bytes: fresh tensors are NaN, writes behind them are seen', async () => {
  const wasm = device({ guardBytes: 64 });
  const x = wasm.empty([16], 'f32');
  expect([...(await x.read())].every(Number.isNaN)).toBe(true);
  expect(await wasm.guardDamage(x)).toBeUndefined();
  wasm.writeBuffer(x.buffer, 70, Uint8Array.of(1));
  expect(await wasm.guardDamage(x)).toMatch(/overrun: byte 7 behind/);
});

test('refuses bad thread counts and use after dispose', async () => {
  for (const threads of [0, -1, 1.5, 1000, NaN]) expect(() => device({ threads })).toThrow(/threads/);
  const wasm = device({ threads: 2 });
  const x = wasm.tensor(new Float32Array(4), [4], 'f32');
  runOp(spin, { x }, { items: 100_000, rounds: 100_000, trapAt: -1 });
  const running = wasm.sync();
  await new Promise((resolve) => setTimeout(resolve, 50));
  await Promise.all([expect(running).rejects.toThrow(DeviceLostError), wasm.dispose()]);
  expect(() => wasm.empty([4], 'f32')).toThrow(DeviceLostError);
  x.dispose();
});

test('Device.open', async () => {
  const wasm = await Device.open({ backend: 'wasm', threads: 1, memoryBudget: 1 << 20 });
  expect(wasm.backend).toBe('wasm');
  expect(wasm.info).toMatchObject({ name: 'WebAssembly SIMD, 1 thread', reason: 'asked for' });
  expect(() => wasm.empty([2 ** 20], 'f32')).toThrow(TensorTooLargeError);
  await wasm.dispose();
});

// The program is compiled as text for Node: an own process must end by itself while workers sleep.
test('a program that forgets to dispose ends by itself', async () => {
  const packageRoot = fileURLToPath(new URL('../..', import.meta.url));
  const out = await mkdtemp(join(packageRoot, 'node_modules', '.exit-test-'));
  try {
    const sources = await readdir(join(packageRoot, 'src'), { recursive: true });
    for (const file of sources.filter((path) => path.endsWith('.ts') && !path.endsWith('.test.ts'))) {
      const text = await readFile(join(packageRoot, 'src', file), 'utf8');
      const { outputText } = ts.transpileModule(text, {
        compilerOptions: {
          target: ts.ScriptTarget.ES2022,
          module: ts.ModuleKind.ESNext,
          rewriteRelativeImportExtensions: true,
        },
      });
      await mkdir(dirname(join(out, file)), { recursive: true });
      await writeFile(join(out, file.replace(/\.ts$/, '.js')), outputText);
    }
    await writeFile(join(out, 'package.json'), '{ "type": "module" }');
    await writeFile(
      join(out, 'main.js'),
      `import { Device } from './device.js';
       const device = await Device.open({ backend: 'wasm', threads: 3 });
       const x = device.tensor([1, 2, 3], [3], 'f32');
       console.log([...(await x.read())].join());
       await new Promise((resolve) => setTimeout(resolve, 200));
       console.log('end');`,
    );
    const { stdout } = await promisify(execFile)(process.execPath, [join(out, 'main.js')], { timeout: 20_000 });
    expect(stdout.trim().split('\n')).toEqual(['1,2,3', 'end']);
  } finally {
    await rm(out, { recursive: true });
  }
});
