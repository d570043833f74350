// WGSL of linear: a gemm with the weight's rows as columns of the product.
import type { OpDefinition } from '@magi1/tensor';
import { gemmDispatches } from '../support/gemm/webgpu.ts';
import { linearSizes } from './index.ts';
import type { LinearParams } from './index.ts';

export const webgpu: NonNullable<OpDefinition<'x' | 'weight', 'bias', LinearParams>['webgpu']> = (
  { inputs: { x, weight, bias }, outputs },
  capabilities,
) => {
  const { rows, outputs: columns, inputs: depth } = linearSizes(x, weight);
  const gemm = { op: 'linear', a: x, b: weight, layout: 'rows', bias, y: outputs[0]!, rows, columns, depth } as const;
  return gemmDispatches(gemm, capabilities);
};
