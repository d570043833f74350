// Element types and their exact host codecs.
// bf16 and f8e4m3fn have no JavaScript array type: host data of f16, bf16 and f8e4m3fn is raw bits, of q8 and q4 the bytes
// of whole groups (blocks.ts).
import { GROUP, decodeBlocks, encodeBlocks } from './blocks.ts';
import { Magi1Error } from './errors.ts';
import { F8_VALUES, numberToBf16Bits, numberToF16Bits, numberToF8e4m3fnBits } from './float-bits.ts';

export { f8e4m3fnBitsToNumber, bf16BitsToNumber, numberToBf16Bits, numberToF8e4m3fnBits } from './float-bits.ts';

/**
 * Bits of an element, what it is, and the array that holds elements on the host: raw bits for floats but f32. Of `blocks`,
 * 64 elements lie together with their scales; bits are the average, exact for whole groups.
 */
const DTYPES = {
  f32: { bits: 32, kind: 'float', array: Float32Array },
  f16: { bits: 16, kind: 'float', array: Uint16Array },
  bf16: { bits: 16, kind: 'float', array: Uint16Array },
  f8e4m3fn: { bits: 8, kind: 'float', array: Uint8Array },
  q8: { bits: 8.5, kind: 'blocks', array: Uint8Array },
  q4: { bits: 4.5, kind: 'blocks', array: Uint8Array },
  i32: { bits: 32, kind: 'int', array: Int32Array },
  u32: { bits: 32, kind: 'int', array: Uint32Array },
  u8: { bits: 8, kind: 'int', array: Uint8Array },
  bool: { bits: 8, kind: 'bool', array: Uint8Array }, // 0 or 1
} as const;
type DTypes = typeof DTYPES;

export type DType = keyof DTypes;

type OfKind<K> = { [D in DType]: DTypes[D]['kind'] extends K ? D : never }[DType];

/** Types of single real numbers (weights and activations). */
export type FloatDType = OfKind<'float'>;
/** Quantised weights: groups of 64 elements of a row, with f16 scales. */
export type BlockDType = OfKind<'blocks'>;
/** Types whose values are real numbers. */
export type WeightDType = FloatDType | BlockDType;

/** Host storage of each dtype: f16, bf16 and f8e4m3fn as raw bits, q8 and q4 as bytes, bool as one byte 0 or 1. */
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

/** Bytes of `count` neighbouring elements, such as a row: whole ones. Of q8 and q4, `count` is whole groups. */
export const bytesOf = (dtype: DType, count: number): number => Math.ceil((count * DTYPES[dtype].bits) / 8);

const DTYPE_NAMES = Object.keys(DTYPES) as DType[];

export const isFloat = (dtype: DType): dtype is FloatDType => DTYPES[dtype].kind === 'float';
export const isBlocks = (dtype: DType): dtype is BlockDType => DTYPES[dtype].kind === 'blocks';
/** Whether values are real numbers. */
export const isWeight = (dtype: DType): dtype is WeightDType => isFloat(dtype) || isBlocks(dtype);

export const floatDTypes: readonly FloatDType[] = DTYPE_NAMES.filter(isFloat);

/** What a matrix may be stored as: kernels decode it. */
export const weightDTypes: readonly WeightDType[] = DTYPE_NAMES.filter(isWeight);

/** A zeroed host array of `length` elements. */
export function hostArray<D extends DType>(dtype: D, length: number): HostArrays[D] {
  return new DTYPES[dtype].array(isBlocks(dtype) ? groupBytes(dtype, length) : length) as HostArrays[D];
}

/** Elements in a host array. */
export function elementsIn(dtype: DType, data: HostArray): number {
  return isBlocks(dtype) ? (data.length * 8) / DTYPES[dtype].bits : data.length;
}

/** Bytes of whole groups; any other number of elements is an error. */
function groupBytes(dtype: BlockDType, count: number): number {
  if (count % GROUP === 0) return bytesOf(dtype, count);
  throw new Magi1Error(`${dtype}: elements come in groups of ${GROUP}, got ${count}`);
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

/** Widens host data of any dtype to float32; exact for every float dtype, q8, q4, u8 and bool. f32 comes back as it is. */
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
    case 'q8':
    case 'q4':
      return decodeBlocks(dtype, data as Uint8Array);
    default:
      return Float32Array.from(data);
  }
}

/**
 * Narrows numbers to a dtype's host array, nearest even for floats; integers wrap as typed arrays do. Of q8 and q4 the scale
 * is chosen for each 32 numbers, and one that is not finite, or beyond what an f16 scale can reach, makes all 32 NaN.
 */
export function fromFloat32<D extends DType>(dtype: D, values: ArrayLike<number>): HostArrays[D] {
  if (isBlocks(dtype)) {
    groupBytes(dtype, values.length);
    const floats = values instanceof Float32Array ? values : Float32Array.from(values);
    return encodeBlocks(dtype, floats) as HostArrays[D];
  }
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
