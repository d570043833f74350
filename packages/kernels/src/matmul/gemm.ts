// A matmul call as a gemm.
import type { OpCall } from '@magi1/tensor';
import type { Gemm } from '../support/families/gemm/call.ts';
import type { MatmulParams } from './index.ts';

export function matmulGemm({ inputs: { a, b }, outputs }: OpCall<'a' | 'b', never, MatmulParams>): Gemm {
  const [rows, depth, columns] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
  return { op: 'matmul', a, b, layout: 'columns', bias: undefined, y: outputs[0]!, rows, columns, depth };
}
