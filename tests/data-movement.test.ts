// What the case tables of the data-movement ops cannot say: tables outside the wasm heap, ids outside the table, and every
// rounding boundary of the narrow float types.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cast, embedding } from '@magi1/kernels';
import { fromFloat32, toFloat32 } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import { WasmDevice } from '../packages/tensor/src/wasm/device.ts';
import { testDevices } from './support/devices.ts';

/** f32 numbers around every value of a narrow type and around the middle between neighbours, of either sign. */
function boundaries(dtype: 'f16' | 'bf16' | 'f8e4m3fn'): Float32Array {
  const values: number[] = [];
  const bits = new Uint32Array(1);
  const float = new Float32Array(bits.buffer);
  const around = (value: number) => {
    float[0] = value;
    const middle = bits[0]!;
    for (const step of [-1, 0, 1]) {
      bits[0] = middle + step;
      values.push(float[0], -float[0]);
    }
  };
  const count = dtype === 'f8e4m3fn' ? 0x7f : dtype === 'f16' ? 0x7c00 : 0x7f80;
  const raw = Array.from({ length: count }, (_, i) => i).filter((i) => dtype === 'f8e4m3fn' || i % 7 === 0 || i < 40);
  const codes = raw.flatMap((i) => [i, Math.min(i + 1, count - 1)]);
  const wide = toFloat32(dtype, dtype === 'f8e4m3fn' ? Uint8Array.from(codes) : Uint16Array.from(codes));
  for (let i = 0; i < wide.length; i += 2) {
    around(wide[i]!);
    around((wide[i]! + wide[i + 1]!) / 2);
  }
  values.push(Infinity, -Infinity, NaN, 464, 464.00003, 479, 480, 65519.996, 65520, 3.4028234663852886e38);
  return Float32Array.from(values);
}

const devices = testDevices();

for (const { name, open } of devices) {
  describe(name, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open({ guardBytes: 64 });
    });
    afterAll(() => device.dispose());

    test('the row of an id outside the table is NaN, all others are found', async () => {
      const table = device.tensor([1, 2, 3, 4, 5, 6, 7, 8, 9], [3, 3], 'f32');
      const ids = device.tensor([2, -1, 0, 3, 2], [5], 'i32');
      const got = await embedding(ids, table).read();
      expect([...got]).toEqual([7, 8, 9, NaN, NaN, NaN, 1, 2, 3, NaN, NaN, NaN, 7, 8, 9]);
    });

    test.each(['f16', 'bf16', 'f8e4m3fn'] as const)('f32 to %s rounds to nearest even everywhere', async (dtype) => {
      const values = boundaries(dtype);
      const x = device.tensor(values, [values.length], 'f32');
      const got = toFloat32(dtype, await cast(x, dtype).read());
      const want = toFloat32(dtype, fromFloat32(dtype, values));
      const wrong = [...values].filter((_, i) => !Object.is(got[i], want[i]));
      expect(wrong.slice(0, 10)).toEqual([]);
    });
  });
}

test('wasm embedding reads a table outside the heap', async () => {
  const device = new WasmDevice({ reason: 'test', guardBytes: 64, heapWeightLimit: 0, smallestExternal: 64 });
  try {
    const data = Float32Array.from({ length: 400 * 33 }, (_, i) => i % 251);
    const table = device.tensor(fromFloat32('bf16', data), [400, 33], 'bf16', { weight: true });
    const ids = device.tensor([399, 0, 17, 17, 400], [5], 'i32');
    const got = await embedding(ids, table).read();
    const want = [399, 0, 17, 17].flatMap((id) => [...data.subarray(33 * id, 33 * id + 33)]);
    expect([...got]).toEqual([...want, ...new Array<number>(33).fill(NaN)]);
  } finally {
    await device.dispose();
  }
});
