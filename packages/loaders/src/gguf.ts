// GGUF files (versions 2 and 3) as named tensors, by the format's published description. Dimensions are in the opposite order
// there. Q8_0 and Q4_0 become q8 and q4 without loss where rows are whole groups; other blocks are decoded to f16 as they are
// read. Everything that a header says is checked before any data is read.
import { FileFormatError, byteLengthOf, elementCount, hasWholeGroups } from '@magi1/tensor';
import type { DType } from '@magi1/tensor';
import { byteString } from './bytes.ts';
import type { ByteSource } from './bytes.ts';
import { readHostTensor } from './file-dtype.ts';
import { BLOCK_CODECS } from './gguf-blocks.ts';
import type { BlockCodec, GgufBlockType } from './gguf-blocks.ts';
import { checkTensorRange, entryOf, quote } from './tensor-file.ts';
import type { TensorEntry, TensorFile } from './tensor-file.ts';

const MAX_HEADER = 256 << 20;
const MAX_TENSORS = 200_000;
const MAX_FACTS = 200_000;
const MAX_DIMS = 8;
const MAX_ALIGNMENT = 1 << 20;
/** Bytes of the file decoded at a time. */
const PIECE = 1 << 20;

/** The format's numbers of types; of those that are not read here, the names that errors show. */
const TYPES: ReadonlyMap<number, string> = new Map(
  Object.entries({
    F32: 0, F16: 1, Q4_0: 2, Q4_1: 3, Q5_0: 6, Q5_1: 7, Q8_0: 8, Q8_1: 9, Q2_K: 10, Q3_K: 11, Q4_K: 12, Q5_K: 13,
    Q6_K: 14, Q8_K: 15, IQ2_XXS: 16, IQ2_XS: 17, IQ3_XXS: 18, IQ1_S: 19, IQ4_NL: 20, IQ3_S: 21, IQ2_S: 22, IQ4_XS: 23,
    I8: 24, I16: 25, I32: 26, I64: 27, F64: 28, IQ1_M: 29, BF16: 30, TQ1_0: 34, TQ2_0: 35, MXFP4: 39,
  }).map(([name, number]) => [number, name]),
); // prettier-ignore
const PLAIN: Readonly<Record<string, DType>> = { F32: 'f32', F16: 'f16', BF16: 'bf16' };
const SUPPORTED = [...Object.keys(PLAIN), ...Object.keys(BLOCK_CODECS)];

interface GgufEntry extends TensorEntry {
  readonly dtype: DType;
  /** In the file. */
  readonly offset: number;
  readonly fileBytes: number;
  readonly codec: BlockCodec | undefined;
}

/** There is more to read than the bytes at hand. */
class NeedsMore extends Error {}

/** Behind `openTensorFile`. @throws FileFormatError for what the format forbids, and for types that are not read here */
export async function openGguf(source: ByteSource, { signal }: { readonly signal?: AbortSignal | undefined } = {}) {
  const { name, size } = source;
  let header: Header | undefined;
  for (let length = 1 << 20; header === undefined; length *= 4) {
    const available = Math.min(length, size, MAX_HEADER);
    try {
      header = readHeader(name, await source.read(0, available, undefined, signal), size);
    } catch (cause) {
      if (!(cause instanceof NeedsMore)) throw cause;
      if (available < length)
        throw new FileFormatError(
          available === size
            ? `${name}: truncated, its header does not end within its ${size} bytes`
            : `${name}: a header of more than ${MAX_HEADER} bytes`,
        );
    }
  }
  const { metadata, tensors } = placeTensors(name, header, size);

  /** Bytes of a tensor as its entry describes it. */
  async function readBytes(entry: GgufEntry, at: number, length: number, into?: Uint8Array, signal?: AbortSignal) {
    const { codec, offset, fileBytes } = entry;
    if (codec === undefined) return source.read(offset + at, length, into, signal);
    const out = into?.subarray(0, length) ?? new Uint8Array(length);
    const units = Math.max(1, Math.floor(PIECE / codec.fileBytes));
    const end = Math.ceil((at + length) / codec.bytes);
    for (let unit = Math.floor(at / codec.bytes); unit < end; unit += units) {
      const [from, to] = [unit * codec.fileBytes, Math.min(unit + units, end) * codec.fileBytes];
      const raw = await source.read(offset + from, Math.min(to, fileBytes) - from, undefined, signal);
      const decoded = codec.decode(raw, name);
      const start = unit * codec.bytes;
      const [first, last] = [Math.max(at, start), Math.min(at + length, start + decoded.length)];
      out.set(decoded.subarray(first - start, last - start), first - at);
    }
    return out;
  }

  const file: TensorFile = {
    name,
    tensors,
    metadata,
    readTensor: async (tensor, options) => {
      const entry = entryOf({ name, tensors }, tensor);
      const read: ByteSource['read'] = (at, length, into, signal) => readBytes(entry, at, length, into, signal);
      return readHostTensor(`${name}: ${quote(tensor)}`, entry, { read }, 0, options);
    },
    readRange: async (tensor, at, length, into) => {
      const entry = entryOf({ name, tensors }, tensor);
      checkTensorRange(name, tensor, entry, at, length);
      return readBytes(entry, at, length, into);
    },
    close: () => source.close(),
  };
  return file;
}

