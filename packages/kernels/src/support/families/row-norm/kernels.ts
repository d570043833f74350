// The `webgpu` and `wasm` of a normalising op, from its description as a RowNormCall.
import type { OpCall, OpDefinition } from '@magi1/tensor';
import type { RowNormCall } from './call.ts';
import { rowNormSteps } from './wasm.ts';
import { rowNormDispatches } from './webgpu.ts';

export function rowNormKernels<R extends string, O extends string, P>(
  describe: (call: OpCall<R, O, P>) => RowNormCall,
): Required<Pick<OpDefinition<R, O, P>, 'webgpu' | 'wasm'>> {
  return {
    webgpu: (call, capabilities) => rowNormDispatches(describe(call), capabilities),
    wasm: (call) => rowNormSteps(describe(call)),
  };
}
