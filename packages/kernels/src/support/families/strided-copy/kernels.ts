// The `webgpu` and `wasm` of ops that consist of strided copies.
import type { AnyOpTypes, KernelsOf, OpCall } from '@magi1/tensor';
import { joinedLoops } from './loops.ts';
import type { StridedCopy } from './loops.ts';
import { wasmCopy } from './wasm.ts';
import { webGpuCopy } from './webgpu.ts';

/** Kernels of an op whose output is made by the given copies, which together write every element. */
export function stridedCopies<T extends AnyOpTypes>(
  op: string,
  describe: (call: OpCall<T>) => readonly StridedCopy[],
): KernelsOf<T> {
  const copies = (call: OpCall<T>): StridedCopy[] =>
    describe(call)
      .filter(({ loops }) => loops.every(({ length }) => length > 0))
      .map((copy) => ({ ...copy, loops: joinedLoops(copy.loops) }));
  return {
    webgpu: (call, capabilities) => copies(call).flatMap((copy) => webGpuCopy(op, copy, capabilities)),
    wasm: (call) => copies(call).map(wasmCopy),
  };
}
