// safetensors: 8 bytes of header length, a JSON header, raw little-endian data. Read by byte range, validated by the
// format's published rules before any tensor is touched; written in the order the reference writer uses.
import {
  asBytes,
  byteLengthOf,
  FileFormatError,
  elementCount,
  elementsIn,
  isBlocks,
  hasWholeGroups,
} from '@magi1/tensor';
import type { DType, HostTensor, TensorSpec } from '@magi1/tensor';
import { byteString, bytesSource } from './bytes.ts';
import type { ByteSink, ByteSource } from './bytes.ts';
import { bitsPerElement, readHostTensor, tensorByteLength } from './file-dtype.ts';
import type { FileDType, ReadOptions } from './file-dtype.ts';
import { jsonSize, parseJsonBytes, showJson } from './json.ts';
import type { JsonValue } from './json.ts';
import { requireNode } from './node.ts';
import { BLOCKS_KEY, applyBlocks, describeBlocks, storedShape } from './safetensors-blocks.ts';
import { checkTensorRange, entryOf, quote } from './tensor-file.ts';
import type { TensorEntry, TensorFile } from './tensor-file.ts';
import { ZstdSource } from './zstd.ts';

/** The format's own limit. */
const MAX_HEADER = 100_000_000;
/** Networks have hundreds of small tensors: up to this size, neighbours are read at once, so many bytes at a time. */
const SMALL = 256 << 10;
const STRETCH = 1 << 20;

const DTYPES = new Map<string, FileDType>([
  ['BOOL', 'bool'],
  ['F4', 'f4'],
  ['F6_E2M3', 'f6e2m3'],
  ['F6_E3M2', 'f6e3m2'],
  ['U8', 'u8'],
  ['I8', 'i8'],
  ['F8_E5M2', 'f8e5m2'],
  ['F8_E4M3', 'f8e4m3fn'],
  ['F8_E8M0', 'f8e8m0'],
  ['F8_E4M3FNUZ', 'f8e4m3fnuz'],
  ['F8_E5M2FNUZ', 'f8e5m2fnuz'],
  ['I16', 'i16'],
  ['U16', 'u16'],
  ['F16', 'f16'],
  ['BF16', 'bf16'],
  ['I32', 'i32'],
  ['U32', 'u32'],
  ['F32', 'f32'],
  ['C64', 'c64'],
  ['F64', 'f64'],
  ['I64', 'i64'],
  ['U64', 'u64'],
]);

export interface SafetensorsEntry extends TensorEntry {
  /** Offset in the data section. */
  readonly start: number;
}

export interface SafetensorsHeader {
  /** In data order. */
  readonly tensors: Map<string, SafetensorsEntry>;
  readonly metadata: Map<string, string>;
  /** Length of the data section that the tensors cover. */
  readonly dataLength: number;
}

/**
 * Parses and validates the JSON header (without the 8 length bytes).
 * @param name file name for messages
 * @throws FileFormatError for anything the format forbids: the header's syntax, duplicate names, unknown dtypes, sizes
 * that do not match shapes, and offsets that overlap, leave holes or do not start at 0.
 */
