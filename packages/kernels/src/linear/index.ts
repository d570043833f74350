// y = x W^T + b: the projection of a checkpoint's linear layer. Weights of 16, 8 and 4 bits are decoded in the kernel.
import { defineOp, runOp } from '@magi1/tensor';
import type { HostView, OpCall, Tensor } from '@magi1/tensor';
import { gemmKernels } from '../support/families/gemm/kernels.ts';
import { gatherRows, productsOfRows } from '../support/reference/products.ts';
import { cases, randomCase } from './cases.ts';
import { contract, linearSizes } from './contract.ts';
import type { Linear } from './contract.ts';

export const linearOp = defineOp<Linear>({
  ...contract,
  reference,
  ...gemmKernels(({ inputs: { x, weight, bias }, y }) => {
    const { rows, outputs: columns, inputs: depth } = linearSizes(x, weight);
    return { op: 'linear', a: x, b: weight, layout: 'rows', bias, y, rows, columns, depth };
  }),
  cases,
  randomCase,
});

function reference({ inputs: { x, weight, bias }, y }: OpCall<Linear, HostView>): void {
  const { rows, outputs, inputs } = linearSizes(x, weight);
  const out = y.data as Float64Array;
  const a = gatherRows(x.data, 0, inputs, rows, inputs);
  for (let j = 0; j < outputs; j += 4) {
    const b = gatherRows(weight.data, j * inputs, inputs, Math.min(4, outputs - j), inputs);
    productsOfRows(a, b, inputs, out, j, outputs);
  }
  if (bias !== undefined) {
    for (let i = 0; i < out.length; i++) out[i]! += bias.data[i % outputs]!;
  }
}

/** x [..., K] times weight [N, K] transposed, plus bias [N]: [..., N]. x and bias f32, weight f32, f16, bf16, f8e4m3fn, q8 or q4. */
export function linear(x: Tensor, weight: Tensor, options: { readonly bias?: Tensor | undefined } = {}): Tensor {
  return runOp(linearOp, { x, weight, bias: options.bias }, {});
}
