// The `webgpu` and `wasm` of an op that is a product of matrices, from its description as a Gemm.
import type { AnyOpTypes, KernelsOf, OpCall } from '@magi1/tensor';
import type { Gemm } from './call.ts';
import { gemmStep } from './wasm.ts';
import { gemmDispatches } from './webgpu.ts';

export function gemmKernels<T extends AnyOpTypes>(describe: (call: OpCall<T>) => Gemm): KernelsOf<T> {
  return {
    webgpu: (call, capabilities) => gemmDispatches(describe(call), capabilities),
    wasm: (call) => [gemmStep(describe(call))],
  };
}
