// Input checks that many ops share; each names the op, the input, what was expected and what came.
import { OpError, describeSpec, sameShape } from '@magi1/tensor';
import type { DType, Shape, TensorSpec } from '@magi1/tensor';

export function checkDType(op: string, name: string, input: TensorSpec, allowed: readonly DType[]): void {
  if (!allowed.includes(input.dtype)) {
    throw new OpError(op, `${name} must be ${allowed.join(' or ')}, got ${describeSpec(input)}`);
  }
}

export function checkRank(op: string, name: string, input: TensorSpec, rank: number): void {
  if (input.shape.length !== rank) throw new OpError(op, `${name} must have ${rank} axes, got ${describeSpec(input)}`);
}

export function checkShapeIs(op: string, name: string, input: TensorSpec, shape: Shape): void {
  if (!sameShape(input.shape, shape)) {
    throw new OpError(op, `${name} must be [${shape.join(',')}], got ${describeSpec(input)}`);
  }
}

/** The last dimension of an input with at least one axis. */
export function lastDim(op: string, name: string, input: TensorSpec): number {
  const dim = input.shape.at(-1);
  if (dim === undefined) throw new OpError(op, `${name} must have at least one axis, got ${describeSpec(input)}`);
  return dim;
}
