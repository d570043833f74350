// Element types and their exact host codecs.
// bf16 and f8e4m3fn have no JavaScript array type: host data of f16, bf16 and f8e4m3fn is raw bits.
import { Magi1Error } from './errors.ts';

/** Bits of an element, what it is, and the array that holds elements on the host: raw bits for floats but f32. */
const DTYPES = {
  f32: { bits: 32, kind: 'float', array: Float32Array },
  f16: { bits: 16, kind: 'float', array: Uint16Array },
  bf16: { bits: 16, kind: 'float', array: Uint16Array },
  f8e4m3fn: { bits: 8, kind: 'float', array: Uint8Array },
  i32: { bits: 32, kind: 'int', array: Int32Array },
  u32: { bits: 32, kind: 'int', array: Uint32Array },
  u8: { bits: 8, kind: 'int', array: Uint8Array },
  bool: { bits: 8, kind: 'bool', array: Uint8Array }, // 0 or 1
} as const;
type DTypes = typeof DTYPES;

export type DType = keyof DTypes;

/** Types whose values are real numbers (weights and activations). */
export type FloatDType = { [D in DType]: DTypes[D]['kind'] extends 'float' ? D : never }[DType];

/** Host storage of each dtype: f16, bf16 and f8e4m3fn as raw bits, bool as one byte 0 or 1. */
export type HostArrays = { [D in DType]: DTypes[D]['array']['prototype'] };
export type HostArray = HostArrays[DType];

export const isDType = (dtype: unknown): dtype is DType => typeof dtype === 'string' && Object.hasOwn(DTYPES, dtype);

/** Refuses what is not a dtype, and names the argument where it was left out. */
export function checkDType(what: string, dtype: unknown): void {
  if (isDType(dtype)) return;
  const got = dtype === undefined ? 'it is missing' : `got ${JSON.stringify(dtype)}`;
  throw new Magi1Error(`${what}: dtype must be one of ${Object.keys(DTYPES).join(', ')}, ${got}`);
}

export const bitsPerElement = (dtype: DType): number => DTYPES[dtype].bits;

/** Bytes of `count` neighbouring elements, such as a row: whole ones, also of a dtype with less than 8 bits. */
export const bytesOf = (dtype: DType, count: number): number => Math.ceil((count * DTYPES[dtype].bits) / 8);

export const isFloat = (dtype: DType): dtype is FloatDType => DTYPES[dtype].kind === 'float';

/** What a matrix may be stored as: kernels decode it. */
export const weightDTypes: readonly FloatDType[] = (Object.keys(DTYPES) as DType[]).filter(isFloat);

/** A zeroed host array of `length` elements. */
export function hostArray<D extends DType>(dtype: D, length: number): HostArrays[D] {
  return new DTYPES[dtype].array(length) as HostArrays[D];
}

/** Views `bytes` as elements of `dtype`; copies when the byte offset is not aligned to the element. */
export function viewBytes<D extends DType>(dtype: D, bytes: Uint8Array): HostArrays[D] {
  const { array } = DTYPES[dtype];
  const size = array.BYTES_PER_ELEMENT;
  const aligned = bytes.byteOffset % size === 0 ? bytes : bytes.slice();
  return new array(aligned.buffer as ArrayBuffer, aligned.byteOffset, aligned.byteLength / size) as HostArrays[D];
}

/** The bytes of a host array, without a copy. */
export function asBytes(array: HostArray): Uint8Array {
  return new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
}

const f32Scratch = new Float32Array(1);
const u32Scratch = new Uint32Array(f32Scratch.buffer);

/** Of a number from 0 to 2^51: doubles have no fractions from 2^52 on. */
const roundHalfEven = (value: number): number => value + 2 ** 52 - 2 ** 52;

