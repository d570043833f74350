// Runs one case of an op on a device and compares with the op's reference in float64.
import { checkDType, fromFloat32, isWeight, toFloat32 } from '../dtype.ts';
import type { HostArray } from '../dtype.ts';
import type { Device } from '../device.ts';
import { Magi1Error, OpError, describeValue, isOptions } from '../errors.ts';
import { inferOutput, runOp } from '../op.ts';
import type { AnyCase, AnyOp, CaseInput, HostView, NumberArray } from '../op.ts';
import { asBytes } from '../dtype.ts';
import { hostOutput } from '../reference/device.ts';
import { checkShape, describeSpec, elementCount } from '../shape.ts';
import type { TensorSpec } from '../shape.ts';
import { compareByNorm } from './compare.ts';
import type { CaseError } from './compare.ts';

/** Uniform integers from a seed (mulberry32). */
export function randomBits(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return (t ^ (t >>> 14)) >>> 0;
  };
}

function hash(text: string): number {
  let value = 2166136261;
  for (const char of text) value = Math.imul(value ^ char.codePointAt(0)!, 16777619);
  return value;
}

/** The host data of one input: raw bits for f16, bf16 and f8e4m3fn, bytes for q8 and q4. The same for the same seed text. */
export function materialise(input: CaseInput, seedText: string): HostArray {
  const count = elementCount(input.shape);
  const bits = randomBits(hash(seedText));
  const uniform = () => (bits() + 0.5) / 2 ** 32;
  const below = { u8: 256, bool: 2, i32: 100, u32: 100, f32: 0, f16: 0, bf16: 0, f8e4m3fn: 0, q8: 0, q4: 0 }[
    input.dtype
  ];
  const fill =
    input.fill ?? (isWeight(input.dtype) ? { kind: 'normal' as const } : { kind: 'integers' as const, below });
  switch (fill.kind) {
    case 'values':
      if (fill.values.length !== count)
        throw new RangeError(`${seedText}: ${fill.values.length} values for ${count} elements`);
      return fromFloat32(input.dtype, fill.values);
    case 'integers':
      return fromFloat32(
        input.dtype,
        Array.from({ length: count }, () => Math.floor(uniform() * fill.below)),
      );
    case 'normal': {
      const { scale = 1, mean = 0 } = fill;
      const normal = () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
      const values = new Float64Array(count);
      for (let i = 0; i < count; i++) values[i] = mean + scale * normal();
      return fromFloat32(input.dtype, values);
    }
  }
}

interface HostInput {
  readonly name: string;
  readonly input: CaseInput;
  readonly data: HostArray;
}

function hostInputs(op: AnyOp, opCase: AnyCase): HostInput[] {
  return Object.entries(opCase.inputs as Record<string, CaseInput | undefined>)
    .filter((entry): entry is [string, CaseInput] => entry[1] !== undefined)
    .map(([name, input]) => ({ name, input, data: materialise(input, `${op.name} ${opCase.name} ${name}`) }));
}

/** What the contract says of a case: the shape and dtype of `y`, once they and the cost are found to be in order. */
function checkContract(op: AnyOp, opCase: AnyCase): TensorSpec {
  const fault = (message: string) => new OpError(op.name, message);
  const given = isOptions(opCase) ? (opCase as { inputs: unknown }).inputs : undefined;
  if (!isOptions(given)) throw fault(`a case { name, inputs, params } expected, got ${describeValue(opCase)}`);
  const inputs = Object.entries<unknown>(given as Record<string, unknown>).filter(([, input]) => input !== undefined);
  for (const [name, input] of inputs) checkSpec(`${op.name}: input ${name}`, input);
  const ask = <R>(what: 'infer' | 'cost', body: () => R): R => {
    try {
      return body();
    } catch (error) {
      if (error instanceof Magi1Error) throw error;
      const names = inputs.map(([name]) => name).join(', ');
      throw new OpError(op.name, `${what} failed for a case with inputs ${names || 'none'}: ${String(error)}`);
    }
  };
  const y = ask('infer', () => inferOutput(op, opCase.inputs, opCase.params));
  checkSpec(`${op.name}: what infer gives`, y);
  if (opCase.y !== undefined && describeSpec(y) !== describeSpec(opCase.y))
    throw fault(`infer gives ${describeSpec(y)}, the case says ${describeSpec(opCase.y)}`);
  const cost: unknown = ask('cost', () => op.cost(opCase.inputs, opCase.params));
  for (const name of ['flops', 'bytes']) {
    const value = (cost as Record<string, unknown> | undefined)?.[name];
    if (!(Number.isFinite(value) && (value as number) >= 0))
      throw fault(`cost: ${name} must be a number from 0, got ${describeValue(value)}`);
  }
  return y;
}

