// Concatenation of two or more tensors along one axis.
import { OpError, defineOp, describeSpec, elementCount, rowMajorStrides, runOp } from '@magi1/tensor';
import type { Tensor, TensorSpec } from '@magi1/tensor';
import { checkDType } from '../support/checks.ts';
import { copyLoops } from '../support/families/strided-copy/loops.ts';
import { stridedCopies } from '../support/families/strided-copy/kernels.ts';
import { cases, randomCase } from './cases.ts';

export interface ConcatParams {
  readonly axis: number;
}

/** Inputs are named '0', '1', ...: in order of the names' numbers. */
export const orderedInputs = <T>(inputs: Readonly<Record<string, T | undefined>>): T[] =>
  Object.keys(inputs)
    .sort((a, b) => Number(a) - Number(b))
    .map((name) => inputs[name]!);

export const concatOp = defineOp<string, never, ConcatParams>({
  name: 'concat',
  infer(inputs, { axis }) {
    const parts = orderedInputs<TensorSpec>(inputs);
    const first = parts[0]!;
    if (!Number.isInteger(axis) || axis < 0 || axis >= first.shape.length) {
      throw new OpError('concat', `axis ${axis} is outside ${describeSpec(first)}`);
    }
    let length = 0;
    for (const [i, part] of parts.entries()) {
      checkDType('concat', `tensor ${i}`, part, ['f32', 'i32', 'u32']);
      const fits =
        part.shape.length === first.shape.length && part.shape.every((dim, a) => a === axis || dim === first.shape[a]);
      if (!fits || part.dtype !== first.dtype) {
        throw new OpError(
          'concat',
          `tensor ${i} is ${describeSpec(part)}: it must match ${describeSpec(first)} but for axis ${axis}`,
        );
      }
      length += part.shape[axis]!;
    }
    return [{ shape: first.shape.map((dim, a) => (a === axis ? length : dim)), dtype: first.dtype }];
  },
  cost: (inputs) => ({
    flops: 0,
    bytes: 8 * orderedInputs<TensorSpec>(inputs).reduce((n, part) => n + elementCount(part.shape), 0),
  }),
  reference(inputs, [out], { axis }) {
    const outer = elementCount(out!.shape.slice(0, axis));
    const stride = elementCount(out!.shape.slice(axis));
    let offset = 0;
    for (const part of orderedInputs(inputs)) {
      const run = elementCount(part.shape.slice(axis));
      for (let i = 0; i < outer; i++) {
        out!.data.set(part.data.subarray(i * run, (i + 1) * run), i * stride + offset);
      }
      offset += run;
    }
  },
  ...stridedCopies('concat', ({ inputs, outputs, params: { axis } }) => {
    const target = outputs[0]!;
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
  runOp(concatOp, Object.fromEntries(tensors.map((tensor, i) => [String(i), tensor])), { axis })[0]!;
