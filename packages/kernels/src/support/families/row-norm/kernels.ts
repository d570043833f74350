// The `webgpu` and `wasm` of a normalising op, from its description as a RowNormCall.
import type { AnyOpTypes, KernelsOf, OpCall } from '@magi1/tensor';
import type { RowNormCall } from './call.ts';
import { rowNormSteps } from './wasm.ts';
import { rowNormDispatches } from './webgpu.ts';

export function rowNormKernels<T extends AnyOpTypes>(describe: (call: OpCall<T>) => RowNormCall): KernelsOf<T> {
  return {
    webgpu: (call, capabilities) => rowNormDispatches(describe(call), capabilities),
    wasm: (call) => rowNormSteps(describe(call)),
  };
}
