// The contract of SwiGLU.
import { describeSpec, elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';

export type Swiglu = OpTypes<{ x: Tensor }>;

export const contract: ContractOf<Swiglu> = {
  name: 'swiglu',
  infer({ x }, _, check) {
    check.dtype('x', 'f32');
    const features = check.lastDim('x');
    if (features % 2 !== 0) {
      throw check.error(`x must have an even number of features, got ${describeSpec(x)}`);
    }
    return { shape: [...x.shape.slice(0, -1), features / 2], dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 5 * (elementCount(x.shape) / 2), bytes: 6 * elementCount(x.shape) }),
};
