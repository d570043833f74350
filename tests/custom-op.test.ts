// The ops of examples/custom-op, held to what the ops of @magi1/kernels are held to.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Device, OpError } from '@magi1/tensor';
import type { AnyOp } from '@magi1/tensor';
import { GUARD_BYTES, opChecks } from '@magi1/tensor/checks';
import { prelu, preluOp, softArgmax, softArgmaxOp } from '../examples/custom-op/index.ts';
import { testDevices } from './support/devices.ts';

const ops: readonly AnyOp[] = [preluOp, softArgmaxOp];
const WHOLE = new Map<AnyOp, readonly string[]>([[preluOp, ['slope']]]);

for (const { name, open } of testDevices()) {
  describe(name, () => {
    let device: Device;
    beforeAll(async () => {
      device = await open({ guardBytes: GUARD_BYTES });
    });
    afterAll(() => device.dispose());

    for (const op of ops)
      for (const check of opChecks(op, name === 'wasm' ? 'wasm' : 'webgpu', { whole: WHOLE.get(op) }))
        test(check.name, () => check.run(device));

    if (name === 'wasm') return; // its kernels bind nothing
    test.each([
      [undefined, /^slope: bound whole in every case; .* where it must be whole, pass \{ whole: \['slope'\] \}$/],
      [['slope', 'x', 'alpha'], /^whole: x is cut, alpha is no operand; leave it out$/],
    ])('says which operands are bound whole where %j are named', async (whole, message) => {
      const pieces = opChecks(preluOp, 'webgpu', { whole }).find((check) => check.name.endsWith('in pieces'))!;
      await expect(pieces.run(device)).rejects.toThrow(message);
    });
  });
}

test('refuses what breaks its contract', async () => {
  const device = await Device.open({ backend: 'reference' });
  const x = device.zeros([2, 3], 'f32');
  const calls = [
    [() => prelu(device.zeros([2], 'i32'), x), /prelu: x must be f32, got i32\[2\]/],
    [() => prelu(x, device.zeros([2], 'f32')), /prelu: slope must be \[3\], got f32\[2\]/],
    [() => prelu(device.zeros([], 'f32'), x), /prelu: x must have at least one axis/],
    [() => softArgmax(device.zeros([2, 0], 'f32'), { sharpness: 1 }), /softArgmax: x must have at least one feature/],
    [() => softArgmax(x, { sharpness: NaN }), /softArgmax: sharpness must be a finite number, got NaN/],
  ] as const;
  for (const [call, message] of calls) {
    expect(call).toThrow(OpError);
    expect(call).toThrow(message);
  }
  await device.dispose();
});
