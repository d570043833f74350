// Element types as files name them, and how each becomes host data.
// Types that @magi1/tensor holds come back bit for bit. The others widen without loss (i8, i16 -> i32; u16 -> u32;
// f8e5m2 -> f16) or narrow under a check: f64 -> f32 (rounded; refused when a finite value overflows), i64 -> i32 and
// u64 -> u32 (refused unless every value fits). The rest is listed and readable as raw bytes only.
import {
  bitsPerElement as bitsOf,
  bytesOf,
  elementCount,
  FileFormatError,
  hostArray,
  isDType,
  viewBytes,
} from '@magi1/tensor';
import type { DType, HostArray, HostTensor } from '@magi1/tensor';
import { allocate } from './bytes.ts';
import type { ByteSource } from './bytes.ts';

/** Types that only files have: their bits, and what they are read as, if anything. */
const FILE_ONLY = {
  f64: { bits: 64, host: 'f32' },
  i64: { bits: 64, host: 'i32' },
  u64: { bits: 64, host: 'u32' },
  i16: { bits: 16, host: 'i32' },
  u16: { bits: 16, host: 'u32' },
  i8: { bits: 8, host: 'i32' },
  f8e5m2: { bits: 8, host: 'f16' },
  f8e4m3fnuz: { bits: 8, host: undefined },
  f8e5m2fnuz: { bits: 8, host: undefined },
  f8e8m0: { bits: 8, host: undefined },
  f6e2m3: { bits: 6, host: undefined },
  f6e3m2: { bits: 6, host: undefined },
  f4: { bits: 4, host: undefined },
  c64: { bits: 64, host: undefined },
  c128: { bits: 128, host: undefined },
} as const;

export type FileDType = DType | keyof typeof FILE_ONLY;

export function bitsPerElement(dtype: FileDType): number {
  return isDType(dtype) ? bitsOf(dtype) : FILE_ONLY[dtype].bits;
}

/** The host dtype that a tensor of this file dtype is read as; undefined when only its raw bytes can be had. */
export function hostDType(dtype: FileDType): DType | undefined {
  return isDType(dtype) ? dtype : FILE_ONLY[dtype].host;
}

/** Byte length of a tensor; undefined when it exceeds 2^53 or is not a whole number of bytes. */
export function tensorByteLength(dtype: FileDType, shape: readonly number[]): number | undefined {
  const bits = elementCount(shape) * bitsPerElement(dtype);
  return Number.isSafeInteger(bits) && bits % 8 === 0 ? bits / 8 : undefined;
}

export interface ReadOptions {
  /** Memory to place the host data in, for callers that read many tensors one after another. Grows no garbage. */
  readonly buffer?: ArrayBuffer | Uint8Array | undefined;
  /** Ends the read early, where the source can. */
  readonly signal?: AbortSignal | undefined;
}

/** Bytes converted at a time, so that a conversion never holds the tensor twice. */
const PIECE = 1 << 20;

/**
 * Reads a whole tensor from its raw little-endian bytes, which begin at `start` of a source.
 * @param what file and tensor name for messages
 * @throws FileFormatError when the dtype has no host form or a value does not fit it.
 */
export async function readHostTensor(
  what: string,
  { dtype, shape }: { readonly dtype: FileDType; readonly shape: readonly number[] },
  source: Pick<ByteSource, 'read'>,
  start: number,
  options: ReadOptions = {},
): Promise<HostTensor> {
  const target = hostDType(dtype);
  if (!target) throw new FileFormatError(`${what}: elements of type ${dtype} are not supported (raw bytes only)`);
  const count = elementCount(shape);
  const byteLength = bytesOf(target, count);
  const { buffer } = options;
  const memory =
    buffer === undefined || buffer.byteLength < byteLength
      ? allocate(what, byteLength)
      : buffer instanceof Uint8Array
        ? buffer.subarray(0, byteLength)
        : new Uint8Array(buffer, 0, byteLength);
  const data = viewBytes(target, memory);
  if (dtype === target) {
    await source.read(start, byteLength, memory, options.signal);
    if (dtype === 'bool') for (let i = 0; i < count; i++) memory[i] = memory[i] === 0 ? 0 : 1;
  } else {
    const size = bitsPerElement(dtype) / 8;
    const piece = new Uint8Array(Math.min(PIECE, count * size));
    for (let first = 0; first < count;) {
      const elements = Math.min(count - first, PIECE / size);
      const bytes = piece.subarray(0, elements * size);
      await source.read(start + first * size, bytes.length, bytes, options.signal);
      convert(what, dtype, bytes, data, first);
      first += elements;
    }
  }
  return { dtype: target, shape: [...shape], data };
}

/** Raw little-endian bytes of any supported file dtype as host data. */
export function hostTensorFromBytes(
  what: string,
  dtype: FileDType,
  shape: readonly number[],
  bytes: Uint8Array,
): HostTensor {
  const target = hostDType(dtype);
  if (!target) throw new FileFormatError(`${what}: elements of type ${dtype} are not supported (raw bytes only)`);
  if (dtype === target && dtype !== 'bool') return { dtype: target, shape: [...shape], data: viewBytes(target, bytes) };
  const data = hostArray(target, (bytes.length * 8) / bitsPerElement(dtype));
  if (dtype === 'bool') for (let i = 0; i < bytes.length; i++) data[i] = bytes[i] === 0 ? 0 : 1;
  else convert(what, dtype, bytes, data, 0);
  return { dtype: target, shape: [...shape], data };
}

function convert(what: string, dtype: FileDType, bytes: Uint8Array, out: HostArray, first: number): void {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const size = bitsPerElement(dtype) / 8;
  const count = bytes.length / size;
  for (let i = 0; i < count; i++) {
    const at = i * size;
    switch (dtype) {
      case 'f64': {
        const value = view.getFloat64(at, true);
        out[first + i] = value;
        if (Number.isFinite(value) && !Number.isFinite(out[first + i]!)) refuse(what, value, first + i, 'f32');
        break;
      }
      case 'i64': {
        const low = view.getInt32(at, true);
        if (view.getInt32(at + 4, true) !== low >> 31) refuse(what, view.getBigInt64(at, true), first + i, 'i32');
        out[first + i] = low;
        break;
      }
      case 'u64':
        if (view.getUint32(at + 4, true) !== 0) refuse(what, view.getBigUint64(at, true), first + i, 'u32');
        out[first + i] = view.getUint32(at, true);
        break;
      case 'i16':
        out[first + i] = view.getInt16(at, true);
        break;
      case 'u16':
        out[first + i] = view.getUint16(at, true);
        break;
      case 'i8':
        out[first + i] = view.getInt8(at);
        break;
      case 'f8e5m2':
        // e5m2 is the upper byte of a half.
        out[first + i] = view.getUint8(at) << 8;
        break;
      default:
        throw new FileFormatError(`${what}: no conversion from ${dtype}`);
    }
  }
}

function refuse(what: string, value: number | bigint, index: number, target: DType): never {
  throw new FileFormatError(`${what}: value ${String(value)} at index ${index} does not fit ${target}`);
}