interface Info {
  readonly name: string;
  readonly dims: readonly number[];
  readonly type: number;
  readonly offset: number;
}

interface Header {
  readonly facts: ReadonlyMap<string, unknown>;
  readonly infos: readonly Info[];
  /** Where it ends. */
  readonly end: number;
}

function readHeader(name: string, bytes: Uint8Array, size: number): Header {
  const fail = (problem: string): never => {
    throw new FileFormatError(`${name}: ${problem}`);
  };
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  const take = (count: number): number => {
    if (at + count > size) fail(`truncated, its header goes on after its ${size} bytes`);
    if (at + count > bytes.length) throw new NeedsMore();
    at += count;
    return at - count;
  };
  const u32 = () => view.getUint32(take(4), true);
  const u64 = (what: string): number => {
    const value = view.getBigUint64(take(8), true);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) fail(`${what} is ${value}, which no file can hold`);
    return Number(value);
  };
  const text = (what: string): string => {
    const length = u64(`the length of ${what}`);
    if (length > size - at) fail(`${what} of ${length} bytes in a file of ${size}`);
    const start = take(length);
    try {
      return new TextDecoder('utf-8', { fatal: true }).decode(bytes.subarray(start, start + length));
    } catch {
      return fail(`${what} is not valid UTF-8`);
    }
  };
  /** Numbers and texts; lists of numbers where they are short. */
  const value = (type: number, key: string, depth = 0): unknown => {
    switch (type) {
      case 0:
      case 7:
        return view.getUint8(take(1));
      case 1:
        return view.getInt8(take(1));
      case 2:
        return view.getUint16(take(2), true);
      case 3:
        return view.getInt16(take(2), true);
      case 4:
        return u32();
      case 5:
        return view.getInt32(take(4), true);
      case 6:
        return view.getFloat32(take(4), true);
      case 8:
        return text(`metadata ${quote(key)}`);
      case 9: {
        if (depth > 3) return fail(`metadata ${quote(key)}: lists within lists within lists`);
        const inner = u32();
        const count = u64(`the length of metadata ${quote(key)}`);
        if (count > size - at) fail(`metadata ${quote(key)}: a list of ${count} in a file of ${size} bytes`);
        const items: unknown[] = [];
        for (let i = 0; i < count; i++) {
          const item = value(inner, key, depth + 1);
          if (i < MAX_DIMS) items.push(item);
        }
        return items;
      }
      case 10:
        return Number(view.getBigUint64(take(8), true));
      case 11:
        return Number(view.getBigInt64(take(8), true));
      case 12:
        return view.getFloat64(take(8), true);
      default:
        return fail(`metadata ${quote(key)}: unknown type ${type}`);
    }
  };

  const magic = byteString(bytes.subarray(0, 8));
  if (magic === 'version ') fail("this is a Git LFS pointer, not the file; fetch it with 'git lfs pull'");
  if (size < 24) fail(`too short for a GGUF file, ${size} bytes`);
  if (!magic.startsWith('GGUF')) fail(`not a GGUF file, it begins with ${quote(magic.slice(0, 4))}`);
  take(4);
  const version = u32();
  if (version === 0x03000000 || version === 0x02000000) fail('a big-endian GGUF file; little-endian ones are read');
  if (version !== 2 && version !== 3) fail(`GGUF version ${version}, versions 2 and 3 are read`);
  const tensors = u64('the number of tensors');
  const count = u64('the number of metadata entries');
  if (tensors > MAX_TENSORS) fail(`${tensors} tensors, at most ${MAX_TENSORS} expected`);
  if (count > MAX_FACTS) fail(`${count} metadata entries, at most ${MAX_FACTS} expected`);
  const facts = new Map<string, unknown>();
  for (let i = 0; i < count; i++) {
    const key = text('a metadata key');
    if (facts.has(key)) fail(`metadata ${quote(key)} is there twice`);
    facts.set(key, value(u32(), key));
  }
  const infos: Info[] = [];
  for (let i = 0; i < tensors; i++) {
    const tensor = text('the name of a tensor');
    const rank = u32();
    if (rank > MAX_DIMS) fail(`tensor ${quote(tensor)}: ${rank} dimensions, at most ${MAX_DIMS} expected`);
    const dims = Array.from({ length: rank }, () => u64(`a dimension of tensor ${quote(tensor)}`));
    infos.push({ name: tensor, dims, type: u32(), offset: u64(`the offset of tensor ${quote(tensor)}`) });
  }
  return { facts, infos, end: at };
}

