// Runs the case tables of ops on a device and compares with the op's reference in float64.
import { bytesPerElement, elementCount, fromFloat32, hostOutput, isFloat, runOp, toFloat32 } from '@magi1/tensor';
import type {
  AnyOp,
  CaseInput,
  Device,
  HostArray,
  HostOutput,
  HostView,
  NumberArray,
  OpCase,
  Tensor,
} from '@magi1/tensor';

/* eslint-disable-next-line @typescript-eslint/no-explicit-any -- cases of any op */
export type AnyCase = OpCase<any, any, any>;

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

const references = new WeakMap<AnyCase, HostOutput[]>();

/** The reference's outputs, floats in float64; computed once per case. */
export function referenceOutputs(op: AnyOp, opCase: AnyCase): HostOutput[] {
  const known = references.get(opCase);
  if (known !== undefined) return known;
  const views = Object.fromEntries(
    hostInputs(op, opCase).map(({ name, input, data }): [string, HostView] => {
      const values = isFloat(input.dtype) ? toFloat32(input.dtype, data) : data;
      return [name, { shape: input.shape, dtype: input.dtype, data: values as NumberArray }];
    }),
  );
  const outputs = op.infer(opCase.inputs, opCase.params).map(hostOutput);
  op.reference(views, outputs, opCase.params);
  references.set(opCase, outputs);
  return outputs;
}

/**
 * Runs one case on the device and throws when a value, a guard word or the number of live tensors is wrong. Opened with
 * `guardBytes`, the device gives outputs that start as NaN and checks what lies behind them.
 */
export async function checkCase(op: AnyOp, opCase: AnyCase, device: Device): Promise<CaseError> {
  const wanted = referenceOutputs(op, opCase);
  const before = device.memory().tensors;
  const inputs = hostInputs(op, opCase).map(({ name, input, data }) => ({
    name,
    data,
    tensor: device.tensor(data, input.shape, input.dtype),
  }));
  let outputs: Tensor[] = [];
  try {
    outputs = runOp(op, Object.fromEntries(inputs.map(({ name, tensor }) => [name, tensor])), opCase.params);
    const got = await Promise.all(outputs.map((output) => output.read()));
    const error = compare(opCase, outputs, got, wanted);
    for (const { name, tensor, data } of inputs) {
      if (!sameBytes(await tensor.read(), data)) throw new Error(`input ${name} was changed`);
    }
    for (const tensor of [...outputs, ...inputs.map((input) => input.tensor)]) {
      const damage = 'guardDamage' in device ? await (device as GuardedDevice).guardDamage(tensor) : undefined;
      if (damage !== undefined) throw new Error(damage);
    }
    return error;
  } finally {
    for (const tensor of [...outputs, ...inputs.map((input) => input.tensor)]) tensor.dispose();
    const leaked = device.memory().tensors - before;
    if (leaked !== 0) throw new Error(`${leaked} tensors leaked`);
  }
}

/** What a device opened with `guardBytes` offers. */
interface GuardedDevice extends Device {
  guardDamage(tensor: Tensor): Promise<string | undefined>;
}

function sameBytes(a: HostArray, b: HostArray): boolean {
  const bytes = (array: HostArray) => Buffer.from(array.buffer as ArrayBuffer, array.byteOffset, array.byteLength);
  return bytes(a).equals(bytes(b));
}

function compare(opCase: AnyCase, outputs: Tensor[], got: HostArray[], wanted: HostOutput[]): CaseError {
  const tolerance = opCase.tolerance ?? DEFAULT_TOLERANCE;
  let worst: CaseError = { relativeL2: 0, relativeMax: 0 };
  outputs.forEach((output, k) => {
    const want = wanted[k]!;
    if (got[k]!.length !== want.data.length) throw new Error(`output ${k} has ${got[k]!.length} elements`);
    if (!isFloat(output.dtype)) {
      exactly(k, got[k]! as NumberArray, want.data);
      return;
    }
    const actual = toFloat32(output.dtype, got[k]!);
    // Narrow outputs are judged against the reference rounded to their dtype.
    const narrow = tolerance === 0 || bytesPerElement(output.dtype) < 4;
    const expected = narrow ? toFloat32(output.dtype, fromFloat32(output.dtype, want.data)) : want.data;
    if (tolerance === 0) {
      exactly(k, actual, expected);
      return;
    }
    const error = floatError(k, actual, expected);
    if (!(error.relativeL2 <= tolerance && error.relativeMax <= tolerance * MAX_ERROR_FACTOR)) {
      throw new Error(
        `output ${k}: relative L2 error ${error.relativeL2.toExponential(2)}, largest error ${error.relativeMax.toExponential(2)} ` +
          `of the largest value; tolerance ${tolerance}`,
      );
    }
    worst = {
      relativeL2: Math.max(worst.relativeL2, error.relativeL2),
      relativeMax: Math.max(worst.relativeMax, error.relativeMax),
    };
  });
  return worst;
}

function exactly(k: number, got: NumberArray, want: NumberArray): void {
  for (let i = 0; i < want.length; i++) {
    if (!Object.is(got[i], want[i])) throw new Error(`output ${k}[${i}] is ${got[i]!}, must be exactly ${want[i]!}`);
  }
}

function floatError(k: number, got: NumberArray, want: NumberArray): CaseError {
  let errors = 0;
  let squares = 0;
  let maxError = 0;
  let max = 0;
  for (let i = 0; i < want.length; i++) {
    const [value, wanted] = [got[i]!, want[i]!];
    if (!Number.isFinite(wanted) || !Number.isFinite(value)) {
      if (Object.is(value, Math.fround(wanted))) continue;
      throw new Error(`output ${k}[${i}] is ${value}, must be ${wanted}`);
    }
    const error = Math.abs(value - wanted);
    errors += error * error;
    squares += wanted * wanted;
    maxError = Math.max(maxError, error);
    max = Math.max(max, Math.abs(wanted));
  }
  const ratio = (error: number, size: number) => (error === 0 ? 0 : error / size);
  return { relativeL2: ratio(Math.sqrt(errors), Math.sqrt(squares)), relativeMax: ratio(maxError, max) };
}
