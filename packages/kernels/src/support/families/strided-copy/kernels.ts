// The `webgpu` and `wasm` of ops that consist of strided copies.
import type { OpCall, OpDefinition } from '@magi1/tensor';
import { joinedLoops } from './loops.ts';
import type { StridedCopy } from './loops.ts';
import { wasmCopy } from './wasm.ts';
import { webGpuCopy } from './webgpu.ts';

/** Kernels of an op whose output is made by the given copies, which together write every element. */
export function stridedCopies<R extends string, O extends string, P>(
  op: string,
  describe: (call: OpCall<R, O, P>) => readonly StridedCopy[],
): Required<Pick<OpDefinition<R, O, P>, 'webgpu' | 'wasm'>> {
  const copies = (call: OpCall<R, O, P>): StridedCopy[] =>
    describe(call)
      .filter(({ loops }) => loops.every(({ length }) => length > 0))
      .map((copy) => ({ ...copy, loops: joinedLoops(copy.loops) }));
  return {
    webgpu: (call, capabilities) => copies(call).flatMap((copy) => webGpuCopy(op, copy, capabilities)),
    wasm: (call) => copies(call).map(wasmCopy),
  };
}
