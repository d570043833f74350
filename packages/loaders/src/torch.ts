// torch checkpoints (.bin, .pt): the zip format since PyTorch 1.6 and the older stream of pickles. Only the pickle is
// read at opening; tensors come from their storages by offset. The pickle is interpreted, never executed.
import { FileFormatError, elementCount } from '@magi1/tensor';
import type { ByteSource } from './bytes.ts';
import { allocate, byteString, bytesSource, sliceSource } from './bytes.ts';
import { crc32 } from './crc32.ts';
import { bitsPerElement, readHostTensor } from './file-dtype.ts';
import type { ReadOptions } from './file-dtype.ts';
import { PickleDict, PickleTruncatedError, readPickle } from './pickle.ts';
import type { PickleResult } from './pickle.ts';
import { gather, isContiguous } from './strided.ts';
import { checkTensorRange, entryOf, quote } from './tensor-file.ts';
import type { TensorEntry, TensorFile } from './tensor-file.ts';
import { changeSigns, checkView, readTorchPickle, torchHooks } from './torch-pickle.ts';
import type { TorchPickle, TorchStorage, TorchTensor } from './torch-pickle.ts';
import { openZip, readZipEntry, zipEntrySource } from './zip.ts';

export interface TorchOptions {
  /**
   * Check every record against the archive's CRC-32 (default; storages when they are read from start to end). PyTorch
   * can be told to write no checksums; files without any are accepted.
   */
  readonly crc?: boolean;
}

interface Storage {
  readonly source: ByteSource;
  /** Undefined where the format has none or it has been checked. */
  readonly crc: number | undefined;
  /** CRC of the bytes before `checked`, for reads that go forwards in pieces. */
  runningCrc: number;
  checked: number;
  /** Where the storage lies, for ordering reads. */
  readonly position: number;
}

interface TorchEntry extends TensorEntry {
  readonly tensor: TorchTensor;
  readonly storage: Storage;
  readonly contiguous: boolean;
}

const MAX_PICKLE = 64 << 20;
const PIECE = 1 << 20;

/** Behind `openTorch` of index.ts, which says what it does. */
export async function openTorch(source: ByteSource, options: TorchOptions = {}): Promise<TensorFile> {
  const { name } = source;
  if (source.size === 0) throw new FileFormatError(`${name}: empty file, expected a torch checkpoint`);
  const start = await source.read(0, Math.min(source.size, 16));
  const magic = byteString(start);
  let contents: { pickle: TorchPickle; storages: Map<string, Storage> };
  if (magic.startsWith('PK')) contents = await openZipped(source, options.crc ?? true);
  else if (magic.startsWith('\x80\x02\x8a\x0a')) contents = await openLegacy(source);
  else if (magic.startsWith('version ')) {
    throw new FileFormatError(`${name}: this is a Git LFS pointer, not the file; fetch it with 'git lfs pull'`);
  } else {
    throw new FileFormatError(`${name}: not a torch checkpoint, it begins with ${quote(magic)}`);
  }

  const entries: [string, TorchEntry][] = [];
  for (const [key, tensor] of contents.pickle.tensors) {
    const storage = contents.storages.get(tensor.storage.key)!;
    const itemSize = bitsPerElement(tensor.dtype) / 8;
    checkView(name, key, tensor, storage.source.size, itemSize);
    entries.push([
      key,
      {
        dtype: tensor.dtype,
        shape: tensor.shape,
        byteLength: elementCount(tensor.shape) * itemSize,
        tensor,
        storage,
        contiguous: isContiguous(tensor),
      },
    ]);
  }
  entries.sort(([, a], [, b]) => a.storage.position - b.storage.position || a.tensor.offset - b.tensor.offset);
  const tensors = new Map(entries);

  async function readBytes(
    key: string,
    entry: TorchEntry,
    at: number,
    length: number,
    into?: Uint8Array,
    signal?: AbortSignal,
  ): Promise<Uint8Array> {
    const what = `${name}: ${quote(key)}`;
    const itemSize = bitsPerElement(entry.dtype) / 8;
    const { sign } = entry.tensor;
    if (entry.contiguous) {
      // A source may hand out its own memory: signs are changed in a copy.
      const own = sign === undefined ? into : (into ?? allocate(what, length));
      const bytes = await readStorage(what, entry.storage, entry.tensor.offset * itemSize + at, length, own, signal);
      return sign === undefined ? bytes : changeSigns(bytes, sign, at);
    }
    const count = elementCount(entry.shape);
    const whole = await gather(what, entry.tensor, itemSize, count, (from, size) =>
      entry.storage.source.read(from, size),
    );
    if (sign !== undefined) changeSigns(whole, sign, 0);
    const part = whole.subarray(at, at + length);
    into?.set(part);
    return into?.subarray(0, length) ?? part;
  }

  return {
    name,
    tensors,
    metadata: new Map(),
    readTensor: async (key: string, readOptions?: ReadOptions) => {
      const entry = entryOf({ name, tensors }, key);
      // A view touches parts of its storage only: its checksum takes a pass of its own, once.
      if (!coversStorage(entry)) await checkStorage(`${name}: ${quote(key)}`, entry.storage);
      // Gathered once; a conversion then reads it in pieces.
      const whole = entry.contiguous ? undefined : await readBytes(key, entry, 0, entry.byteLength);
      const own: Pick<ByteSource, 'read'> =
        whole === undefined
          ? { read: (at, length, into, signal) => readBytes(key, entry, at, length, into, signal) }
          : bytesSource(whole);
      return readHostTensor(`${name}: ${quote(key)}`, entry, own, 0, readOptions);
    },
    readRange: async (key, at, length, into) => {
      const entry = entryOf({ name, tensors }, key);
      checkTensorRange(name, key, entry, at, length);
      return readBytes(key, entry, at, length, into);
    },
    close: () => source.close(),
  };
}