export function parseSafetensorsHeader(bytes: Uint8Array, name: string): SafetensorsHeader {
  const fail = (problem: string): never => {
    throw new FileFormatError(`${name}: ${problem}`);
  };
  if (bytes[0] !== 0x7b) fail(`the header must begin with '{'`);
  const root = parseJsonBytes(bytes, `${name}: header`);
  if (!(root instanceof Map)) return fail('the header must be a JSON object');

  const metadata = new Map<string, string>();
  const entries: [string, SafetensorsEntry][] = [];
  for (const [key, value] of root) {
    if (key === '__metadata__') {
      if (!(value instanceof Map)) return fail(`__metadata__ must be an object, found ${showJson(value)}`);
      for (const [field, text] of value) {
        if (typeof text !== 'string')
          return fail(`__metadata__ ${quote(field)} must be a string, found ${showJson(text)}`);
        metadata.set(field, text);
      }
    } else {
      entries.push([key, parseEntry(name, key, value)]);
    }
  }

  entries.sort(([, a], [, b]) => a.start - b.start || a.byteLength - b.byteLength);
  let end = 0;
  for (const [key, entry] of entries) {
    if (entry.start !== end) {
      const problem = entry.start < end ? 'overlaps the tensor before it' : 'leaves a hole before it';
      fail(`tensor ${quote(key)} ${problem}: it starts at byte ${entry.start}, expected ${end}`);
    }
    end = entry.start + entry.byteLength;
  }
  const tensors = new Map(entries);
  const blocks = metadata.get(BLOCKS_KEY);
  if (blocks !== undefined) applyBlocks(name, blocks, tensors);
  metadata.delete(BLOCKS_KEY); // the entries say it
  return { tensors, metadata, dataLength: end };
}

function parseEntry(name: string, key: string, value: JsonValue): SafetensorsEntry {
  const fail = (problem: string): never => {
    throw new FileFormatError(`${name}: tensor ${quote(key)}: ${problem}`);
  };
  if (!(value instanceof Map)) return fail(`expected an object, found ${showJson(value)}`);
  const typeName = value.get('dtype');
  const dtype = typeof typeName === 'string' ? DTYPES.get(typeName) : undefined;
  if (!dtype) return fail(`unknown dtype ${showJson(typeName)}`);

  const dims = value.get('shape');
  const shape = Array.isArray(dims) ? dims.map(jsonSize) : [undefined];
  if (!shape.every((dim) => dim !== undefined)) {
    return fail(`shape must be a list of non-negative integers below 2^53, found ${showJson(dims)}`);
  }
  const range = value.get('data_offsets');
  const [start, end, ...rest] = Array.isArray(range) ? range.map(jsonSize) : [];
  if (start === undefined || end === undefined || rest.length > 0) {
    return fail(`data_offsets must be two non-negative integers below 2^53, found ${showJson(range)}`);
  }
  if (end < start) fail(`data_offsets end before they begin: [${start}, ${end}]`);
  const byteLength = tensorByteLength(dtype, shape);
  if (byteLength === undefined) return fail(`shape [${shape}] of ${dtype} is not a valid size`);
  if (byteLength !== end - start) {
    fail(`shape [${shape}] of ${dtype} needs ${byteLength} bytes, data_offsets give ${end - start}`);
  }
  return { dtype, shape, byteLength, start };
}

/**
 * Opens a safetensors file; the source stays open until `close`.
 * A ZstdSource is decoded on the fly: reads should then go forwards, going back starts over.
 */
