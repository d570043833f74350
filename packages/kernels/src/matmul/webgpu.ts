// WGSL of matmul.
import type { OpDefinition } from '@magi1/tensor';
import { gemmDispatches } from '../support/gemm/webgpu.ts';
import type { MatmulParams } from './index.ts';

export const webgpu: NonNullable<OpDefinition<'a' | 'b', never, MatmulParams>['webgpu']> = (
  { inputs: { a, b }, outputs },
  capabilities,
) => {
  const [rows, depth, columns] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
  const gemm = { op: 'matmul', a, b, layout: 'columns', bias: undefined, y: outputs[0]!, rows, columns, depth } as const;
  return gemmDispatches(gemm, capabilities);
};
