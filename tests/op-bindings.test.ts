// Tensors larger than one binding: every op, run on its cases as if bindings were as small as can be, comes out with the
// same bits. Some case must be large enough (a binding of 256 bytes is the smallest) to cut each input and the output, or
// the input is listed here as needed whole: a device with smaller bindings refuses it.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { matmul } from '@magi1/kernels';
import { MetaDevice } from '@magi1/tensor';
import type { AnyCase, AnyOp, Device, NumberArray, OpCall } from '@magi1/tensor';
import { loadOps } from './support/all-ops.ts';
import { testDevices } from './support/devices.ts';
import { checkCase, compareByNorm } from './support/op-cases.ts';
import { shown, smallestPieces } from './support/pieces.ts';
import { CAPABILITIES } from './support/programs.ts';

const ops = await loadOps();

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

const casesOf = (op: AnyOp) => (op.cases as readonly AnyCase[]).filter((opCase) => opCase.benchmarkOnly !== true);

/** What a case, which must pass, gives. */
async function outputOf(op: AnyOp, opCase: AnyCase, device: Device): Promise<NumberArray> {
  let output: NumberArray | undefined;
  await checkCase(op, opCase, device, (name, got, ...wanted) => {
    output = got;
    return compareByNorm(name, got, ...wanted);
  });
  return output!;
}

for (const adapter of testDevices().filter(({ name }) => name !== 'wasm')) {
  describe(adapter.name, () => {
    let device: Device;
    beforeAll(async () => {
      device = await adapter.open({ guardBytes: 64 });
    });
    afterAll(() => device.dispose());

    test.each(ops.map((op) => [op.name, op] as const))('%s in pieces', async (_, op) => {
      const [operands, cut] = [new Set<string>(), new Set<string>()];
      const webgpu: AnyOp['webgpu'] = (call: OpCall, capabilities) => {
        const dispatches = smallestPieces(op, call, capabilities);
        const values = dispatches.flatMap(({ bindings }) => Object.values(bindings)).map(shown);
        for (const [name, tensor] of Object.entries({ ...call.inputs, output: call.y })) {
          if (tensor === undefined) continue;
          operands.add(name);
          if (values.some((part) => part?.tensor === tensor && part.byteLength < tensor.byteLength)) cut.add(name);
        }
        return dispatches;
      };
      for (const opCase of casesOf(op)) {
        expect(await outputOf({ ...op, webgpu }, opCase, device), opCase.name).toEqual(
          await outputOf(op, opCase, device),
        );
      }
      expect([...operands].filter((name) => !cut.has(name)).sort()).toEqual([...(WHOLE[op.name] ?? [])].sort());
    });
  });
}

test('what is needed whole and too large is refused in a plan as on the device', () => {
  const meta = new MetaDevice({ as: 'webgpu', capabilities: { ...CAPABILITIES['gpu']!, maxBindingBytes: 4096 } });
  const [a, b] = [meta.empty([3, 100], 'f32'), meta.empty([100, 11], 'f32')];
  expect(() => matmul(a, b)).toThrow(
    /^matmul: binding b of program \w+ \(f32\[100,11\]\) of 4400 bytes exceeds the adapter's largest binding of 4096 bytes$/,
  );
});