export async function openSafetensors(
  source: ByteSource | ZstdSource,
  { signal }: { readonly signal?: AbortSignal | undefined } = {},
): Promise<TensorFile> {
  const { name } = source;
  const size = source instanceof ZstdSource ? undefined : source.size;
  if (size !== undefined && size < 8)
    throw new FileFormatError(`${name}: too short for a safetensors file, ${size} bytes`);
  const prefix = await source.read(0, 8, undefined, signal);
  const view = new DataView(prefix.buffer, prefix.byteOffset, 8);
  const headerLength = Number(view.getBigUint64(0, true));
  if (byteString(prefix) === 'version ') {
    throw new FileFormatError(`${name}: this is a Git LFS pointer, not the file; fetch it with 'git lfs pull'`);
  }
  if (headerLength > MAX_HEADER) {
    throw new FileFormatError(
      `${name}: header length ${headerLength} exceeds the format's limit of ${MAX_HEADER} bytes`,
    );
  }
  if (headerLength < 2 || (size !== undefined && 8 + headerLength > size)) {
    throw new FileFormatError(
      `${name}: invalid header length ${headerLength}${size === undefined ? '' : ` in a file of ${size} bytes`}`,
    );
  }
  const header = parseSafetensorsHeader(await source.read(8, headerLength, undefined, signal), name);
  const dataStart = 8 + headerLength;
  const expected = dataStart + header.dataLength;
  if (size !== undefined && size !== expected) {
    const problem = size < expected ? 'truncated' : 'bytes after the last tensor';
    throw new FileFormatError(`${name}: ${problem}, the header describes ${expected} bytes, the file has ${size}`);
  }

  const stretches = size === undefined ? new Map<SafetensorsEntry, Stretch>() : stretchesOf(header);
  let last: { readonly stretch: Stretch; readonly bytes: Promise<Uint8Array> } | undefined;
  /** The bytes of a small tensor, out of its stretch, which those who ask at once read once: nobody's abort ends it. */
  async function readSmall({ start, byteLength }: SafetensorsEntry, stretch: Stretch) {
    if (last?.stretch !== stretch) {
      const bytes = source.read(dataStart + stretch.start, stretch.end - stretch.start);
      const reading = { stretch, bytes };
      last = reading;
      bytes.catch(() => {
        if (last === reading) last = undefined; // the next one tries again
      });
    }
    const bytes = await last.bytes;
    return bytes.subarray(start - stretch.start, start - stretch.start + byteLength);
  }

  // The size of a compressed file shows only at its end.
  if (source instanceof ZstdSource) source.end = expected;

  const file: TensorFile = {
    name,
    tensors: header.tensors,
    metadata: header.metadata,
    readTensor: async (tensor: string, options?: ReadOptions) => {
      const entry = entryOf({ name, tensors: header.tensors }, tensor);
      const stretch = stretches.get(entry);
      options?.signal?.throwIfAborted();
      const small = stretch && bytesSource(await readSmall(entry, stretch), name);
      options?.signal?.throwIfAborted();
      const start = small === undefined ? dataStart + entry.start : 0;
      return readHostTensor(`${name}: ${quote(tensor)}`, entry, small ?? source, start, options);
    },
    readRange: async (tensor, start, length, into) => {
      const entry = entryOf({ name, tensors: header.tensors }, tensor);
      checkTensorRange(name, tensor, entry, start, length);
      return source.read(dataStart + entry.start + start, length, into);
    },
    close: () => source.close(),
  };
  return file;
}

interface Stretch {
  readonly start: number;
  end: number;
}

/** Which bytes of the data section are read together: neighbours that are small. */
function stretchesOf({ tensors }: SafetensorsHeader): Map<SafetensorsEntry, Stretch> {
  const stretches = new Map<SafetensorsEntry, Stretch>();
  let stretch: Stretch | undefined;
  for (const entry of tensors.values()) {
    const end = entry.start + entry.byteLength;
    if (entry.byteLength > SMALL) stretch = undefined;
    else if (stretch === undefined || end - stretch.start > STRETCH) stretch = { start: entry.start, end };
    else stretch.end = end;
    if (stretch !== undefined) stretches.set(entry, stretch);
  }
  return stretches;
}

const TYPE_NAMES: Record<DType, string> = {
  f32: 'F32',
  f16: 'F16',
  bf16: 'BF16',
  f8e4m3fn: 'F8_E4M3',
  q8: 'U8',
  q4: 'U8',
  i32: 'I32',
  u32: 'U32',
  u8: 'U8',
  bool: 'BOOL',
};

/**
 * The beginning of a file, before the data of these tensors, one after another in this order.
 * @param where what messages call the file
 * @throws FileFormatError for names and shapes that the format cannot hold
 */
