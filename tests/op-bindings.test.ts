// Tensors larger than one binding: ordinary cases, run as if bindings were as small as can be, come out with the same bits.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  affineOp,
  attentionOp,
  castOp,
  concatOp,
  conv3dOp,
  embeddingOp,
  eulerStepOp,
  gatedResidualOp,
  guidanceOp,
  layerNormOp,
  linearOp,
  maxMagnitudeOp,
  permuteOp,
  qkNormOp,
  quantizeOp,
  rmsNormOp,
  ropeOp,
  softmaxOp,
  swigluOp,
  unaryOp,
} from '@magi1/kernels';
import { OpError } from '@magi1/tensor';
import type { AnyCase, AnyOp, Device, NumberArray, OpCall, WebGpuCapabilities, WebGpuDispatch } from '@magi1/tensor';
import { testDevices } from './support/devices.ts';
import { checkCase, compareByNorm } from './support/op-cases.ts';

const ops: AnyOp[] = [
  affineOp,
  attentionOp,
  castOp,
  concatOp,
  conv3dOp,
  embeddingOp,
  eulerStepOp,
  gatedResidualOp,
  guidanceOp,
  layerNormOp,
  { ...linearOp, cases: linearOp.cases.filter(({ name }) => name.startsWith('bf16')) },
  maxMagnitudeOp,
  permuteOp,
  qkNormOp,
  quantizeOp,
  rmsNormOp,
  ropeOp,
  softmaxOp,
  swigluOp,
  unaryOp,
];

type WebGpu = (call: OpCall, capabilities: WebGpuCapabilities) => readonly WebGpuDispatch[];

/** The op in the smallest pieces that it can be cut to; `count` gets the number of dispatches. */
function inPieces(op: AnyOp, count: (pieces: number) => void): AnyOp {
  const webgpu: WebGpu = (call, capabilities) => {
    for (let maxBindingBytes = 256; ; maxBindingBytes *= 2) {
      try {
        const dispatches = op.webgpu!(call, { ...capabilities, maxBindingBytes });
        count(dispatches.length);
        return dispatches;
      } catch (error) {
        if (!(error instanceof OpError) || maxBindingBytes >= capabilities.maxBindingBytes) throw error;
      }
    }
  };
  return { ...op, webgpu };
}

/** What a case, which must pass, gives. */
async function outputsOf(op: AnyOp, opCase: AnyCase, device: Device): Promise<NumberArray[]> {
  const outputs: NumberArray[] = [];
  await checkCase(op, opCase, device, (name, got, ...wanted) => {
    outputs.push(got);
    return compareByNorm(name, got, ...wanted);
  });
  return outputs;
}

const casesOf = (op: AnyOp) => (op.cases as readonly AnyCase[]).filter((opCase) => opCase.benchmarkOnly !== true);

for (const adapter of testDevices().filter(({ name }) => name === 'llvmpipe' || name === 'SwiftShader')) {
  describe(adapter.name, () => {
    let device: Device;
    beforeAll(async () => {
      device = await adapter.open({ guardBytes: 64 });
    });
    afterAll(() => device.dispose());

    for (const op of ops) {
      test(`${op.name} in pieces`, async () => {
        let most = 0;
        const pieces = inPieces(op, (count) => {
          most = Math.max(most, count);
        });
        for (const opCase of casesOf(op)) {
          expect(await outputsOf(pieces, opCase, device)).toEqual(await outputsOf(op, opCase, device));
        }
        expect(most).toBeGreaterThan(1);
      });
    }
  });
}
