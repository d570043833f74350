// What the case tables of the data-movement ops cannot say: tensors larger than one binding, tables outside the wasm heap,
// ids outside the table, and every rounding boundary of the narrow float types.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { cast, castOp, concatOp, embedding, embeddingOp, narrowOp, patchifyOp, permuteOp } from '@magi1/kernels';
import { fromFloat32, toFloat32 } from '@magi1/tensor';
import type { AnyCase, AnyOp, Device, FloatDType } from '@magi1/tensor';
import { WasmDevice } from '../packages/tensor/src/wasm/device.ts';
import { testDevices } from './support/devices.ts';
import { checkCase } from './support/op-cases.ts';

const matrix = (name: string, shape: number[], params: object, dtype: FloatDType = 'f32'): AnyCase => ({
  name,
  inputs: { x: { shape, dtype } },
  params,
  tolerance: 0,
});

/** Calls with tensors of more than `BINDING` bytes, each of which must take several dispatches. */
const BINDING = 4096;
const large: [AnyOp, AnyCase][] = [
  [permuteOp, matrix('permute', [70, 9, 5], { axes: [0, 2, 1] })],
  [narrowOp, matrix('narrow', [100, 21], { axis: 1, start: 3, length: 11 })],
  [narrowOp, matrix('narrow.first', [5000], { axis: 0, start: 77, length: 4900 })],
  [concatOp, { name: 'concat', inputs: parts([60, 13], [60, 22]), params: { axis: 1 }, tolerance: 0 }],
  [concatOp, { name: 'concat.first', inputs: parts([333, 5], [400, 5]), params: { axis: 0 }, tolerance: 0 }],
  [patchifyOp, matrix('patchify', [1, 1, 40, 6, 8], { patch: [1, 2, 2] })],
  [castOp, matrix('cast', [2500], { to: 'f8e4m3fn' })],
  [castOp, matrix('cast.back', [2501], { to: 'f32' }, 'bf16')],
  [
    embeddingOp,
    {
      name: 'embedding',
      inputs: {
        ids: { shape: [30], dtype: 'i32', fill: { kind: 'integers', below: 301 } },
        table: { shape: [301, 10], dtype: 'bf16' },
      },
      params: {},
      tolerance: 0,
    },
  ],
];

function parts(...shapes: number[][]): AnyCase['inputs'] {
  return Object.fromEntries(shapes.map((shape, i) => [String(i), { shape, dtype: 'f32' as const }]));
}

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

    if (name === 'wasm') return;
    test.each(large)('$name in pieces: %o', async (op, opCase) => {
      let dispatches = 0;
      const webgpu: AnyOp['webgpu'] = (call, capabilities) => {
        const all = op.webgpu!(call, { ...capabilities, maxBindingBytes: BINDING });
        dispatches += all.length;
        return all;
      };
      await checkCase({ ...op, webgpu }, opCase, device);
      expect(dispatches).toBeGreaterThan(op === concatOp ? 2 : 1);
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
