// Comparisons with golden values: relative L2, largest absolute difference, exact integers, uint8 levels.
import { describeSpec, elementCount, sameShape, toFloat32 } from '@magi1/tensor';
import type { HostTensor, Shape, Tensor } from '@magi1/tensor';
import type { Check } from './types.ts';

export interface Gate {
  readonly relL2?: number;
  readonly maxAbs?: number;
}

export function describeGate({ relL2, maxAbs }: Gate): string {
  const parts = [relL2 !== undefined && `relative L2 ${relL2}`, maxAbs !== undefined && `absolute ${maxAbs}`];
  return parts.filter((part) => part !== false).join(', ');
}

/** Differences of two float arrays. A NaN on either side gives NaN, which passes no gate. */
export function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): { maxAbs: number; relL2: number } {
  let [maxAbs, square, norm] = [0, 0, 0];
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    if (!(error <= maxAbs)) maxAbs = error;
    square += error * error;
    norm += expected[i]! ** 2;
  }
  return { maxAbs, relL2: square === 0 ? 0 : Math.sqrt(square / norm) };
}

export function compareFloats(what: string, actual: ArrayLike<number>, expected: ArrayLike<number>, gate: Gate): Check {
  const tolerance = describeGate(gate);
  if (actual.length !== expected.length) {
    return { what, pass: false, tolerance, detail: `${actual.length} values, expected ${expected.length}` };
  }
  const found = difference(actual, expected);
  const pass =
    found.relL2 <= (gate.relL2 ?? Infinity) && found.maxAbs <= (gate.maxAbs ?? Infinity) && !Number.isNaN(found.relL2);
  return { what, pass, tolerance, ...found };
}

/** Reads a device tensor and compares it with a golden float tensor; shapes must agree up to axes of length one. */
export async function compareTensor(what: string, actual: Tensor, golden: HostTensor, gate: Gate): Promise<Check> {
  const squeeze = (shape: Shape) => shape.filter((dim) => dim !== 1);
  if (!sameShape(squeeze(actual.shape), squeeze(golden.shape))) {
    return {
      what,
      pass: false,
      tolerance: describeGate(gate),
      detail: `${describeSpec(actual)}, expected ${describeSpec(golden)}`,
    };
  }
  return compareFloats(what, await actual.toFloat32(), toFloat32(golden.dtype, golden.data), gate);
}

export function compareExact(what: string, actual: ArrayLike<unknown>, expected: ArrayLike<unknown>): Check {
  const length = Math.max(actual.length, expected.length);
  for (let i = 0; i < length; i++) {
    if (actual[i] !== expected[i]) {
      const detail = `at ${i} of ${expected.length}: ${JSON.stringify(actual[i])}, expected ${JSON.stringify(expected[i])}`;
      return { what, pass: false, tolerance: 'exact', detail };
    }
  }
  return { what, pass: true, tolerance: 'exact' };
}

/** uint8 values: at most one level off, on fewer than `share` of them. */
export function compareLevels(what: string, actual: Uint8Array, expected: Uint8Array, share: number): Check {
  const tolerance = `1 level on fewer than ${share * 100} %`;
  if (actual.length !== expected.length) {
    return { what, pass: false, tolerance, detail: `${actual.length} values, expected ${expected.length}` };
  }
  let [off, maxAbs] = [0, 0];
  for (let i = 0; i < expected.length; i++) {
    const error = Math.abs(actual[i]! - expected[i]!);
    if (error > 0) off++;
    if (error > maxAbs) maxAbs = error;
  }
  const pass = maxAbs <= 1 && (expected.length === 0 || off / expected.length < share);
  return {
    what,
    pass,
    tolerance,
    ...difference(actual, expected),
    detail: `${off} of ${expected.length} differ`,
  };
}

/** A named golden tensor, or an error that lists what the file has. */
export function golden(tensors: ReadonlyMap<string, HostTensor>, name: string): HostTensor {
  const tensor = tensors.get(name);
  if (tensor === undefined)
    throw new Error(`golden tensor ${name} is missing; the file has ${[...tensors.keys()].join(', ')}`);
  return tensor;
}

/** Golden float values as float32. */
export function goldenFloats(tensors: ReadonlyMap<string, HostTensor>, name: string): Float32Array {
  const tensor = golden(tensors, name);
  return toFloat32(tensor.dtype, tensor.data);
}

/** Puts a golden tensor on the device, under another shape if given. */
export function toDevice(device: Tensor['device'], tensor: HostTensor, shape: Shape = tensor.shape): Tensor {
  if (elementCount(shape) !== tensor.data.length)
    throw new Error(`${describeSpec(tensor)} is not [${shape.join(',')}]`);
  return device.tensor(tensor.data, shape, tensor.dtype);
}
