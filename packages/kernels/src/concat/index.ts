// Concatenation of two or more tensors along one axis.
import { defineOp, describeSpec, elementCount, rowMajorStrides, runOp } from '@magi1/tensor';
import type { CaseOf, DType, OpTypes, Tensor, TensorSpec } from '@magi1/tensor';
import { stridedCopies } from '../support/families/strided-copy/kernels.ts';
import { copyLoops } from '../support/families/strided-copy/loops.ts';
import { randomShape } from '../support/random-shapes.ts';

const DTYPES: readonly DType[] = ['f32', 'i32', 'u32'];

/** Inputs are named '0', '1', ...: in order of the names' numbers. */
const orderedInputs = <T>(inputs: Readonly<Record<string, T | undefined>>): T[] =>
  Object.keys(inputs)
    .sort((a, b) => Number(a) - Number(b))
    .map((name) => inputs[name]!);

export type Concat = OpTypes<Readonly<Record<string, Tensor>>, { readonly axis: number }>;

const cases: readonly CaseOf<Concat>[] = [
  {
    name: 'axis0.pieces',
    inputs: { '0': { shape: [333, 5], dtype: 'f32' }, '1': { shape: [400, 5], dtype: 'f32' } },
    params: { axis: 0 },
    tolerance: 0,
  },
  {
    name: 'axis1.pieces',
    inputs: {
      '0': { shape: [60, 13], dtype: 'f32' },
      '1': { shape: [60, 22], dtype: 'f32' },
      '2': { shape: [60, 4], dtype: 'f32' },
    },
    params: { axis: 1 },
    tolerance: 0,
  },
  {
    name: 'axis0',
    inputs: { '0': { shape: [3, 5], dtype: 'f32' }, '1': { shape: [4, 5], dtype: 'f32' } },
    params: { axis: 0 },
    tolerance: 0,
  },
  {
    name: 'axis1.three',
    inputs: {
      '0': { shape: [2, 3, 7], dtype: 'f32' },
      '1': { shape: [2, 1, 7], dtype: 'f32' },
      '2': { shape: [2, 5, 7], dtype: 'f32' },
    },
    params: { axis: 1 },
    tolerance: 0,
  },
  {
    name: 'last.i32',
    inputs: {
      '0': { shape: [5, 3], dtype: 'i32', fill: { kind: 'integers', below: 99 } },
      '1': { shape: [5, 2], dtype: 'i32', fill: { kind: 'integers', below: 99 } },
    },
    params: { axis: 1 },
    tolerance: 0,
  },
  {
    name: 'dit4.5b.attention',
    inputs: { '0': { shape: [1024, 3072], dtype: 'f32' }, '1': { shape: [1024, 3072], dtype: 'f32' } },
    params: { axis: 1 },
    tolerance: 0,
    benchmarkOnly: true,
  },
];

function randomCase(random: (below: number) => number): CaseOf<Concat> {
  const shape = randomShape(random, 1 + random(4), 1000);
  const axis = random(shape.length);
  const parts = Array.from({ length: 1 + random(4) }, (_, i) => {
    const part = shape.map((dim, a) => (a === axis ? random(dim + 1) : dim));
    return [String(i), { shape: part, dtype: 'f32' as const }];
  });
  return {
    name: 'random',
    inputs: Object.fromEntries(parts) as CaseOf<Concat>['inputs'],
    params: { axis },
    tolerance: 0,
  };
}

export const concatOp = defineOp<Concat>({
  name: 'concat',
  infer(inputs, { axis }, check) {
    const parts = orderedInputs<TensorSpec>(inputs);
    const first = parts[0]!;
    if (!Number.isInteger(axis) || axis < 0 || axis >= first.shape.length) {
      throw check.error(`axis ${axis} is outside ${describeSpec(first)}`);
    }
    let length = 0;
    for (const [i, part] of parts.entries()) {
      if (!DTYPES.includes(part.dtype)) {
        throw check.error(`tensor ${i} must be ${DTYPES.join(' or ')}, got ${describeSpec(part)}`);
      }
      const fits =
        part.shape.length === first.shape.length && part.shape.every((dim, a) => a === axis || dim === first.shape[a]);
      if (!fits || part.dtype !== first.dtype) {
        throw check.error(
          `tensor ${i} is ${describeSpec(part)}: it must match ${describeSpec(first)} but for axis ${axis}`,
        );
      }
      length += part.shape[axis]!;
    }
    return { shape: first.shape.map((dim, a) => (a === axis ? length : dim)), dtype: first.dtype };
  },
  cost: (inputs) => ({
    flops: 0,
    bytes: 8 * orderedInputs<TensorSpec>(inputs).reduce((n, part) => n + elementCount(part.shape), 0),
  }),
  reference({ inputs, y, params: { axis } }) {
    const outer = elementCount(y.shape.slice(0, axis));
    const stride = elementCount(y.shape.slice(axis));
    let offset = 0;
    for (const part of orderedInputs(inputs)) {
      const run = elementCount(part.shape.slice(axis));
      for (let i = 0; i < outer; i++) {
        y.data.set(part.data.subarray(i * run, (i + 1) * run), i * stride + offset);
      }
      offset += run;
    }
  },
  ...stridedCopies('concat', ({ inputs, y: target, params: { axis } }) => {
    const strides = rowMajorStrides(target.shape);
    let position = 0;
    return orderedInputs<Tensor>(inputs).map((source) => {
      const targetOffset = position * strides[axis]!;
      position += source.shape[axis]!;
      const loops = copyLoops(source.shape, rowMajorStrides(source.shape), strides);
      return { source, target, sourceOffset: 0, targetOffset, loops };
    });
  }),
  cases,
  randomCase,
});

/** Tensors of one 4-byte dtype with equal shapes but for `axis`; one tensor comes back as a copy. */
export const concat = (tensors: readonly Tensor[], axis: number): Tensor =>
  runOp(concatOp, Object.fromEntries(tensors.map((tensor, i) => [String(i), tensor])), { axis });