/** Nearest even; magnitudes that round above 65504 become Infinity. */
function numberToF16Bits(value: number): number {
  f32Scratch[0] = value; // of which sign and exponent are taken; where that is one too large, both choices round alike
  const bits = u32Scratch[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (!(magnitude < 65520)) return sign | (Number.isNaN(value) ? 0x7e00 : 0x7c00);
  const exponent = Math.max(((bits >>> 23) & 0xff) - 127, -14);
  u32Scratch[0] = (10 - exponent + 127) << 23;
  const steps = roundHalfEven(magnitude * f32Scratch[0]);
  // steps counts 1024ths of 2^exponent; the leading 1024 of a normal number, and a carry, go into the exponent.
  return sign | (((exponent + 14) << 10) + steps);
}

export function bf16BitsToNumber(bits: number): number {
  u32Scratch[0] = bits << 16;
  return f32Scratch[0]!;
}

/** Nearest even; NaN stays a quiet NaN. */
export function numberToBf16Bits(value: number): number {
  f32Scratch[0] = value;
  const bits = u32Scratch[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

const F8_VALUES = Float32Array.from({ length: 256 }, (_, bits) => {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 15;
  const mantissa = bits & 7;
  if (exponent === 15 && mantissa === 7) return NaN;
  return sign * (exponent === 0 ? mantissa / 512 : (1 + mantissa / 8) * 2 ** (exponent - 7));
});

export function f8e4m3fnBitsToNumber(bits: number): number {
  return F8_VALUES[bits & 0xff]!;
}

/**
 * Nearest even; magnitudes that round above 448 become NaN, as in ml_dtypes (the format has no infinity). PyTorch 2.13
 * takes 448 for them, infinity included. It matters in casts only: activations of fp8 layers are limited to 448 before
 * they are rounded, as the original does it.
 */
export function numberToF8e4m3fnBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  const magnitude = Math.abs(value);
  if (!(magnitude < 464)) return magnitude === 464 ? sign | 0x7e : sign | 0x7f;
  const exponent = magnitude < 2 ** -6 ? -6 : Math.floor(Math.log2(magnitude));
  const ulp = 2 ** (exponent - 3);
  const steps = roundHalfEven(magnitude / ulp);
  // steps counts eighths of 2^exponent; a carry into the next binade falls out of the addition.
  return sign | (magnitude < 2 ** -6 ? steps : ((exponent + 7) << 3) + (steps - 8));
}

/** Widens host data of any dtype to float32; exact for every float dtype, u8 and bool. f32 comes back as it is. */
export function toFloat32(dtype: DType, data: HostArray): Float32Array {
  switch (dtype) {
    case 'f32':
      return data as Float32Array;
    case 'f16': {
      const wide = new Uint32Array(data.length);
      const values = new Float32Array(wide.buffer);
      for (let i = 0; i < data.length; i++) {
        const bits = data[i]!;
        const special = (bits & 0x7c00) === 0x7c00 ? 0x7f800000 : 0;
        wide[i] = ((bits & 0x8000) << 16) | special | ((bits & 0x7fff) << 13);
        values[i]! *= 2 ** 112; // the exponents' biases differ by that; exact for subnormal numbers too
      }
      return values;
    }
    case 'bf16': {
      const wide = new Uint32Array(data.length);
      for (let i = 0; i < data.length; i++) wide[i] = data[i]! << 16;
      return new Float32Array(wide.buffer);
    }
    case 'f8e4m3fn': {
      const out = new Float32Array(data.length);
      for (let i = 0; i < data.length; i++) out[i] = F8_VALUES[data[i]!]!;
      return out;
    }
    default:
      return Float32Array.from(data);
  }
}

/** Narrows numbers to a dtype's host array, nearest even for floats; integers wrap as typed arrays do. */
export function fromFloat32<D extends DType>(dtype: D, values: ArrayLike<number>): HostArrays[D] {
  const out = hostArray(dtype, values.length);
  switch (dtype) {
    case 'f16':
      for (let i = 0; i < values.length; i++) out[i] = numberToF16Bits(values[i]!);
      break;
    case 'bf16':
      for (let i = 0; i < values.length; i++) out[i] = numberToBf16Bits(values[i]!);
      break;
    case 'f8e4m3fn':
      for (let i = 0; i < values.length; i++) out[i] = numberToF8e4m3fnBits(values[i]!);
      break;
    case 'bool':
      for (let i = 0; i < values.length; i++) out[i] = values[i] ? 1 : 0;
      break;
    default:
      out.set(values);
  }
  return out;
}

/** A named tensor on the host: what loaders hand over. */
export interface HostTensor<D extends DType = DType> {
  readonly dtype: D;
  readonly shape: readonly number[];
  readonly data: HostArrays[D];
}
