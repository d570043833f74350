// The `webgpu` and `wasm` of a product of matrices, from its description as a Gemm.
import type { OpCall, OpDefinition } from '@magi1/tensor';
import type { Gemm } from './call.ts';
import { gemmStep } from './wasm.ts';
import { gemmDispatches } from './webgpu.ts';

export function gemmKernels<R extends string, O extends string, P>(
  describe: (call: OpCall<R, O, P>) => Gemm,
): Required<Pick<OpDefinition<R, O, P>, 'webgpu' | 'wasm'>> {
  return {
    webgpu: (call, capabilities) => gemmDispatches(describe(call), capabilities),
    wasm: (call) => [gemmStep(describe(call))],
  };
}
