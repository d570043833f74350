// The contract of cast.
import { byteLengthOf, isBlocks, isFloat } from '@magi1/tensor';
import type { ContractOf, DType, OpTypes, Tensor } from '@magi1/tensor';

export type Cast = OpTypes<{ x: Tensor }, { readonly to: DType }>;

export const contract: ContractOf<Cast> = {
  name: 'cast',
  infer({ x }, { to }, check) {
    // Everything converts to f32 and f32 converts to every float; other pairs go through f32.
    if (isBlocks(x.dtype) || isBlocks(to)) throw check.error(`from ${x.dtype} to ${to} is not offered`);
    if (x.dtype !== to && to !== 'f32' && !(x.dtype === 'f32' && isFloat(to))) {
      throw check.error(`from ${x.dtype} to ${to} is not offered: cast to f32 first`);
    }
    return { shape: x.shape, dtype: to };
  },
  cost({ x }, { to }) {
    return { flops: 0, bytes: byteLengthOf(x) + byteLengthOf({ shape: x.shape, dtype: to }) };
  },
};
