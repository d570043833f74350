// Tensors, views, scopes and the reference device.
import { beforeEach, describe, expect, test } from 'vitest';
import { Device, defineOp, keep, Magi1Error, OpError, OutOfMemoryError, runOp, scope } from './index.ts';
import type { OpTypes, Tensor } from './index.ts';

const doubleOp = defineOp<OpTypes<{ x: Tensor }, { fail?: boolean }>>({
  name: 'double',
  infer({ x }, { fail }) {
    if (x.dtype !== 'f32') throw new OpError('double', `x must be f32, got ${x.dtype}`);
    if (fail) throw new OpError('double', 'was told to fail');
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: () => ({ flops: 0, bytes: 0 }),
  reference({ inputs: { x }, y }) {
    x.data.forEach((value, i) => (y.data[i] = 2 * value));
  },
  cases: [],
});
const double = (x: Tensor): Tensor => runOp(doubleOp, { x }, {});

let device: Device;
beforeEach(async () => {
  device = await Device.open({ backend: 'reference' });
});

describe('tensors', () => {
  test('round trips of every dtype', async () => {
    for (const dtype of ['f32', 'f16', 'bf16', 'f8e4m3fn', 'i32', 'u32', 'u8', 'bool'] as const) {
      const tensor = device.tensor([0, 1, 1, 0], [2, 2], dtype);
      expect([...(await tensor.toFloat32())]).toEqual([0, 1, 1, 0]);
      expect(tensor.rank).toBe(2);
    }
  });

  test.each(['q8', 'q4'] as const)('%s: rows are whole groups', async (dtype) => {
    const values = Array.from({ length: 3 * 128 }, (_, i) => ((i * 7) % 15) - 7);
    const x = device.tensor(values, [3, 128], dtype);
    expect(x.byteLength).toBe(3 * (dtype === 'q8' ? 136 : 72));
    const all = await x.toFloat32();
    expect(await device.tensor(await x.read(), [3, 128], dtype).toFloat32()).toEqual(all);
    const rows = x.slice(1, 3);
    expect([rows.byteOffset, rows.byteLength]).toEqual([x.byteLength / 3, (x.byteLength / 3) * 2]);
    expect(await rows.toFloat32()).toEqual(all.slice(128));
    expect(await x.reshape([6, -1]).slice(3, 4).toFloat32()).toEqual(all.slice(192, 256));
    expect(await x.reshape([1, 3, 128]).toFloat32()).toEqual(all);
    expect(device.empty([2, 4, 2, 4, 4], dtype).byteLength).toBe(2 * (dtype === 'q8' ? 136 : 72));
    expect(device.empty([0, 64], dtype).byteLength).toBe(0);
    const rule = 'rows (all axes but the first) of ' + dtype + ' must be a multiple of 64 elements';
    expect(() => x.reshape([12, 32])).toThrow(`reshape: ${rule}, got ${dtype}[12,32]`);
    expect(() => device.empty([4, 65], dtype, { name: 'a.weight' })).toThrow(`a.weight: ${rule}, got ${dtype}[4,65]`);
    expect(() => device.empty([64], dtype)).toThrow(rule);
    expect(() => device.tensor(new Uint8Array(100), [1, 64], dtype)).toThrow(/needs (68|36) bytes, got 100 of 1/);
    expect(() => device.tensor([1], [1, 1], dtype)).toThrow(rule);
  });

  test('bytes are given back, come again, and go from one tensor to another', async () => {
    const before = device.memory();
    const x = device.tensor([1, 2, 3, 4], [2, 2], 'f32', { weight: true });
    const view = x.reshape([4]);
    const y = device.absent([4], 'f32');
    expect([x.resident, view.resident, y.resident]).toEqual([true, true, false]);
    expect(device.memory().inUse - before.inUse).toBe(16);
    expect(() => y.buffer).toThrow('f32[4] was used while its bytes are not on the device');
    y.takeBytes(x);
    expect([x.resident, view.resident, y.resident]).toEqual([false, false, true]);
    expect(await y.toFloat32()).toEqual(Float32Array.of(1, 2, 3, 4));
    expect(() => double(view)).toThrow('while its bytes are not on the device');
    expect(() => y.takeBytes(x)).toThrow('has its bytes');
    const longer = device.absent([5], 'f32');
    expect(() => longer.takeBytes(y)).toThrow('f32[4] has not the bytes of f32[5]');
    y.evict();
    expect(device.memory()).toMatchObject({ inUse: before.inUse, reserved: before.reserved });
    x.restore({ weight: true });
    x.writeBytes(new Uint8Array(Float32Array.of(5, 6, 7, 8).buffer));
    expect(await view.toFloat32()).toEqual(Float32Array.of(5, 6, 7, 8));
    expect(() => x.restore()).toThrow('has its bytes');
    x.evict();
    for (const tensor of [x, view, y, longer]) tensor.dispose();
    expect(() => x.restore()).toThrow('after it was disposed');
    expect(device.memory()).toMatchObject({ inUse: before.inUse, tensors: before.tensors });
  });

  test('a budget holds for bytes that come again', async () => {
    await using small = await Device.open({ backend: 'reference', memoryBudget: 64 });
    const x = small.absent([16], 'f32');
    const y = small.empty([1], 'f32');
    expect(() => x.restore({ name: 'a weight' })).toThrow(OutOfMemoryError);
    expect(x.resident).toBe(false);
    y.evict();
    x.restore();
    expect(small.memory().inUse).toBe(64);
  });

  test('bytes in host memory are written where they lie', async () => {
    for (const backend of ['reference', 'wasm'] as const) {
      await using other = await Device.open({ backend });
      using x = other.zeros([4, 4], 'u8');
      await other.sync();
      x.slice(1, 3).hostBytes()!.fill(7);
      expect([...(await x.read())]).toEqual([0, 0, 0, 0, 7, 7, 7, 7, 7, 7, 7, 7, 0, 0, 0, 0]);
    }
  });

  test('wrong data is refused with both sizes', () => {
    expect(() => device.tensor([1, 2, 3], [2, 2], 'f32')).toThrow('f32[2,2] needs 4 elements of 4 bytes, got 3 of 4');
    expect(() => device.tensor(new Uint8Array(4) as never, [2, 2], 'f32')).toThrow('got 4 of 1');
    expect(() => device.empty([-1], 'f32')).toThrow(Magi1Error);
    expect(() => device.empty([0.5], 'f32')).toThrow('non-negative integers');
    expect(() => device.empty([2 ** 40, 2 ** 40], 'f32')).toThrow('too many elements');
  });

  test('reshape and slice share storage', async () => {
    const x = device.tensor([0, 1, 2, 3, 4, 5], [2, 3], 'f32');
    expect(x.reshape([3, -1]).shape).toEqual([3, 2]);
    expect(() => x.reshape([4, -1])).toThrow('reshape: f32[2,3] has 6 elements, [4,-1] asked for');
    const row = x.slice(1, 2);
    expect(row.shape).toEqual([1, 3]);
    row.writeBytes(new Uint8Array(Float32Array.of(9).buffer), 4);
    expect([...(await x.read())]).toEqual([0, 1, 2, 3, 9, 5]);
    expect([...(await double(row).read())]).toEqual([6, 18, 10]);
    expect(() => x.slice(1, 3)).toThrow('slice: range 1..3 is outside the first axis of f32[2,3]');
    expect(() => row.writeBytes(new Uint8Array(13))).toThrow('13 bytes at 0 do not fit f32[1,3] of 12 bytes');
  });

  test('storage goes with its last view', () => {
    const x = device.empty([4], 'f32');
    const view = x.slice(1, 3);
    x.dispose();
    x.dispose();
    expect(device.memory()).toMatchObject({ inUse: 16, tensors: 1 });
    expect(() => x.slice(0, 1)).toThrow('f32[4] was used after it was disposed');
    view[Symbol.dispose]();
    expect(device.memory()).toMatchObject({ inUse: 0, peak: 16, tensors: 0 });
    device.resetPeak();
    expect(device.memory().peak).toBe(0);
  });

  test('empty tensors', async () => {
    const x = device.tensor([], [0, 3], 'f32');
    expect((await double(x).read()).length).toBe(0);
    expect(x.slice(0, 0).shape).toEqual([0, 3]);
  });

  test('a memory budget', async () => {
    const small = await Device.open({ backend: 'reference', memoryBudget: 100 });
    small.empty([20], 'f32');
    expect(() => small.empty([10], 'f32')).toThrow(OutOfMemoryError);
  });
});

describe('ops', () => {
  test('errors name the op and leave nothing behind', async () => {
    const x = device.tensor([1], [1], 'i32');
    expect(() => double(x)).toThrow('double: x must be f32, got i32');
    const other = await Device.open({ backend: 'reference' });
    const pair = defineOp<OpTypes<{ a: Tensor; b: Tensor }>>({
      name: 'pair',
      infer: ({ a }) => a,
      cost: () => ({ flops: 0, bytes: 0 }),
      reference: () => undefined,
      cases: [],
    });
    expect(() => runOp(pair, { a: x, b: other.empty([1], 'i32') }, {})).toThrow('input b is on another device');
    const gone = device.empty([1], 'f32');
    gone.dispose();
    expect(() => double(gone)).toThrow('double: input x was disposed');
    expect(device.memory().tensors).toBe(1);
  });

  test('run in order with writes and copies', async () => {
    const x = device.tensor([1, 2], [2], 'f32');
    const y = double(x);
    x.writeBytes(new Uint8Array(8));
    device.copyBuffer(y.buffer, 0, x.buffer, 4, 4);
    expect([...(await y.read())]).toEqual([2, 4]);
    expect([...(await x.read())]).toEqual([0, 2]);
  });

  test('an abort drops what has not begun', async () => {
    const x = device.tensor([1], [1], 'f32');
    double(x);
    await expect(device.sync(AbortSignal.abort(new Error('stop')))).rejects.toThrow('stop');
    expect([...(await double(x).read())]).toEqual([2]);
  });
});

describe('scopes', () => {
  test('free what is not returned, at any depth', () => {
    const x = device.tensor([1], [1], 'f32');
    const result = scope(() => {
      const y = double(x);
      return { list: [scope(() => double(double(y)))], y };
    });
    expect(device.memory().tensors).toBe(3);
    expect(result.y.disposed).toBe(false);
    expect(result.list[0]!.disposed).toBe(false);
  });

  test('free everything when the body throws', () => {
    const x = device.tensor([1], [1], 'f32');
    expect(() =>
      scope(() => {
        double(x);
        runOp(doubleOp, { x }, { fail: true });
      }),
    ).toThrow('told to fail');
    expect(device.memory().tensors).toBe(1);
  });

  test('keep takes a tensor out', () => {
    const kept = scope(() => {
      const tensor = keep(device.empty([1], 'f32'));
      return { deep: new Map([['not looked into', tensor]]) };
    });
    expect(kept.deep.get('not looked into')!.disposed).toBe(false);
    expect(device.liveTensors()).toHaveLength(1);
  });

  test('refuse asynchronous bodies', () => {
    expect(() => scope(() => Promise.resolve(1))).toThrow('must be synchronous');
  });
});
