// A range of one axis, as contiguous storage. On the first axis it is Tensor.slice, which copies nothing.
import { defineOp, describeSpec, elementCount, rowMajorStrides, runOp } from '@magi1/tensor';
import type { CaseOf, OpTypes, Tensor } from '@magi1/tensor';
import { stridedCopies } from '../support/families/strided-copy/kernels.ts';
import { copyLoops } from '../support/families/strided-copy/loops.ts';
import { randomShape } from '../support/random-shapes.ts';

export interface NarrowParams {
  readonly axis: number;
  readonly start: number;
  readonly length: number;
}

export type Narrow = OpTypes<{ x: Tensor }, NarrowParams>;

const cases: readonly CaseOf<Narrow>[] = [
  {
    name: 'last',
    inputs: { x: { shape: [5, 7], dtype: 'f32' } },
    params: { axis: 1, start: 2, length: 3 },
    tolerance: 0,
  },
  {
    name: 'middle',
    inputs: { x: { shape: [3, 5, 7], dtype: 'f32' } },
    params: { axis: 1, start: 1, length: 3 },
    tolerance: 0,
  },
  {
    name: 'first',
    inputs: { x: { shape: [5, 3], dtype: 'f32' } },
    params: { axis: 0, start: 1, length: 3 },
    tolerance: 0,
  },
  {
    name: 'last.pieces',
    inputs: { x: { shape: [100, 21], dtype: 'f32' } },
    params: { axis: 1, start: 3, length: 11 },
    tolerance: 0,
  },
  {
    name: 'first.pieces',
    inputs: { x: { shape: [5000], dtype: 'f32' } },
    params: { axis: 0, start: 77, length: 4900 },
    tolerance: 0,
  },
  {
    name: 'dit4.5b.kv_xattn',
    inputs: { x: { shape: [800, 8, 2, 128], dtype: 'f32' } },
    params: { axis: 2, start: 1, length: 1 },
    tolerance: 0,
    benchmarkOnly: true,
  },
];

function randomCase(random: (below: number) => number): CaseOf<Narrow> {
  const shape = randomShape(random, 1 + random(4), 4000);
  const axis = random(shape.length);
  const start = random(shape[axis]!);
  const length = random(shape[axis]! - start + 1);
  return { name: 'random', inputs: { x: { shape, dtype: 'f32' } }, params: { axis, start, length }, tolerance: 0 };
}

export const narrowOp = defineOp<Narrow>({
  name: 'narrow',
  infer({ x }, { axis, start, length }, check) {
    check.dtype('x', 'f32', 'i32', 'u32');
    const extent = x.shape[axis];
    if (extent === undefined || start < 0 || length < 0 || start + length > extent) {
      throw check.error(`${start}..${start + length} of axis ${axis} is outside ${describeSpec(x)}`);
    }
    return { shape: x.shape.map((dim, a) => (a === axis ? length : dim)), dtype: x.dtype };
  },
  cost({ x }, { axis, length }) {
    const extent = x.shape[axis]!;
    return { flops: 0, bytes: extent === 0 ? 0 : (8 * elementCount(x.shape) * length) / extent };
  },
  reference({ inputs: { x }, y, params: { axis, start, length } }) {
    const outer = elementCount(x.shape.slice(0, axis));
    const inner = elementCount(x.shape.slice(axis + 1));
    for (let i = 0; i < outer; i++) {
      const from = (i * x.shape[axis]! + start) * inner;
      y.data.set(x.data.subarray(from, from + length * inner), i * length * inner);
    }
  },
  ...stridedCopies('narrow', ({ inputs: { x }, y: target, params: { axis, start } }) => {
    const strides = rowMajorStrides(x.shape);
    const loops = copyLoops(target.shape, strides, rowMajorStrides(target.shape));
    return [{ source: x, target, sourceOffset: start * strides[axis]!, targetOffset: 0, loops }];
  }),
  cases,
  randomCase,
});

/** Positions start .. start+length-1 of `axis`; x of a 4-byte dtype. */
export const narrow = (x: Tensor, axis: number, start: number, length: number): Tensor =>
  axis === 0 ? x.slice(start, start + length) : runOp(narrowOp, { x }, { axis, start, length });
