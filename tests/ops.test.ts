// Every op, every case of its table, every device. MAGI1_OP=linear,rope runs the rooms named only.
import { readdirSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { affineOp } from '@magi1/kernels';
import { Device } from '@magi1/tensor';
import type { AnyCase, AnyOp } from '@magi1/tensor';
import { kernelsFolder, loadOps, rooms } from './support/all-ops.ts';
import { testDevices } from './support/devices.ts';
import { checkCase } from './support/op-cases.ts';

const GUARD_BYTES = 64;
const RANDOM_RUNS = 6;

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

for (const { name, open } of devices) {
  describe(name, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open({ guardBytes: GUARD_BYTES });
    });
    afterAll(() => device.dispose());

    for (const op of ops) {
      const backend = name === 'wasm' ? 'wasm' : 'webgpu';
      test(`${op.name} has a ${backend} version`, () => {
        expect(typeof op[backend]).toBe('function');
      });
      if (op[backend] === undefined) continue;
      for (const opCase of casesOf(op)) {
        test(`${op.name} ${opCase.name}`, () => checkCase(op, opCase, device));
      }
      if (op.randomCase === undefined) continue;
      test(`${op.name} random cases`, async () => {
        await fc.assert(
          fc.asyncProperty(fc.array(fc.nat(), { minLength: 48, maxLength: 48 }), async (source) => {
            let next = 0;
            const random = (below: number) => (source[next++] ?? 0) % below;
            await checkCase(op, op.randomCase!(random) as AnyCase, device);
          }),
          { numRuns: RANDOM_RUNS, seed: Number(process.env['MAGI1_FUZZ_SEED'] ?? 1), endOnFailure: true },
        );
      });
    }
  });
}

function casesOf(op: AnyOp): readonly AnyCase[] {
  return (op.cases as readonly AnyCase[]).filter((opCase) => opCase.benchmarkOnly !== true);
}
