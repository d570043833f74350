// A range of one axis, as contiguous storage. On the first axis it is Tensor.slice, which copies nothing.
import { OpError, defineOp, describeSpec, elementCount, rowMajorStrides, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType } from '../support/checks.ts';
import { copyLoops } from '../support/families/strided-copy/loops.ts';
import { stridedCopies } from '../support/families/strided-copy/kernels.ts';
import { cases, randomCase } from './cases.ts';

export interface NarrowParams {
  readonly axis: number;
  readonly start: number;
  readonly length: number;
}

export const narrowOp = defineOp<'x', never, NarrowParams>({
  name: 'narrow',
  infer({ x }, { axis, start, length }) {
    checkDType('narrow', 'x', x, ['f32', 'i32', 'u32']);
    const extent = x.shape[axis];
    if (extent === undefined || start < 0 || length < 0 || start + length > extent) {
      throw new OpError('narrow', `${start}..${start + length} of axis ${axis} is outside ${describeSpec(x)}`);
    }
    return [{ shape: x.shape.map((dim, a) => (a === axis ? length : dim)), dtype: x.dtype }];
  },
  cost({ x }, { axis, length }) {
    const extent = x.shape[axis]!;
    return { flops: 0, bytes: extent === 0 ? 0 : (8 * elementCount(x.shape) * length) / extent };
  },
  reference({ x }, [out], { axis, start, length }) {
    const outer = elementCount(x.shape.slice(0, axis));
    const inner = elementCount(x.shape.slice(axis + 1));
    for (let i = 0; i < outer; i++) {
      const from = (i * x.shape[axis]! + start) * inner;
      out!.data.set(x.data.subarray(from, from + length * inner), i * length * inner);
    }
  },
  ...stridedCopies('narrow', ({ inputs: { x }, outputs, params: { axis, start } }) => {
    const [target, strides] = [outputs[0]!, rowMajorStrides(x.shape)];
    const loops = copyLoops(target.shape, strides, rowMajorStrides(target.shape));
    return [{ source: x, target, sourceOffset: start * strides[axis]!, targetOffset: 0, loops }];
  }),
  cases,
  randomCase,
});

/** Positions start .. start+length-1 of `axis`; x of a 4-byte dtype. */
export const narrow = (x: Tensor, axis: number, start: number, length: number): Tensor =>
  axis === 0 ? x.slice(start, start + length) : runOp(narrowOp, { x }, { axis, start, length })[0]!;