export function safetensorsHead(
  where: string,
  tensors: Iterable<readonly [string, TensorSpec]>,
  metadata: Iterable<readonly [string, string]> = [],
): Uint8Array {
  const ordered = [...tensors];
  const members: string[] = [];
  const facts = [...metadata].filter(([key]) => key !== BLOCKS_KEY);
  const blocks = describeBlocks(ordered);
  if (blocks !== undefined) facts.push([BLOCKS_KEY, blocks]);
  if (facts.length > 0) {
    const fields = facts.map(([key, value]) => `${JSON.stringify(key)}:${JSON.stringify(value)}`);
    members.push(`"__metadata__":{${fields.join(',')}}`);
  }
  let offset = 0;
  for (const [name, spec] of ordered) {
    if (name === '__metadata__') throw new FileFormatError(`${where}: a tensor cannot be named __metadata__`);
    if (isBlocks(spec.dtype) && !hasWholeGroups(spec.shape))
      throw new FileFormatError(
        `${where}: ${quote(name)}: rows of ${spec.dtype} [${spec.shape}] are no multiple of 64 elements`,
      );
    const end = offset + byteLengthOf(spec);
    const shape = storedShape(spec).join(',');
    members.push(
      `${JSON.stringify(name)}:{"dtype":"${TYPE_NAMES[spec.dtype]}","shape":[${shape}],"data_offsets":[${offset},${end}]}`,
    );
    offset = end;
  }
  const json = new TextEncoder().encode(`{${members.join(',')}}`);
  const padded = Math.ceil(json.length / 8) * 8;
  if (padded > MAX_HEADER)
    throw new FileFormatError(`${where}: a header of ${padded} bytes exceeds the format's limit`);
  const head = new Uint8Array(8 + padded).fill(0x20);
  new DataView(head.buffer).setBigUint64(0, BigInt(padded), true);
  head.set(json, 8);
  return head;
}

/**
 * Writes tensors as safetensors, widest elements first and then by name, so that every tensor is aligned.
 * @param target a path (Node; written under a temporary name and renamed) or a sink
 * @throws FileFormatError when shape and data disagree, before anything is written.
 */
export async function writeSafetensors(
  target: string | ByteSink,
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: ReadonlyMap<string, string> | Record<string, string> = {},
): Promise<void> {
  const where = typeof target === 'string' ? target : 'safetensors';
  // Groups of q8 and q4 are of whole words.
  const width = ({ dtype }: HostTensor) => (isBlocks(dtype) ? 32 : bitsPerElement(dtype));
  const ordered = [...tensors].sort(([nameA, a], [nameB, b]) => width(b) - width(a) || (nameA < nameB ? -1 : 1));
  for (const [name, { dtype, shape, data }] of ordered) {
    const elements = elementsIn(dtype, data);
    if (elementCount(shape) !== elements)
      throw new FileFormatError(`${where}: ${quote(name)}: shape [${shape}] with ${elements} elements`);
  }
  const head = safetensorsHead(where, ordered, metadata instanceof Map ? metadata : Object.entries(metadata));

  async function writeAll(sink: ByteSink): Promise<void> {
    await sink.write(head);
    for (const [, tensor] of ordered) await sink.write(asBytes(tensor.data));
  }
  if (typeof target !== 'string') return writeAll(target);
  const fs = requireNode('node:fs/promises');
  const temporary = `${target}.incomplete`;
  try {
    const handle = await fs.open(temporary, 'w');
    try {
      await writeAll({ write: (bytes) => handle.writeFile(bytes) });
    } finally {
      await handle.close();
    }
    await fs.rename(temporary, target);
  } catch (cause) {
    await fs.rm(temporary, { force: true });
    throw cause;
  }
}

/** The bytes of a safetensors file, for small ones. */
export async function encodeSafetensors(
  tensors: ReadonlyMap<string, HostTensor>,
  metadata: ReadonlyMap<string, string> | Record<string, string> = {},
): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  await writeSafetensors({ write: (bytes) => void parts.push(bytes) }, tensors, metadata);
  const out = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}

/** Every tensor of a small safetensors file, in memory. */
export async function readSafetensors(source: ByteSource | Uint8Array): Promise<Map<string, HostTensor>> {
  const file = await openSafetensors(source instanceof Uint8Array ? bytesSource(source) : source);
  const tensors = new Map<string, HostTensor>();
  for (const name of file.tensors.keys()) tensors.set(name, await file.readTensor(name));
  return tensors;
}
