// wasm cast; an item is four elements. The last may lie partly in the padding of both buffers.
import { bytesOf, isFloat, wasmKernel } from '@magi1/tensor';
import type { DType, F32x4, FloatDType, I32, KernelBuilder, WasmOf } from '@magi1/tensor';
import { loadFloats, storeFloats } from '../support/wasm/floats.ts';
import type { Cast } from './contract.ts';
import { wasmQ8 } from './q8.ts';

type CastVariant = { readonly source: DType; readonly target: DType };

function load(k: KernelBuilder, dtype: DType, address: I32): F32x4 {
  if (isFloat(dtype)) return loadFloats(k, dtype, address);
  if (dtype === 'i32') return address.loadI32x4().toF32x4S();
  if (dtype === 'u32') return address.loadI32x4().toF32x4U();
  return address.load32Zero().lowU().lowU().toF32x4S();
}

const kernel = wasmKernel({
  name: 'cast',
  args: { x: 'ptr', y: 'ptr' },
  body(k, { begin, end, x, y }, { source, target }: CastVariant) {
    const [sourceBytes, targetBytes] = [bytesOf(source, 4), bytesOf(target, 4)];
    if (source === target) {
      k.copy(y.add(begin.mul(targetBytes)), x.add(begin.mul(sourceBytes)), end.sub(begin).mul(sourceBytes));
      return;
    }
    k.forRange(begin, end, 1, (i) => {
      const value = k.let(load(k, source, k.let(x.add(i.mul(sourceBytes)))));
      storeFloats(k, target as FloatDType, k.let(y.add(i.mul(targetBytes))), value);
    });
  },
});

export const wasm: WasmOf<Cast> = (call) => {
  const {
    inputs: { x },
    y,
    params: { to },
  } = call;
  if (to === 'q8') return wasmQ8(call);
  const variant = { source: x.dtype, target: to };
  return [{ kernel, variant, args: { x, y }, items: Math.ceil(x.size / 4), itemCost: 16 }];
};
