// The contract of PReLU: what it takes, what it refuses, what comes out and what that costs.
import { elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';

/** Two inputs and no parameters. */
export type Prelu = OpTypes<{ x: Tensor; slope: Tensor }>;

export const contract: ContractOf<Prelu> = {
  name: 'prelu',
  infer({ x }, _, check) {
    check.dtype('x', 'f32');
    check.is('slope', 'f32', [check.lastDim('x')]);
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x, slope }) => ({
    flops: 4 * elementCount(x.shape),
    bytes: 8 * elementCount(x.shape) + 4 * elementCount(slope.shape),
  }),
};
