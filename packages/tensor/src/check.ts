// What an op's contract checks inputs and parameters with; errors name the op, the input, what was expected and what came.
import type { DType } from './dtype.ts';
import { OpError } from './errors.ts';
import { describeSpec, sameShape } from './shape.ts';
import type { Shape, TensorSpec } from './shape.ts';

/** Checks bound to an op and the inputs of one call, which `I` names. An input that was left out passes every check. */
export class Check<I extends string = string> {
  readonly #op: string;
  readonly #inputs: Readonly<Partial<Record<string, TensorSpec>>>;

  constructor(op: string, inputs: Readonly<Partial<Record<string, TensorSpec>>>) {
    this.#op = op;
    this.#inputs = inputs;
  }

  /** The same checks for an op whose users know it by another name. */
  as(op: string): Check<I> {
    return new Check(op, this.#inputs);
  }

  /** An error that names the op, to be thrown. */
  error(message: string): OpError {
    return new OpError(this.#op, message);
  }

  dtype(name: I, ...allowed: readonly DType[]): void {
    this.#input(name, `be ${allowed.join(' or ')}`, ({ dtype }) => allowed.includes(dtype));
  }

  rank(name: I, rank: number): void {
    this.#input(name, `have ${rank} axes`, ({ shape }) => shape.length === rank);
  }

  shape(name: I, shape: Shape): void {
    this.#input(name, `be [${shape.join(',')}]`, (input) => sameShape(input.shape, shape));
  }

  /** Dtype and shape. */
  is(name: I, dtype: DType, shape: Shape): void {
    this.dtype(name, dtype);
    this.shape(name, shape);
  }

  /** The last dimension of an input, which must have one. */
  lastDim(name: I): number {
    this.#input(name, 'have at least one axis', ({ shape }) => shape.length > 0);
    return this.#inputs[name]?.shape.at(-1) ?? 0;
  }

  #input(name: I, expected: string, holds: (input: TensorSpec) => boolean): void {
    const input = this.#inputs[name];
    if (input !== undefined && !holds(input)) {
      throw this.error(`${name} must ${expected}, got ${describeSpec(input)}`);
    }
  }

  /** A parameter. */
  finite(name: string, value: number): void {
    if (!Number.isFinite(value)) throw this.error(`${name} must be a finite number, got ${value}`);
  }

  /** A constant inside a root or a denominator. */
  eps(eps: number): void {
    if (!(eps >= 0 && Number.isFinite(eps))) throw this.error(`eps must be a number of at least 0, got ${eps}`);
  }
}
