// A linear call as a gemm: the weight's rows are the columns of the product.
import type { OpCall } from '@magi1/tensor';
import type { Gemm } from '../support/gemm/webgpu.ts';
import { linearSizes } from './index.ts';
import type { LinearParams } from './index.ts';

export function linearGemm({ inputs, outputs }: OpCall<'x' | 'weight', 'bias', LinearParams>): Gemm {
  const { x, weight, bias } = inputs;
  const { rows, outputs: columns, inputs: depth } = linearSizes(x, weight);
  return { op: 'linear', a: x, b: weight, layout: 'rows', bias, y: outputs[0]!, rows, columns, depth };
}
