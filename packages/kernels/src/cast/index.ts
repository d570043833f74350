// Conversion between dtypes: exact when widening, nearest even when narrowing floats.
import { OpError, bytesPerElement, defineOp, elementCount, isFloat, runOp } from '@magi1/tensor';
import type { DType, Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export interface CastParams {
  readonly to: DType;
}

export const castOp = defineOp<'x', never, CastParams>({
  name: 'cast',
  infer({ x }, { to }) {
    // Everything converts to f32 and f32 converts to every float; other pairs go through f32.
    if (x.dtype !== to && to !== 'f32' && !(x.dtype === 'f32' && isFloat(to))) {
      throw new OpError('cast', `from ${x.dtype} to ${to} is not offered: cast to f32 first`);
    }
    return [{ shape: x.shape, dtype: to }];
  },
  cost({ x }, { to }) {
    return { flops: 0, bytes: elementCount(x.shape) * (bytesPerElement(x.dtype) + bytesPerElement(to)) };
  },
  reference({ x }, [out]) {
    out!.data.set(x.data);
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** x of any dtype to f32, or f32 to f16, bf16, f8e4m3fn (nearest even; what rounds to more than 448 becomes NaN in f8e4m3fn). */
export const cast = <D extends DType>(x: Tensor, to: D): Tensor<D> => runOp(castOp, { x }, { to })[0] as Tensor<D>;