function coversStorage(entry: TorchEntry): boolean {
  return entry.contiguous && entry.tensor.offset === 0 && entry.byteLength === entry.storage.source.size;
}

async function readStorage(
  what: string,
  storage: Storage,
  at: number,
  length: number,
  into?: Uint8Array,
  signal?: AbortSignal,
): Promise<Uint8Array> {
  const bytes = await storage.source.read(at, length, into, signal);
  if (storage.crc === undefined) return bytes;
  if (at === 0) {
    storage.checked = 0;
    storage.runningCrc = 0;
  }
  if (at === storage.checked) {
    storage.runningCrc = crc32(bytes, storage.runningCrc);
    storage.checked += length;
    if (storage.checked === storage.source.size) compareCrc(what, storage);
  }
  return bytes;
}

async function checkStorage(what: string, storage: Storage): Promise<void> {
  const { size } = storage.source;
  if (storage.crc === undefined || storage.checked === size) return;
  const piece = new Uint8Array(Math.min(PIECE, size));
  for (let at = 0; at < size; at += piece.length) {
    await readStorage(what, storage, at, Math.min(piece.length, size - at), piece);
  }
}

function compareCrc(what: string, storage: Storage): void {
  if (storage.runningCrc === storage.crc) return;
  storage.checked = 0;
  throw new FileFormatError(
    `${what}: checksum mismatch in ${storage.source.name}, the data is corrupt (crc: false reads it all the same)`,
  );
}

