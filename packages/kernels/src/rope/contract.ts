// The contract of rope.
import { describeSpec, elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';

export type Rope = OpTypes<{ x: Tensor; cos: Tensor; sin: Tensor }>;

export const contract: ContractOf<Rope> = {
  name: 'rope',
  infer({ x, cos }, _, check) {
    check.dtype('x', 'f32');
    check.dtype('cos', 'f32');
    check.dtype('sin', 'f32');
    check.rank('x', 3);
    check.rank('cos', 2);
    check.shape('cos', [x.shape[0]!, cos.shape[1]!]);
    check.shape('sin', cos.shape);
    if (2 * cos.shape[1]! > x.shape[2]!) {
      throw check.error(`${describeSpec(cos)} turns ${2 * cos.shape[1]!} features, x is ${describeSpec(x)}`);
    }
    return { shape: x.shape, dtype: 'f32' };
  },
  cost: ({ x, cos }) => ({
    flops: 3 * elementCount(x.shape),
    bytes: 8 * (elementCount(x.shape) + elementCount(cos.shape)),
  }),
};
