// Layers with q8 and q4 weights against NumPy in float64 (tests/files/quantized-layers.py), on every device.
import { geluTanh, linear, mul } from '@magi1/kernels';
import { openFile, readNpz } from '@magi1/loaders';
import { scope } from '@magi1/tensor';
import type { Device, HostTensor, Tensor } from '@magi1/tensor';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testDevices } from './support/devices.ts';
import { relativeL2 } from './support/distance.ts';

const source = await openFile(join(import.meta.dirname, 'files', 'quantized-layers.npz'));
const arrays = await readNpz(source);
await source.close();
const array = (name: string): HostTensor => arrays.get(name)!;

const names = [...arrays.keys()].filter((name) => name.endsWith('.y')).map((name) => name.slice(0, -2));
const dtypeOf = (name: string) => (name.includes('q8') ? 'q8' : 'q4');

test('there are linear layers of one and of several rows, and a feed-forward, of both types', () => {
  expect(names.map((name) => name.replace(/\.\d+x/, '.x'))).toEqual(
    [8, 4].flatMap((bits) => [`linear.q${bits}.x64`, `linear.q${bits}.x320`, `linear.q${bits}.x576`, `t5.q${bits}`]),
  );
});

for (const { name: deviceName, open } of testDevices()) {
  describe(deviceName, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open();
    });
    afterAll(async () => {
      expect(device.memory().tensors).toBe(0);
      await device.dispose();
    });

    test.each(names)('%s', async (name) => {
      const floats = (part: string) => {
        const { shape, data } = array(`${name}.${part}`);
        return device.tensor(data as Float32Array, shape, 'f32');
      };
      const weight = (part: string) => {
        const dtype = dtypeOf(name);
        const { shape, data } = array(`${name}.${part}`);
        const inputs = (shape[1]! / (dtype === 'q8' ? 68 : 36)) * 64;
        return device.tensor(data as Uint8Array, [shape[0]!, inputs], dtype);
      };
      const y: Tensor = scope(() => {
        const x = floats('x');
        if (name.startsWith('linear')) return linear(x, weight('weight'), { bias: floats('bias') });
        return linear(mul(geluTanh(linear(x, weight('wi_0'))), linear(x, weight('wi_1'))), weight('wo'));
      });
      const wanted = array(`${name}.y`);
      expect(y.shape).toEqual(wanted.shape);
      expect(relativeL2(await y.toFloat32(), wanted.data)).toBeLessThan(1e-6);
      y.dispose();
    });
  });
}
