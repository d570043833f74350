// The plain product of two f32 matrices, a [M, K] times b [K, N].
import { defineOp, describeSpec, runOp } from '@magi1/tensor';
import type { CaseOf, OpTypes, Tensor } from '@magi1/tensor';
import { gemmKernels } from '../support/families/gemm/kernels.ts';
import { gatherColumns, gatherRows, productsOfRows } from '../support/reference/products.ts';

export type Matmul = OpTypes<{ a: Tensor; b: Tensor }>;

function matmulCase(name: string, [m, k, n]: readonly [number, number, number], benchmarkOnly = false): CaseOf<Matmul> {
  return {
    name,
    inputs: { a: { shape: [m, k], dtype: 'f32' }, b: { shape: [k, n], dtype: 'f32' } },
    params: {},
    ...(benchmarkOnly ? { benchmarkOnly } : {}),
  };
}

const cases: readonly CaseOf<Matmul>[] = [
  matmulCase('oneByOne', [1, 1, 1]),
  matmulCase('noInner', [3, 0, 5]),
  matmulCase('odd', [7, 5, 3]),
  matmulCase('vector', [1, 67, 45]),
  matmulCase('column', [45, 67, 1]),
  matmulCase('tiles', [128, 64, 128]),
  matmulCase('pastTiles', [131, 261, 139]),
  matmulCase('512', [512, 512, 512], true),
  matmulCase('1024', [1024, 1024, 1024], true),
  matmulCase('256x4096x1024', [256, 4096, 1024], true),
];

const randomCase = (random: (below: number) => number): CaseOf<Matmul> =>
  matmulCase('random', [1 + random(60), 1 + random(90), 1 + random(70)]);

export const matmulOp = defineOp<Matmul>({
  name: 'matmul',
  infer({ a, b }, _, check) {
    for (const name of ['a', 'b'] as const) {
      check.dtype(name, 'f32');
      check.rank(name, 2);
    }
    if (a.shape[1] !== b.shape[0]) {
      throw check.error(`columns of a ${describeSpec(a)} must equal rows of b ${describeSpec(b)}`);
    }
    return { shape: [a.shape[0]!, b.shape[1]!], dtype: 'f32' };
  },
  cost({ a, b }) {
    const [m, k, n] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
    return { flops: 2 * m * n * k, bytes: 4 * (m * k + k * n + m * n) };
  },
  reference({ inputs: { a, b }, y }) {
    const [m, k, n] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
    const rows = gatherRows(a.data, 0, k, m, k);
    productsOfRows(rows, gatherColumns(b.data, 0, n, k, n), k, y.data as Float64Array, 0, n);
  },
  ...gemmKernels(({ inputs: { a, b }, y }) => {
    const [rows, depth, columns] = [a.shape[0]!, a.shape[1]!, b.shape[1]!];
    return { op: 'matmul', a, b, layout: 'columns', bias: undefined, y, rows, columns, depth };
  }),
  cases,
  randomCase,
});

/** a [M, K] times b [K, N]: [M, N], f32. */
export const matmul = (a: Tensor, b: Tensor): Tensor => runOp(matmulOp, { a, b }, {});
