// Axis permutation into contiguous storage.
import { defineOp, describeSpec, elementCount, rowMajorStrides, runOp } from '@magi1/tensor';
import type { CaseOf, OpTypes, Tensor } from '@magi1/tensor';
import { stridedCopies } from '../support/families/strided-copy/kernels.ts';
import { MOST_LOOPS, copyLoops } from '../support/families/strided-copy/loops.ts';
import { randomShape } from '../support/random-shapes.ts';

export type Permute = OpTypes<{ x: Tensor }, { readonly axes: readonly number[] }>;

const permutation = (name: string, shape: number[], axes: number[], benchmarkOnly = false): CaseOf<Permute> => ({
  name,
  inputs: { x: { shape, dtype: 'f32' } },
  params: { axes },
  tolerance: 0,
  ...(benchmarkOnly ? { benchmarkOnly } : {}),
});

const cases: readonly CaseOf<Permute>[] = [
  permutation('transpose', [5, 7], [1, 0]),
  permutation('021', [3, 4, 5], [0, 2, 1]),
  permutation('vae.unpatch', [2, 1, 3, 2, 2, 3, 5], [0, 6, 1, 4, 2, 3, 5]),
  permutation('rank8', [2, 1, 2, 3, 1, 2, 2, 3], [7, 0, 6, 1, 5, 2, 4, 3]),
  permutation('pieces', [70, 9, 5], [0, 2, 1]),
  permutation('021.large', [64, 256, 192], [0, 2, 1], true),
  permutation('210.large', [64, 256, 192], [2, 1, 0], true),
];

function randomCase(random: (below: number) => number): CaseOf<Permute> {
  const shape = randomShape(random, 1 + random(MOST_LOOPS), 4000);
  const left = shape.map((_, axis) => axis);
  const axes = shape.map(() => left.splice(random(left.length), 1)[0]!);
  return permutation('random', shape, axes);
}

export const permuteOp = defineOp<Permute>({
  name: 'permute',
  infer({ x }, { axes }, check) {
    check.dtype('x', 'f32', 'i32', 'u32');
    const sorted = [...axes].sort((a, b) => a - b);
    if (axes.length !== x.shape.length || sorted.some((axis, i) => axis !== i) || axes.length > MOST_LOOPS) {
      throw check.error(`axes [${axes.join(',')}] do not permute ${describeSpec(x)} (at most ${MOST_LOOPS} axes)`);
    }
    return { shape: axes.map((axis) => x.shape[axis]!), dtype: x.dtype };
  },
  cost: ({ x }) => ({ flops: 0, bytes: 8 * elementCount(x.shape) }),
  reference({ inputs: { x }, y, params: { axes } }) {
    const strides = rowMajorStrides(x.shape);
    const index = new Array<number>(axes.length).fill(0);
    for (let o = 0; o < y.data.length; o++) {
      y.data[o] = x.data[index.reduce((at, n, i) => at + n * strides[axes[i]!]!, 0)]!;
      for (let axis = axes.length - 1; axis >= 0; axis--) {
        if (++index[axis]! < y.shape[axis]!) break;
        index[axis] = 0;
      }
    }
  },
  ...stridedCopies('permute', ({ inputs: { x }, y: target, params: { axes } }) => {
    const strides = rowMajorStrides(x.shape);
    const along = axes.map((axis) => strides[axis]!);
    const loops = copyLoops(target.shape, along, rowMajorStrides(target.shape));
    return [{ source: x, target, sourceOffset: 0, targetOffset: 0, loops }];
  }),
  cases,
  randomCase,
});

/** x of a 4-byte dtype and up to 8 axes; output axis i is input axis axes[i]. */
export const permute = (x: Tensor, axes: readonly number[]): Tensor => runOp(permuteOp, { x }, { axes });
