// Runs the case tables of ops on a device and compares with the op's reference in float64.
import {
  bitsPerElement,
  elementCount,
  fromFloat32,
  hostOutput,
  inferOutput,
  isFloat,
  rowMajorStrides,
  runOp,
  toFloat32,
} from '@magi1/tensor';
import type { AnyCase, AnyOp, CaseInput, Device, HostArray, HostView, NumberArray, Shape } from '@magi1/tensor';

export interface CaseError {
  /** ||got - want|| / ||want|| over the finite elements of all float outputs. */
  readonly relativeL2: number;
  /** Largest |got - want|, relative to the largest |want|. */
  readonly relativeMax: number;
}

const DEFAULT_TOLERANCE = 1e-6;
/** One element may be off by this many times the tolerance, relative to the largest: catches single wrong elements. */
const MAX_ERROR_FACTOR = 32;

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

/** The host data of one input: raw bits for f16, bf16 and f8e4m3fn. The same for the same seed text. */
export function materialise(input: CaseInput, seedText: string): HostArray {
  const count = elementCount(input.shape);
  const bits = randomBits(hash(seedText));
  const uniform = () => (bits() + 0.5) / 2 ** 32;
  const below = { u8: 256, bool: 2, i32: 100, u32: 100, f32: 0, f16: 0, bf16: 0, f8e4m3fn: 0 }[input.dtype];
  const fill =
    input.fill ?? (isFloat(input.dtype) ? { kind: 'normal' as const } : { kind: 'integers' as const, below });
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

const references = new WeakMap<AnyCase, HostView>();

/** The reference's output, floats in float64; computed once per case. */
export function referenceOutput(op: AnyOp, opCase: AnyCase): HostView {
  const known = references.get(opCase);
  if (known !== undefined) return known;
  const views = Object.fromEntries(
    hostInputs(op, opCase).map(({ name, input, data }): [string, HostView] => {
      const values = isFloat(input.dtype) ? toFloat32(input.dtype, data) : data;
      return [name, { shape: input.shape, dtype: input.dtype, data: values as NumberArray }];
    }),
  );
  const y = hostOutput(inferOutput(op, opCase.inputs, opCase.params));
  op.reference({ inputs: views, y, params: opCase.params as unknown });
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
    if (got.length !== wanted.data.length) {
      throw new Error(`the output has ${got.length} elements, must have ${wanted.data.length}`);
    }
    const actual = isFloat(y.dtype) ? toFloat32(y.dtype, got) : (got as NumberArray);
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

function sameBytes(a: HostArray, b: HostArray): boolean {
  const bytes = (array: HostArray) => Buffer.from(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength);
  return bytes(a).equals(bytes(b));
}

/** Integers exactly, floats by the norm of their error and their largest error. */
export function compareByNorm(
  name: string,
  got: NumberArray,
  want: HostView,
  tolerance: number = DEFAULT_TOLERANCE,
): CaseError {
  const expected = asStored(want, tolerance === 0);
  if (tolerance === 0 || !isFloat(want.dtype)) return exactly(name, got, want.shape, expected);
  const { worst, ...error } = floatError(name, got, want.shape, expected);
  if (error.relativeL2 <= tolerance && error.relativeMax <= tolerance * MAX_ERROR_FACTOR) return error;
  throw new Error(
    `${element(name, worst, want.shape)} is ${got[worst]!}, must be ${expected[worst]!}; ` +
      `relative L2 error ${error.relativeL2.toExponential(2)}, largest error ${error.relativeMax.toExponential(2)} ` +
      `of the largest value; tolerance ${tolerance}`,
  );
}

/** Narrow outputs are judged against the reference rounded to their dtype, f32 ones if they must be the same bits. */
export function asStored(want: HostView, rounded: boolean): NumberArray {
  if (!isFloat(want.dtype) || !(rounded || bitsPerElement(want.dtype) < 32)) return want.data;
  return toFloat32(want.dtype, fromFloat32(want.dtype, want.data));
}

/** What a number may be off by where no scale is known: this share of itself, and this much beside. */
const ELEMENT_TOLERANCE = 1e-5;
const ELEMENT_FLOOR = 1e-6;

/** Every element by itself, so that large ones hide nothing: NaN for NaN, infinities with their sign, narrow ones exactly. */
export function compareByElement(name: string, got: NumberArray, want: HostView): CaseError {
  if (want.dtype !== 'f32') return exactly(name, got, want.shape, asStored(want, true));
  want.data.forEach((exact, i) => {
    // f32 has no numbers beyond its largest one.
    const wanted = Math.fround(exact);
    const near = Math.abs(got[i]! - wanted) <= ELEMENT_TOLERANCE * Math.abs(wanted) + ELEMENT_FLOOR;
    if (!(Object.is(got[i], wanted) || (Number.isFinite(wanted) && near))) {
      throw new Error(`${element(name, i, want.shape)} is ${got[i]!}, must be ${wanted}`);
    }
  });
  return { relativeL2: 0, relativeMax: 0 };
}

/** An element by its place in the tensor. */
function element(name: string, index: number, shape: Shape): string {
  const place = rowMajorStrides(shape).map((stride, axis) => Math.floor(index / stride) % shape[axis]!);
  return `${name}[${place.join(',')}]`;
}

function exactly(name: string, got: NumberArray, shape: Shape, want: NumberArray): CaseError {
  for (let i = 0; i < want.length; i++) {
    if (!Object.is(got[i], want[i])) {
      throw new Error(`${element(name, i, shape)} is ${got[i]!}, must be exactly ${want[i]!}`);
    }
  }
  return { relativeL2: 0, relativeMax: 0 };
}

function floatError(
  name: string,
  got: NumberArray,
  shape: Shape,
  want: NumberArray,
): CaseError & { readonly worst: number } {
  let errors = 0;
  let squares = 0;
  let maxError = 0;
  let max = 0;
  let worst = 0;
  for (let i = 0; i < want.length; i++) {
    const [value, wanted] = [got[i]!, want[i]!];
    if (!Number.isFinite(wanted) || !Number.isFinite(value)) {
      if (Object.is(value, Math.fround(wanted))) continue;
      throw new Error(`${element(name, i, shape)} is ${value}, must be ${wanted}`);
    }
    const error = Math.abs(value - wanted);
    errors += error * error;
    squares += wanted * wanted;
    if (error > maxError) [maxError, worst] = [error, i];
    max = Math.max(max, Math.abs(wanted));
  }
  const ratio = (error: number, size: number) => (error === 0 ? 0 : error / size);
  return { relativeL2: ratio(Math.sqrt(errors), Math.sqrt(squares)), relativeMax: ratio(maxError, max), worst };
}
