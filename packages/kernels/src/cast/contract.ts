// The contract of cast.
import { GROUP, byteLengthOf, describeSpec, hasWholeGroups, isBlocks, isFloat } from '@magi1/tensor';
import type { ContractOf, DType, OpTypes, Tensor } from '@magi1/tensor';

export type Cast = OpTypes<{ x: Tensor }, { readonly to: DType }>;

export const contract: ContractOf<Cast> = {
  name: 'cast',
  infer({ x }, { to }, check) {
    // Everything but groups converts to f32, f32 converts to q8 and to every float; other pairs go through f32.
    if (isBlocks(x.dtype) || to === 'q4') throw check.error(`from ${x.dtype} to ${to} is not offered`);
    if (to === 'q8') {
      check.dtype('x', 'f32');
      if (!hasWholeGroups(x.shape))
        throw check.error(
          `q8 needs rows (all axes but the first) of a multiple of ${GROUP} elements, got ${describeSpec(x)}`,
        );
      return { shape: x.shape, dtype: to };
    }
    if (x.dtype !== to && to !== 'f32' && !(x.dtype === 'f32' && isFloat(to))) {
      throw check.error(`from ${x.dtype} to ${to} is not offered: cast to f32 first`);
    }
    return { shape: x.shape, dtype: to };
  },
  cost({ x }, { to }) {
    return { flops: 0, bytes: byteLengthOf(x) + byteLengthOf({ shape: x.shape, dtype: to }) };
  },
};