/** Where tensors lie and what they are read as. */
function placeTensors(name: string, { facts, infos, end }: Header, size: number) {
  const fail = (problem: string): never => {
    throw new FileFormatError(`${name}: ${problem}`);
  };
  const alignment = facts.get('general.alignment') ?? 32;
  if (typeof alignment !== 'number' || !(alignment >= 1 && alignment <= MAX_ALIGNMENT) || !isPowerOfTwo(alignment))
    return fail(`general.alignment must be a power of two up to ${MAX_ALIGNMENT}, found ${JSON.stringify(alignment)}`);
  const aligned = (offset: number) => Math.ceil(offset / alignment) * alignment;
  const dataStart = aligned(end);
  const entries: [string, GgufEntry][] = infos.map(({ name: tensor, dims, type, offset }) => {
    const what = `tensor ${quote(tensor)}`;
    const typeName = TYPES.get(type);
    const plain = typeName === undefined ? undefined : PLAIN[typeName];
    const blocks = BLOCK_CODECS[typeName as GgufBlockType] as (typeof BLOCK_CODECS)[GgufBlockType] | undefined;
    if (plain === undefined && blocks === undefined)
      fail(`${what}: type ${typeName ?? type} is not read, only ${SUPPORTED.join(', ')}`);
    const shape = shapeOf(fail, facts, tensor, [...dims].reverse());
    const count = elementCount(shape);
    if (!Number.isSafeInteger(count * 4)) fail(`${what}: [${shape}] is not a valid size`);
    if (offset % alignment !== 0) fail(`${what}: begins at ${offset}, which is no multiple of ${alignment}`);
    if (plain !== undefined) {
      const byteLength = byteLengthOf({ shape, dtype: plain });
      return [tensor, { dtype: plain, shape, byteLength, offset, fileBytes: byteLength, codec: undefined }];
    }
    const { elements, fileBytes: bytes, grouped, decoded } = blocks!;
    if ((dims[0] ?? 1) % elements !== 0)
      fail(`${what}: rows of ${typeName} are a multiple of ${elements} elements, found ${dims[0] ?? 1}`);
    const codec = grouped !== undefined && hasWholeGroups(shape) ? grouped : decoded;
    const byteLength = byteLengthOf({ shape, dtype: codec.dtype });
    const fileBytes = (count / elements) * bytes;
    return [tensor, { dtype: codec.dtype, shape, byteLength, offset, fileBytes, codec, packed: typeName! }];
  });
  entries.sort(([, a], [, b]) => a.offset - b.offset || a.fileBytes - b.fileBytes);
  const tensors = new Map<string, GgufEntry>();
  let next = 0;
  for (const [tensor, entry] of entries) {
    if (tensors.has(tensor)) fail(`tensor ${quote(tensor)} is there twice`);
    if (entry.offset !== next)
      fail(
        `tensor ${quote(tensor)} ${entry.offset < next ? 'overlaps the tensor before it' : 'leaves a hole before it'}: it begins at ${entry.offset}, expected ${next}`,
      );
    const last = dataStart + entry.offset + entry.fileBytes;
    if (last > size) fail(`truncated, tensor ${quote(tensor)} ends at byte ${last}, the file at ${size}`);
    tensors.set(tensor, { ...entry, offset: dataStart + entry.offset });
    next = aligned(entry.offset + entry.fileBytes);
  }
  if (size > dataStart + next) fail(`bytes after the last tensor: it ends at ${dataStart + next}, the file at ${size}`);
  const texts = [...facts].filter((fact): fact is [string, string] => typeof fact[1] === 'string');
  return { tensors, metadata: new Map(texts) };
}

/** ggml has four dimensions at most: converters keep the shape of tensors with more beside them. */
function shapeOf(
  fail: (problem: string) => never,
  facts: ReadonlyMap<string, unknown>,
  tensor: string,
  shape: readonly number[],
): readonly number[] {
  const original = facts.get(`comfy.gguf.orig_shape.${tensor}`);
  if (original === undefined) return shape;
  const isShape = Array.isArray(original) && original.every((dim) => Number.isSafeInteger(dim) && (dim as number) >= 0);
  if (!isShape || elementCount(original as number[]) !== elementCount(shape))
    fail(`tensor ${quote(tensor)}: its original shape ${JSON.stringify(original)} is none of its [${shape}]`);
  return original as number[];
}

const isPowerOfTwo = (value: number): boolean => Number.isInteger(Math.log2(value));
