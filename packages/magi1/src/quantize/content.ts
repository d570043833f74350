// What a file of a new model consists of: pieces of bounded size, each made of one range of a source. The same pieces in the
// same order whenever it is begun, so that a file can be gone on with after any of them.
import { safetensorsHead } from '@magi1/loaders';
import type { ByteSource, TensorFile } from '@magi1/loaders';
import { asBytes, byteLengthOf, bytesOf, fromFloat32, isDType, isWeight, toFloat32, viewBytes } from '@magi1/tensor';
import type { DType, Shape } from '@magi1/tensor';
import { Magi1Error } from '@magi1/tensor';

/** One range of a file that is made. */
export interface Piece {
  /** One past its last byte in the file. */
  readonly end: number;
  /** Bytes of the source that it stands for. */
  readonly read: number;
  /** What it is made of. */
  fetch(): Promise<Uint8Array>;
  /** Its bytes, of what was fetched. */
  make(fetched: Uint8Array): Uint8Array;
}

export interface Content {
  /** In bytes. */
  readonly size: number;
  readonly pieces: readonly Piece[];
}

/** Elements made, or bytes copied, at a time. */
const PIECE = 1 << 22;
/** Elements converted at a time: they stay in the processor's cache. */
const STEP = 1 << 16;

const asItIs = (bytes: Uint8Array): Uint8Array => bytes;

/** A file as it is. */
export function copyOf(source: ByteSource): Content {
  const pieces: Piece[] = [];
  for (let at = 0; at < source.size; at += PIECE) {
    const length = Math.min(PIECE, source.size - at);
    pieces.push({ end: at + length, read: length, fetch: () => source.read(at, length), make: asItIs });
  }
  return { size: source.size, pieces };
}

/** Bytes that are there already. */
export function contentOf(bytes: Uint8Array): Content {
  return {
    size: bytes.length,
    pieces: [{ end: bytes.length, read: 0, fetch: () => Promise.resolve(bytes), make: asItIs }],
  };
}

/** A tensor of the new file. */
export interface NewTensor {
  readonly name: string;
  readonly shape: Shape;
  /** As the source stores it. */
  readonly stored: DType;
  readonly dtype: DType;
}

/** A safetensors file with the tensors of another file, in its order, some of them in another type. */
export function safetensorsOf(
  where: string,
  file: TensorFile,
  tensors: readonly NewTensor[],
): Content & { readonly tensorsAt: number } {
  const head = safetensorsHead(
    where,
    tensors.map((tensor) => [tensor.name, tensor] as const),
    file.metadata,
  );
  const pieces: Piece[] = [{ end: head.length, read: 0, fetch: () => Promise.resolve(head), make: asItIs }];
  let start = head.length;
  for (const { name, shape, stored, dtype } of tensors) {
    const count = shape.reduce((product, dim) => product * dim, 1);
    for (let at = 0; at < count; at += PIECE) {
      const elements = Math.min(PIECE, count - at);
      const [from, length] = [bytesOf(stored, at), bytesOf(stored, elements)];
      pieces.push({
        end: start + bytesOf(dtype, at + elements),
        read: length,
        fetch: () => file.readRange(name, from, length),
        make: (bytes) => convert(stored, dtype, bytes),
      });
    }
    start += byteLengthOf({ shape, dtype });
  }
  return { size: start, pieces, tensorsAt: head.length };
}

/** Raw elements of one type as another's. */
function convert(stored: DType, dtype: DType, bytes: Uint8Array): Uint8Array {
  if (stored === dtype) return bytes;
  const data = viewBytes(stored, bytes);
  const out = new Uint8Array(bytesOf(dtype, data.length));
  for (let at = 0; at < data.length; at += STEP) {
    const part = toFloat32(stored, data.subarray(at, at + STEP));
    out.set(asBytes(fromFloat32(dtype, part)), bytesOf(dtype, at));
  }
  return out;
}

/** The type of a file's tensor, which must be a weight's. */
export function weightType(where: string, name: string, dtype: string): DType {
  if (isDType(dtype) && isWeight(dtype)) return dtype;
  throw new Magi1Error(`${where}: ${name} is ${dtype}, which is no type of weights here`);
}
