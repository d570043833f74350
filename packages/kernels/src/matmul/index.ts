// The plain product of two f32 matrices, a [M, K] times b [K, N].
import { OpError, defineOp, describeSpec, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, checkRank } from '../support/checks.ts';
import { gemmKernels } from '../support/families/gemm/kernels.ts';
import { gatherColumns, gatherRows, productsOfRows } from '../support/reference/products.ts';
import { cases, randomCase } from './cases.ts';

export type MatmulParams = Readonly<Record<string, never>>;

export const matmulOp = defineOp<'a' | 'b', never, MatmulParams>({
  name: 'matmul',
  infer({ a, b }) {
    for (const [name, input] of [
      ['a', a],
      ['b', b],
    ] as const) {
      checkDType('matmul', name, input, ['f32']);
      checkRank('matmul', name, input, 2);
    }
    if (a.shape[1] !== b.shape[0]) {
      throw new OpError('matmul', `columns of a ${describeSpec(a)} must equal rows of b ${describeSpec(b)}`);
    }
    return [{ shape: [a.shape[0]!, b.shape[1]!], dtype: 'f32' }];
  },
  cost({ a, b }) {
    const [m, k, n] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
    return { flops: 2 * m * n * k, bytes: 4 * (m * k + k * n + m * n) };
  },
  reference({ a, b }, [y]) {
    const [m, k, n] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
    const rows = gatherRows(a.data, 0, k, m, k);
    productsOfRows(rows, gatherColumns(b.data, 0, n, k, n), k, y!.data as Float64Array, 0, n);
  },
  ...gemmKernels(({ inputs: { a, b }, outputs: [y] }) => {
    const [rows, depth, columns] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
    return { op: 'matmul', a, b, layout: 'columns', bias: undefined, y: y!, rows, columns, depth };
  }),
  cases,
  randomCase,
});

/** a [M, K] times b [K, N]: [M, N], f32. */
export const matmul = (a: Tensor, b: Tensor): Tensor => runOp(matmulOp, { a, b }, {})[0]!;
