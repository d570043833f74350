import { describe, expect, test } from 'vitest';
import { Device } from './device.ts';
import { MetaDevice } from './meta/device.ts';
import { defineOp, runOp } from './op.ts';
import type { OpTypes } from './op.ts';
import { chromeTrace, opTotals, profileTable } from './profile.ts';
import type { Profile } from './profile.ts';
import { elementCount } from './shape.ts';
import type { Tensor } from './tensor.ts';

const doubleOp = defineOp<OpTypes<{ x: Tensor }>>({
  name: 'double',
  infer: ({ x }) => x,
  cost: ({ x }) => ({ flops: elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
  reference({ inputs: { x }, y }) {
    y.data.set(x.data.map((value) => 2 * value));
  },
  wasm: () => [],
  cases: [],
});
const double = (x: Tensor): Tensor => runOp(doubleOp, { x }, {});

const PROFILE: Profile = {
  clock: 'host',
  milliseconds: 10,
  ops: [
    { op: 'double', stage: 'first', start: 1, milliseconds: 1, flops: 2e6, bytes: 4e6 },
    { op: 'linear', stage: 'first', start: 2, milliseconds: 3, flops: 6e6, bytes: 3e6 },
    { op: 'double', stage: 'first', start: 5, milliseconds: 1, flops: 2e6, bytes: 4e6 },
    { op: 'double', stage: 'second', start: 7, milliseconds: 0, flops: 2e6, bytes: 4e6 },
  ],
  stages: [
    { stage: 'first', start: 0, milliseconds: 6 },
    { stage: 'second', start: 6, milliseconds: 4 },
  ],
};

describe('profile', () => {
  test('tells the time, stage and cost of every call on the reference device', async () => {
    await using device = await Device.open({ backend: 'reference' });
    using x = device.tensor([1, 2, 3], [3], 'f32');
    device.mark('outside: nothing listens');
    const { clock, ops, stages, milliseconds } = await device.profile(async () => {
      double(x).dispose();
      await device.sync();
      device.mark('later');
      double(x).dispose();
      double(x).dispose();
    });
    expect(clock).toBe('host');
    expect(ops.map(({ op, stage, flops, bytes }) => [op, stage, flops, bytes])).toEqual([
      ['double', '', 3, 24],
      ['double', 'later', 3, 24],
      ['double', 'later', 3, 24],
    ]);
    for (const time of ops) {
      expect(time.milliseconds).toBeGreaterThan(0);
      expect(time.start).toBeGreaterThanOrEqual(0);
    }
    expect(stages.map(({ stage }) => stage)).toEqual(['', 'later']);
    expect(stages.reduce((sum, stage) => sum + stage.milliseconds, 0)).toBeCloseTo(milliseconds, 6);
    double(x).dispose();
    expect((await device.profile(() => undefined)).ops).toEqual([]);
  });

  test('counts calls and costs on the meta device', async () => {
    const device = new MetaDevice({ as: 'wasm' });
    const x = device.zeros([1024], 'f32');
    const profile = await device.profile(() => double(x));
    expect(profile.clock).toBe('not computed');
    expect(opTotals(profile)).toEqual([
      { stage: '', op: 'double', calls: 1, milliseconds: 0, flops: 1024, bytes: 8192 },
    ]);
  });

  test('is taken once at a time, and ends with what its body throws', async () => {
    await using device = await Device.open({ backend: 'reference' });
    const again = device.profile(() => device.profile(() => undefined));
    await expect(again).rejects.toThrow('profile: one is being taken on this device');
    expect((await device.profile(() => undefined)).ops).toEqual([]);
  });

  test('refuses what is no body and no name, and a device that was disposed', async () => {
    await using device = await Device.open({ backend: 'reference' });
    await expect(device.profile(5 as never)).rejects.toThrow(/^profile: a function expected, got 5$/);
    expect(() => device.mark(5 as never)).toThrow(/^mark: the name of a stage expected, got 5$/);
    const meta = new MetaDevice({ as: 'wasm' });
    await meta.dispose();
    await expect(meta.profile(() => undefined)).rejects.toThrow(/^meta: the device was disposed$/);
    expect(() => meta.empty([1], 'f32')).toThrow(/^meta: the device was disposed$/);
  });

  test('adds up by stage and op, the dearest first', () => {
    expect(opTotals(PROFILE).map(({ stage, op, calls, milliseconds }) => [stage, op, calls, milliseconds])).toEqual([
      ['first', 'linear', 1, 3],
      ['first', 'double', 2, 2],
      ['second', 'double', 1, 0],
    ]);
    expect(profileTable(PROFILE).split('\n')).toEqual([
      'first: 6.0 ms, 5.0 ms in ops',
      'op                     calls   total ms   mean ms    share  GFLOP/s    GB/s',
      'linear                     1        3.0     3.000   60.0 %     2.00    1.00',
      'double                     2        2.0     1.000   40.0 %     2.00    4.00',
      '',
      'second: 4.0 ms, 0.0 ms in ops',
      'op                     calls   total ms   mean ms    share  GFLOP/s    GB/s',
      'double                     1        0.0     0.000    0.0 %        -       -',
      '',
      'in all: 10.0 ms, 5.0 ms in ops; clock of the ops: host',
    ]);
  });

  test('is a trace of two tracks, in microseconds', () => {
    const { traceEvents } = chromeTrace(PROFILE) as { traceEvents: { ph: string; tid: number; ts: number }[] };
    expect(traceEvents.filter(({ ph }) => ph === 'X').map(({ tid, ts }) => [tid, ts])).toEqual([
      [1, 0],
      [1, 6000],
      [2, 1000],
      [2, 2000],
      [2, 5000],
      [2, 7000],
    ]);
  });
});
