// The `webgpu` and `wasm` of a normalising op, from its description as a RowNormCall.
import type { OpCall, OpDefinition } from '@magi1/tensor';
import type { RowNormCall } from './rowNorm.ts';
import { rowNormSteps } from './rowNormWasm.ts';
import { rowNormDispatches } from './rowNormWgsl.ts';

export function rowNormKernels<R extends string, O extends string, P>(
  describe: (call: OpCall<R, O, P>) => RowNormCall,
): Required<Pick<OpDefinition<R, O, P>, 'webgpu' | 'wasm'>> {
  return {
    webgpu: (call, capabilities) => rowNormDispatches(describe(call), capabilities),
    wasm: (call) => rowNormSteps(describe(call)),
  };
}