async function openZipped(
  source: ByteSource,
  check: boolean,
): Promise<{ pickle: TorchPickle; storages: Map<string, Storage> }> {
  const archive = await openZip(source);
  // Saved without checksums: each is 0 then, which no pickle's is but by a chance of 2^-32.
  const crc = check && [...archive.entries.values()].some((entry) => entry.crc !== 0);
  const found = [...archive.entries.keys()].filter((entry) => /^[^/]+\/data\.pkl$/.test(entry));
  if (found.length !== 1) {
    throw new FileFormatError(
      `${source.name}: not a torch checkpoint, its archive has ${found.length} records data.pkl`,
    );
  }
  const prefix = found[0]!.slice(0, -'data.pkl'.length);
  const pickleEntry = archive.entries.get(`${prefix}data.pkl`)!;
  if (pickleEntry.size > MAX_PICKLE) {
    throw new FileFormatError(
      `${source.name}: data.pkl has ${pickleEntry.size} bytes, at most ${MAX_PICKLE} supported`,
    );
  }
  const order = archive.entries.get(`${prefix}byteorder`);
  if (order && order.size <= 16) {
    const byteOrder = new TextDecoder().decode(await readZipEntry(archive, order, crc));
    if (byteOrder !== 'little')
      throw new FileFormatError(`${source.name}: byte order ${quote(byteOrder)}, expected little`);
  }
  const pickle = readTorchPickle(await readZipEntry(archive, pickleEntry, crc), `${source.name}: data.pkl`);
  const storages = new Map<string, Storage>();
  for (const [key, declared] of pickle.storages) {
    const entry = archive.entries.get(`${prefix}data/${key}`);
    if (!entry) throw new FileFormatError(`${source.name}: record ${quote(`data/${key}`)} is missing from the archive`);
    const expected = storageBytes(declared);
    if (entry.size !== expected) {
      throw new FileFormatError(
        `${source.name}: record ${quote(entry.name)} has ${entry.size} bytes, declared are ${expected}`,
      );
    }
    // Stored entries are windows on the file; deflated ones (torch writes none) are unpacked when first read.
    const lazy = once(() => zipEntrySource(archive, entry, crc));
    storages.set(key, {
      source: {
        name: `record ${quote(entry.name)}`,
        size: entry.size,
        read: async (offset, length, into, signal) => (await lazy()).read(offset, length, into, signal),
        close: async () => {},
      },
      crc: crc && entry.method === 0 ? entry.crc : undefined,
      runningCrc: 0,
      checked: 0,
      position: entry.headerOffset,
    });
  }
  return { pickle, storages };
}

function once<T>(make: () => Promise<T>): () => Promise<T> {
  let made: Promise<T> | undefined;
  return () => (made ??= make());
}

function storageBytes(storage: TorchStorage): number {
  return storage.dtype ? (storage.numel * bitsPerElement(storage.dtype)) / 8 : storage.numel;
}

/**
 * The format before PyTorch 1.6: pickles of a magic number, a protocol version, system facts, the object and the list
 * of storage keys, then per storage its element count (int64) and its data.
 */
async function openLegacy(source: ByteSource): Promise<{ pickle: TorchPickle; storages: Map<string, Storage> }> {
  const what = `${source.name} (legacy torch format)`;
  const fail = (problem: string): never => {
    throw new FileFormatError(`${what}: ${problem}`);
  };
  let at = 0;
  async function next<T extends { length: number }>(read: (bytes: Uint8Array) => T): Promise<T> {
    for (let length = PIECE; ; length *= 4) {
      const available = Math.min(length, source.size - at, MAX_PICKLE);
      try {
        const result = read(await source.read(at, available));
        at += result.length;
        return result;
      } catch (cause) {
        if (!(cause instanceof PickleTruncatedError) || available < length) throw cause;
      }
    }
  }
  const plain = (bytes: Uint8Array): PickleResult => readPickle(bytes, torchHooks(what, new Map()), what);

  if ((await next(plain)).value !== 0x1950a86a20f9469cfc6cn) fail('wrong magic number');
  const version = (await next(plain)).value;
  if (version !== 1001) fail('unknown protocol version, expected 1001');
  const system = (await next(plain)).value;
  if (!(system instanceof PickleDict) || system.map.get('little_endian') !== true) fail('not little-endian');
  const pickle = await next((bytes) => readTorchPickle(bytes, what));
  const keys = (await next(plain)).value;
  if (!Array.isArray(keys)) return fail('no list of storages');

  const storages = new Map<string, Storage>();
  for (const key of keys) {
    const declared = typeof key === 'string' ? pickle.storages.get(key) : undefined;
    if (!declared) return fail('its list of storages names one that no tensor uses');
    const head = await source.read(at, 8);
    const numel = Number(new DataView(head.buffer, head.byteOffset, 8).getBigInt64(0, true));
    const size = storageBytes(declared);
    if (numel !== declared.numel)
      fail(`storage ${quote(declared.key)} has ${numel} elements, declared are ${declared.numel}`);
    if (at + 8 + size > source.size) fail(`truncated, storage ${quote(declared.key)} reaches past the end of the file`);
    const window = sliceSource(source, at + 8, size, `storage ${quote(declared.key)}`);
    storages.set(declared.key, { source: window, crc: undefined, runningCrc: 0, checked: 0, position: at });
    at += 8 + size;
  }
  for (const key of pickle.storages.keys()) if (!storages.has(key)) fail(`storage ${quote(key)} is missing`);
  if (at !== source.size) fail(`${source.size - at} bytes after the last storage`);
  return { pickle, storages };
}
