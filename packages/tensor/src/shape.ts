// Shape arithmetic: element counts, printing and checking of shapes.
import { GROUP } from './blocks.ts';
import { bytesOf, isBlocks } from './dtype.ts';
import type { DType } from './dtype.ts';
import { Magi1Error } from './errors.ts';

export type Shape = readonly number[];

/** A tensor's shape and element type, without storage. */
export interface TensorSpec {
  readonly shape: Shape;
  readonly dtype: DType;
}

/** Number of elements of a shape; a scalar (`[]`) has one. Of shapes from files: a safe integer, or not one at all. */
export function elementCount(shape: Shape): number {
  let count = shape.includes(0) ? 0 : 1;
  for (const dim of shape) count *= dim;
  return count;
}

/** Bytes of a tensor: every row, along the last axis, takes whole bytes. Of q8 and q4, whole groups lie one after another. */
export function byteLengthOf({ shape, dtype }: TensorSpec): number {
  if (isBlocks(dtype)) return bytesOf(dtype, elementCount(shape));
  let bytes = bytesOf(dtype, shape.at(-1) ?? 1);
  for (let axis = 0; axis < shape.length - 1; axis++) bytes *= shape[axis]!;
  return bytes;
}

export function sameShape(a: Shape, b: Shape): boolean {
  return a.length === b.length && a.every((dim, i) => dim === b[i]);
}

/** `f32[2,3]`, as error messages print tensors. */
export function describeSpec(spec: TensorSpec): string {
  return `${spec.dtype}[${spec.shape.join(',')}]`;
}

/** Refuses negative, fractional or unsafe dimensions. Zero is allowed. */
export function checkShape(what: string, shape: Shape): void {
  for (const dim of shape) {
    if (!Number.isSafeInteger(dim) || dim < 0) {
      throw new Magi1Error(`${what}: dimensions must be non-negative integers, got [${shape.join(',')}]`);
    }
  }
  if (!Number.isSafeInteger(elementCount(shape))) {
    throw new Magi1Error(`${what}: shape [${shape.join(',')}] has too many elements`);
  }
}

/** Whether a tensor of this shape can be q8 or q4: its rows, all axes but the first, are whole groups of 64 elements. */
export const hasWholeGroups = (shape: Shape): boolean => shape.length > 1 && elementCount(shape.slice(1)) % GROUP === 0;

/** Refuses a q8 or q4 tensor whose rows are not whole groups. */
export function checkGroups(what: string, spec: TensorSpec): void {
  if (!isBlocks(spec.dtype) || hasWholeGroups(spec.shape)) return;
  throw new Magi1Error(
    `${what}: rows (all axes but the first) of ${spec.dtype} must be a multiple of ${GROUP} elements, got ${describeSpec(spec)}`,
  );
}

/** Row-major strides in elements. */
export function rowMajorStrides(shape: Shape): number[] {
  const strides = new Array<number>(shape.length);
  let stride = 1;
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride;
    stride *= shape[axis]!;
  }
  return strides;
}
