// The contract of softmax.
import { elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';

export type Softmax = OpTypes<{ x: Tensor }>;

export const contract: ContractOf<Softmax> = {
  name: 'softmax',
  infer({ x }, _, check) {
    check.dtype('x', 'f32');
    check.lastDim('x');
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 5 * elementCount(x.shape), bytes: 8 * elementCount(x.shape) }),
};
