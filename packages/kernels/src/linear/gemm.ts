// A linear call as a gemm: the weight's rows are the columns of the product.
import { elementCount } from '@magi1/tensor';
import type { OpCall, TensorSpec } from '@magi1/tensor';
import type { Gemm } from '../support/families/gemm/call.ts';
import type { LinearParams } from './index.ts';

/** Rows of x, output features and input features. */
export function linearSizes(x: TensorSpec, weight: TensorSpec): { rows: number; outputs: number; inputs: number } {
  const [outputs, inputs] = [weight.shape[0]!, weight.shape[1]!];
  return { rows: elementCount(x.shape.slice(0, -1)), outputs, inputs };
}

export function linearGemm({ inputs, outputs }: OpCall<'x' | 'weight', 'bias', LinearParams>): Gemm {
  const { x, weight, bias } = inputs;
  const { rows, outputs: columns, inputs: depth } = linearSizes(x, weight);
  return { op: 'linear', a: x, b: weight, layout: 'rows', bias, y: outputs[0]!, rows, columns, depth };
}
