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

/** Like checkShapeIs, for an input that may be left out. */
export function checkOptional(op: string, name: string, input: TensorSpec | undefined, shape: Shape): void {
  if (input === undefined) return;
  checkDType(op, name, input, ['f32']);
  checkShapeIs(op, name, input, shape);
}

export function checkFinite(op: string, name: string, value: number): void {
  if (!Number.isFinite(value)) throw new OpError(op, `${name} must be a finite number, got ${value}`);
}

/** A constant inside a root or a denominator. */
export function checkEps(op: string, eps: number): void {
  if (!(eps >= 0 && Number.isFinite(eps))) throw new OpError(op, `eps must be a number of at least 0, got ${eps}`);
}
