// The contract of maxMagnitude.
import { elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';

/** Elements that one output covers. */
export const STRETCH = 512;
/** All bits of a float but its sign: as whole numbers they order like magnitudes, Infinity next, NaN above all. */
export const MAGNITUDE_BITS = 0x7fffffff;

export type MaxMagnitude = OpTypes<{ x: Tensor }>;

export const contract: ContractOf<MaxMagnitude> = {
  name: 'maxMagnitude',
  infer({ x }, _, check) {
    check.dtype('x', 'f32');
    const size = elementCount(x.shape);
    if (size === 0) throw check.error('x must have at least one element, got none');
    return { shape: [Math.ceil(size / STRETCH)], dtype: 'i32' };
  },
  cost: ({ x }) => ({ flops: elementCount(x.shape), bytes: 4 * elementCount(x.shape) }),
};
