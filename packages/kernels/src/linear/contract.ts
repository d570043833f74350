// The contract of linear.
import { byteLengthOf, describeSpec, elementCount, weightDTypes } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor, TensorSpec } from '@magi1/tensor';

export type Linear = OpTypes<{ x: Tensor; weight: Tensor; bias?: Tensor }>;

/** Rows of x, output features and input features. */
export function linearSizes(x: TensorSpec, weight: TensorSpec): { rows: number; outputs: number; inputs: number } {
  const [outputs, inputs] = [weight.shape[0]!, weight.shape[1]!];
  return { rows: elementCount(x.shape.slice(0, -1)), outputs, inputs };
}

export const contract: ContractOf<Linear> = {
  name: 'linear',
  infer({ x, weight }, _, check) {
    check.dtype('x', 'f32');
    check.dtype('weight', ...weightDTypes);
    check.rank('weight', 2);
    const inputs = check.lastDim('x');
    if (inputs !== weight.shape[1]) {
      throw check.error(
        `x ${describeSpec(x)} has ${inputs} features, weight ${describeSpec(weight)} takes ${weight.shape[1]}`,
      );
    }
    check.is('bias', 'f32', [weight.shape[0]!]);
    return { shape: [...x.shape.slice(0, -1), weight.shape[0]!], dtype: 'f32' };
  },
  cost({ x, weight, bias }) {
    const { rows, outputs, inputs } = linearSizes(x, weight);
    const weightBytes = byteLengthOf(weight) + (bias === undefined ? 0 : 4 * outputs);
    return {
      flops: rows * outputs * (2 * inputs + (bias ? 1 : 0)),
      bytes: weightBytes + 4 * rows * (inputs + outputs),
    };
  },
};