function checkSpec(what: string, spec: unknown): asserts spec is TensorSpec {
  const { shape, dtype } = (spec ?? {}) as Partial<TensorSpec>;
  if (!Array.isArray(shape)) throw new Magi1Error(`${what}: { shape, dtype } expected, got ${describeValue(spec)}`);
  checkShape(what, shape);
  checkDType(what, dtype);
}

const references = new WeakMap<AnyCase, HostView>();

/** The reference's output, floats in float64; computed once per case, when the op's contract is checked as well. */
export function referenceOutput(op: AnyOp, opCase: AnyCase): HostView {
  const known = references.get(opCase);
  if (known !== undefined) return known;
  const y = hostOutput(checkContract(op, opCase));
  const asRead = ({ input: { dtype }, data }: HostInput) =>
    (isWeight(dtype) ? toFloat32(dtype, data) : data).slice() as NumberArray;
  const given = hostInputs(op, opCase);
  const views = given.map((each): [string, HostView] => {
    const { shape, dtype } = each.input;
    return [each.name, { shape, dtype, data: asRead(each) }];
  });
  op.reference({ inputs: Object.fromEntries(views), y, params: opCase.params as unknown });
  for (const [i, [name, { data }]] of views.entries())
    if (!sameBytes(data, asRead(given[i]!))) throw new OpError(op.name, `the reference changed its input ${name}`);
  references.set(opCase, y);
  return y;
}

/**
 * Runs one case on the device and throws when a value, a guard word or the number of live tensors is wrong. Opened with
 * `guardBytes`, the device gives outputs that start as NaN and checks what lies behind them.
 */
export async function checkCase(
  op: AnyOp,
  opCase: AnyCase,
  device: Device,
  compareOutput: typeof compareByNorm = compareByNorm,
): Promise<CaseError> {
  const wanted = referenceOutput(op, opCase);
  const before = device.memory().tensors;
  const inputs = hostInputs(op, opCase).map(({ name, input, data }) => ({
    name,
    data,
    tensor: device.tensor(data, input.shape, input.dtype),
  }));
  const made = inputs.map(({ tensor }) => tensor);
  try {
    const y = runOp(op, Object.fromEntries(inputs.map(({ name, tensor }) => [name, tensor])), opCase.params);
    made.push(y);
    const got = await y.read();
    const actual = isWeight(y.dtype) ? toFloat32(y.dtype, got) : (got as NumberArray);
    if (actual.length !== wanted.data.length) {
      throw new Error(`the output has ${actual.length} elements, must have ${wanted.data.length}`);
    }
    const error = compareOutput('y', actual, wanted, opCase.tolerance);
    for (const { name, tensor, data } of inputs) {
      if (!sameBytes(await tensor.read(), data)) throw new Error(`input ${name} was changed`);
    }
    for (const tensor of made) {
      const damage = await device.guardDamage(tensor);
      if (damage !== undefined) throw new Error(damage);
    }
    return error;
  } finally {
    for (const tensor of made) tensor.dispose();
    const leaked = device.memory().tensors - before;
    if (leaked !== 0) throw new Error(`${leaked} tensors leaked`);
  }
}

function sameBytes(a: HostArray | NumberArray, b: HostArray | NumberArray): boolean {
  const [left, right] = [asBytes(a as HostArray), asBytes(b as HostArray)];
  return left.length === right.length && left.every((byte, i) => byte === right[i]);
}
