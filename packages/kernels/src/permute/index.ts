// Axis permutation into contiguous storage.
import { OpError, defineOp, describeSpec, elementCount, rowMajorStrides, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType } from '../support/checks.ts';
import { MOST_LOOPS, copyLoops } from '../support/families/strided-copy/loops.ts';
import { stridedCopies } from '../support/families/strided-copy/kernels.ts';
import { cases, randomCase } from './cases.ts';

export interface PermuteParams {
  /** Output axis i is input axis axes[i]. */
  readonly axes: readonly number[];
}

export const permuteOp = defineOp<'x', never, PermuteParams>({
  name: 'permute',
  infer({ x }, { axes }) {
    checkDType('permute', 'x', x, ['f32', 'i32', 'u32']);
    const sorted = [...axes].sort((a, b) => a - b);
    if (axes.length !== x.shape.length || sorted.some((axis, i) => axis !== i) || axes.length > MOST_LOOPS) {
      throw new OpError(
        'permute',
        `axes [${axes.join(',')}] do not permute ${describeSpec(x)} (at most ${MOST_LOOPS} axes)`,
      );
    }
    return [{ shape: axes.map((axis) => x.shape[axis]!), dtype: x.dtype }];
  },
  cost: ({ x }) => ({ flops: 0, bytes: 8 * elementCount(x.shape) }),
  reference({ x }, [out], { axes }) {
    const strides = rowMajorStrides(x.shape);
    const index = new Array<number>(axes.length).fill(0);
    for (let o = 0; o < out!.data.length; o++) {
      out!.data[o] = x.data[index.reduce((at, n, i) => at + n * strides[axes[i]!]!, 0)]!;
      for (let axis = axes.length - 1; axis >= 0; axis--) {
        if (++index[axis]! < out!.shape[axis]!) break;
        index[axis] = 0;
      }
    }
  },
  ...stridedCopies('permute', ({ inputs: { x }, outputs, params: { axes } }) => {
    const [target, strides] = [outputs[0]!, rowMajorStrides(x.shape)];
    const along = axes.map((axis) => strides[axis]!);
    const loops = copyLoops(target.shape, along, rowMajorStrides(target.shape));
    return [{ source: x, target, sourceOffset: 0, targetOffset: 0, loops }];
  }),
  cases,
  randomCase,
});

/** x of a 4-byte dtype and up to 8 axes; output axis i is input axis axes[i]. */
export const permute = (x: Tensor, axes: readonly number[]): Tensor => runOp(permuteOp, { x }, { axes })[0]!;
