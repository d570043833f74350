// Tensors larger than one binding: the programs of ordinary cases, run as if bindings were as small as can be.
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import {
  affineOp,
  eulerStepOp,
  gatedResidualOp,
  guidanceOp,
  layerNormOp,
  maxMagnitudeOp,
  qkNormOp,
  rmsNormOp,
  ropeOp,
  softmaxOp,
  swigluOp,
  unaryOp,
} from '@magi1/kernels';
import { OpError } from '@magi1/tensor';
import type { AnyOp, Device, OpCall, WebGpuCapabilities, WebGpuDispatch } from '@magi1/tensor';
import { testDevices } from './support/devices.ts';
import { checkCase } from './support/op-cases.ts';
import type { AnyCase } from './support/op-cases.ts';

const ops: AnyOp[] = [
  affineOp,
  eulerStepOp,
  gatedResidualOp,
  guidanceOp,
  layerNormOp,
  maxMagnitudeOp,
  qkNormOp,
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
        for (const opCase of casesOf(op)) await checkCase(pieces, opCase, device);
        expect(most).toBeGreaterThan(1);
      });
    }
  });
}
