// Every op, every case of its table, every device. MAGI1_OP=linear,rope runs the rooms named only.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { affineOp, matmul } from '@magi1/kernels';
import { Device, MetaDevice } from '@magi1/tensor';
import type { AnyCase, AnyOp } from '@magi1/tensor';
import { GUARD_BYTES, checkCase, opChecks } from '@magi1/tensor/checks';
import { kernelsFolder, loadOps, rooms } from './support/all-ops.ts';
import { testDevices } from './support/devices.ts';
import { CAPABILITIES } from './support/programs.ts';

const seed = Number(process.env['MAGI1_FUZZ_SEED'] ?? 1);

/** What an op needs whole in one binding: one row of numbers for all others, but for b and relativeBias. */
const WHOLE: Readonly<Record<string, readonly string[]>> = {
  attention: ['cachedK', 'cachedV', 'relativeBias'],
  gatedResidual: ['weight', 'bias'],
  layerNorm: ['weight', 'bias'],
  linear: ['bias'],
  matmul: ['b'],
  qkNorm: ['weight', 'bias'],
  quantize: ['scale'],
  rmsNorm: ['weight'],
};

const ops = await loadOps();
const devices = testDevices();

test('every room exports an op', () => {
  expect(ops.length).toBeGreaterThan(0);
  expect(new Set(ops.map((op) => op.name)).size).toBe(ops.length);
  if (rooms !== undefined) return;
  const folders = readdirSync(join(kernelsFolder, 'src'), { withFileTypes: true }).filter(
    (entry) => entry.isDirectory() && entry.name !== 'support',
  );
  // copyRows is a copy of the device, no op.
  expect(ops.length).toBeGreaterThanOrEqual(folders.length - 1);
});

test('a wrong element is named: its place, what it is and what it must be', async () => {
  await using device = await Device.open({ backend: 'wasm', threads: 1 });
  const opCase = (tolerance?: number): AnyCase => ({
    name: 'wrong',
    inputs: { x: { shape: [2, 3, 4], dtype: 'f32', fill: { kind: 'values', values: [...Array(24).keys()] } } },
    params: { scale: 2, shift: 0 },
    ...(tolerance === undefined ? {} : { tolerance }),
  });
  const withWrong = (value: number): AnyOp => ({
    ...affineOp,
    reference({ inputs: { x }, y }) {
      y.data.set(x!.data.map((v) => 2 * v));
      y.data[18] = value;
    },
  });
  await expect(checkCase(withWrong(37), opCase(), device)).rejects.toThrow(
    /^y\[1,1,2\] is 36, must be 37; relative L2 error/,
  );
  await expect(checkCase(withWrong(NaN), opCase(), device)).rejects.toThrow('y[1,1,2] is 36, must be NaN');
  await expect(checkCase(withWrong(37), opCase(0), device)).rejects.toThrow('y[1,1,2] is 36, must be exactly 37');
});

test('what is needed whole and too large is refused in a plan as on the device', () => {
  const meta = new MetaDevice({ as: 'webgpu', capabilities: { ...CAPABILITIES['gpu']!, maxBindingBytes: 4096 } });
  const [a, b] = [meta.empty([3, 100], 'f32'), meta.empty([100, 11], 'f32')];
  expect(() => matmul(a, b)).toThrow(
    /^matmul: binding b of program \w+ \(f32\[100,11\]\) of 4400 bytes exceeds the adapter's largest binding of 4096 bytes$/,
  );
});

for (const { name, open } of devices) {
  describe(name, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open({ guardBytes: GUARD_BYTES });
    });
    afterAll(() => device.dispose());

    for (const op of ops)
      for (const check of opChecks(op, name === 'wasm' ? 'wasm' : 'webgpu', { seed, whole: WHOLE[op.name] }))
        test(check.name, () => check.run(device));
  });
}
