// y = x W^T + b: the projection of a checkpoint's linear layer. Weights of 16 and 8 bits are decoded in the kernel.
import { OpError, bytesPerElement, defineOp, describeSpec, elementCount, runOp } from '@magi1/tensor';
import type { DType, HostOutput, HostView, OpInputs, Tensor, TensorSpec } from '@magi1/tensor';
import { checkDType, checkRank, checkShapeIs, lastDim } from '../support/checks.ts';
import { gemmKernels } from '../support/families/gemm/kernels.ts';
import { gatherRows, productsOfRows } from '../support/reference/products.ts';
import { cases, randomCase } from './cases.ts';

export const weightDTypes: readonly DType[] = ['f32', 'f16', 'bf16', 'f8e4m3fn'];

export type LinearParams = Readonly<Record<string, never>>;

export const linearOp = defineOp<'x' | 'weight', 'bias', LinearParams>({
  name: 'linear',
  infer({ x, weight, bias }) {
    checkDType('linear', 'x', x, ['f32']);
    checkDType('linear', 'weight', weight, weightDTypes);
    checkRank('linear', 'weight', weight, 2);
    const inputs = lastDim('linear', 'x', x);
    if (inputs !== weight.shape[1]) {
      throw new OpError(
        'linear',
        `x ${describeSpec(x)} has ${inputs} features, weight ${describeSpec(weight)} takes ${weight.shape[1]}`,
      );
    }
    if (bias !== undefined) {
      checkDType('linear', 'bias', bias, ['f32']);
      checkShapeIs('linear', 'bias', bias, [weight.shape[0]!]);
    }
    return [{ shape: [...x.shape.slice(0, -1), weight.shape[0]!], dtype: 'f32' }];
  },
  cost({ x, weight, bias }) {
    const { rows, outputs, inputs } = linearSizes(x, weight);
    const weightBytes = outputs * inputs * bytesPerElement(weight.dtype) + (bias === undefined ? 0 : 4 * outputs);
    return {
      flops: rows * outputs * (2 * inputs + (bias ? 1 : 0)),
      bytes: weightBytes + 4 * rows * (inputs + outputs),
    };
  },
  reference,
  // The weight's rows are the columns of the product.
  ...gemmKernels(({ inputs: { x, weight, bias }, outputs: [y] }) => {
    const { rows, outputs, inputs } = linearSizes(x, weight);
    return { op: 'linear', a: x, b: weight, layout: 'rows', bias, y: y!, rows, columns: outputs, depth: inputs };
  }),
  cases,
  randomCase,
});

/** Rows of x, output features and input features. */
function linearSizes(x: TensorSpec, weight: TensorSpec): { rows: number; outputs: number; inputs: number } {
  const [outputs, inputs] = [weight.shape[0]!, weight.shape[1]!];
  return { rows: elementCount(x.shape.slice(0, -1)), outputs, inputs };
}

function reference({ x, weight, bias }: OpInputs<'x' | 'weight', 'bias', HostView>, [y]: readonly HostOutput[]): void {
  const { rows, outputs, inputs } = linearSizes(x, weight);
  const out = y!.data as Float64Array;
  const a = gatherRows(x.data, 0, inputs, rows, inputs);
  for (let j = 0; j < outputs; j += 4) {
    const b = gatherRows(weight.data, j * inputs, inputs, Math.min(4, outputs - j), inputs);
    productsOfRows(a, b, inputs, out, j, outputs);
  }
  if (bias !== undefined) {
    for (let i = 0; i < out.length; i++) out[i]! += bias.data[i % outputs]!;
  }
}

/** x [..., K] times weight [N, K] transposed, plus bias [N]: [..., N]. x and bias f32, weight f32, f16, bf16 or f8e4m3fn. */
export function linear(x: Tensor, weight: Tensor, options: { readonly bias?: Tensor | undefined } = {}): Tensor {
  return runOp(linearOp, { x, weight, bias: options.bias }, {})[0]!;
}
