// Calls that can be cut between any two invocations: a program for whole tensors, and one for a part of the invocations,
// which binds windows. Both have one text: in a part, an invocation keeps its number in the whole call and counts
// elements as in whole tensors, less where the bindings start.
import type { Tensor, Variant, WebGpuCapabilities, WebGpuDispatch, WgslProgram } from '@magi1/tensor';
import { MAIN, gridOf, mainFrom } from './dispatch.ts';
import { bytesBefore, rowRanges } from './row-ranges.ts';
import type { BytesOfRows } from './row-ranges.ts';

export interface Text {
  readonly part: boolean;
  /** Begins `main`: `i` is the invocation's number; those from the parameter `size` on must do nothing. */
  readonly main: string;
  /** The index in a binding of an element of its tensor. */
  readonly at: (operand: string, index: string) => string;
}

export interface Cuts {
  /** The bindings that are cut. */
  readonly operands: readonly string[];
  /** The program's parameter for the number of invocations; `size` when left out. */
  readonly size?: string;
  /** What the program counts elements in; u32 when left out. */
  readonly index?: 'u32' | 'i32';
}

export interface WholeAndPart<V extends Variant> extends Cuts {
  readonly whole: WgslProgram<V>;
  readonly part: WgslProgram<V>;
}

export function wholeAndPart<V extends Variant = Readonly<Record<string, never>>>(
  cuts: Cuts,
  program: (text: Text) => WgslProgram<V>,
): WholeAndPart<V> {
  const starts = Object.fromEntries(cuts.operands.map((name) => [`${name}_start`, cuts.index ?? 'u32']));
  const part = program({
    part: true,
    main: mainFrom('params.first + '),
    at: (operand, index) => `${index} - params.${operand}_start`,
  });
  return {
    ...cuts,
    whole: program({ part: false, main: MAIN, at: (_, index) => index }),
    part: { ...part, name: `${part.name}.part`, params: { ...part.params, first: 'u32', ...starts } },
  };
}

/** A tensor, the bytes that invocations need of it, and bytes of what the program counts as an element. */
export type CutOperand = readonly [tensor: Tensor, bytes: BytesOfRows, unit: number];

export interface Cut<V extends Variant> {
  /** Invocations. */
  readonly size: number;
  readonly operands: Readonly<Record<string, CutOperand>>;
  /** What each part needs whole. */
  readonly others?: WebGpuDispatch['bindings'];
  readonly variant: V;
  readonly params: Readonly<Record<string, number>>;
  /** What the program for parts takes besides. */
  readonly partParams?: Readonly<Record<string, number>>;
}

/** One dispatch, or several, when an operand is larger than one binding. */
export function cutDispatches<V extends Variant>(
  op: string,
  { whole, part, operands: names, size: sizeName = 'size' }: WholeAndPart<V>,
  { size, operands, others, variant, params, partParams }: Cut<V>,
  capabilities: WebGpuCapabilities,
): WebGpuDispatch[] {
  return rowRanges(op, size, operands, capabilities).map(({ start, count, bindings }) => {
    const inPart = Object.values(bindings).some((binding) => 'byteStart' in binding);
    const startOf = (name: string): [string, number] => {
      const operand = operands[name];
      return [`${name}_start`, operand === undefined ? 0 : bytesBefore(bindings[name]!) / operand[2]];
    };
    const starts = inPart && { first: start, ...Object.fromEntries(names.map(startOf)), ...partParams };
    return {
      program: inPart ? part : whole,
      variant,
      bindings: { ...bindings, ...others },
      params: { ...params, [sizeName]: start + count, ...starts },
      workgroups: gridOf(op, count, capabilities),
    };
  });
}

/** Operands that have one element for each invocation, of so many bytes. */
export const elementsOf = (tensor: Tensor, unit = 4): CutOperand => [
  tensor,
  (start, end) => [unit * start, unit * end],
  unit,
];
