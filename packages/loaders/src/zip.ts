// The table of contents of a zip archive (zip64 included) over a ByteSource, and its entries as byte sources.
// Written here because yauzl needs Node streams: this works for Blobs too, gives stored entries by offset without
// copying, and refuses entries that overlap or reach out of the archive. Nothing is ever written to disk.
import { FileFormatError } from '@magi1/tensor';
import { inflateSync } from 'fflate';
import { allocate, bytesSource, sliceSource } from './bytes.ts';
import type { ByteSource } from './bytes.ts';
import { crc32 } from './crc32.ts';
import { quote } from './tensor-file.ts';

const MAX_DIRECTORY = 64 << 20;
const MAX_ENTRIES = 250_000;
const STORED = 0;
const DEFLATED = 8;

export interface ZipEntry {
  readonly name: string;
  readonly method: number;
  readonly crc: number;
  readonly compressedSize: number;
  readonly size: number;
  readonly headerOffset: number;
}

export interface ZipArchive {
  readonly source: ByteSource;
  readonly entries: ReadonlyMap<string, ZipEntry>;
  /** Where the central directory starts: entries end before it. */
  readonly directoryOffset: number;
}

interface Directory {
  readonly count: number;
  readonly size: number;
  readonly offset: number;
  /** Where the end records begin. */
  readonly end: number;
}

/**
 * Reads the central directory.
 * @throws FileFormatError when there is none, or it contradicts itself or the file's size.
 */
export async function openZip(source: ByteSource): Promise<ZipArchive> {
  const directory = await findDirectory(source);
  const fail = (problem: string): never => {
    throw new FileFormatError(`${source.name}: corrupt zip archive, ${problem}`);
  };
  if (directory.offset + directory.size > directory.end) fail('its directory reaches past the end of the file');
  if (directory.count > MAX_ENTRIES) fail(`${directory.count} entries, at most ${MAX_ENTRIES} expected`);
  if (directory.size > MAX_DIRECTORY) fail(`its directory has ${directory.size} bytes`);
  const bytes = await source.read(directory.offset, directory.size);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entries = new Map<string, ZipEntry>();
  let at = 0;
  for (let index = 0; index < directory.count; index++) {
    if (at + 46 > bytes.length || view.getUint32(at, true) !== 0x02014b50) {
      return fail(`directory entry ${index} of ${directory.count} is missing`);
    }
    const nameEnd = at + 46 + view.getUint16(at + 28, true);
    const extraEnd = nameEnd + view.getUint16(at + 30, true);
    const end = extraEnd + view.getUint16(at + 32, true);
    if (end > bytes.length) return fail(`directory entry ${index} is cut short`);
    const name = new TextDecoder().decode(bytes.subarray(at + 46, nameEnd));
    const flags = view.getUint16(at + 8, true);
    const method = view.getUint16(at + 10, true);
    const wide = zip64Fields(new DataView(bytes.buffer, bytes.byteOffset + nameEnd, extraEnd - nameEnd));
    const field = (offset: number): number => {
      const value = view.getUint32(offset, true);
      return value === 0xffffffff ? (wide.shift() ?? value) : value;
    };
    // The zip64 values come in this order, and only those that do not fit 32 bits.
    const size = field(at + 24);
    const compressedSize = field(at + 20);
    const headerOffset = field(at + 42);
    if (flags & 1) fail(`entry ${quote(name)} is encrypted`);
    if (entries.has(name)) fail(`two entries are called ${quote(name)}`);
    if (headerOffset + 30 + compressedSize > directory.offset || (method === STORED && size !== compressedSize)) {
      fail(`entry ${quote(name)} claims ${compressedSize} bytes stored, ${size} unpacked, in a file of ${source.size}`);
    }
    entries.set(name, { name, method, crc: view.getUint32(at + 16, true), compressedSize, size, headerOffset });
    at = end;
  }
  const ordered = [...entries.values()].sort((a, b) => a.headerOffset - b.headerOffset);
  for (const [index, entry] of ordered.entries()) {
    const next = ordered[index + 1];
    if (next && entry.headerOffset + 30 + entry.compressedSize > next.headerOffset) {
      fail(`entries ${quote(entry.name)} and ${quote(next.name)} overlap`);
    }
  }
  return { source, entries, directoryOffset: directory.offset };
}

async function findDirectory(source: ByteSource): Promise<Directory> {
  const length = Math.min(source.size, 22 + 0xffff + 20);
  const start = source.size - length;
  const tail = await source.read(start, length);
  const view = new DataView(tail.buffer, tail.byteOffset, tail.byteLength);
  let at = length - 22;
  // The right record is the one whose comment ends with the file.
  while (at >= 0 && !(view.getUint32(at, true) === 0x06054b50 && at + 22 + view.getUint16(at + 20, true) === length))
    at--;
  if (at < 0) {
    throw new FileFormatError(`${source.name}: truncated or no zip archive, it has no end-of-directory record`);
  }
  const directory = {
    count: view.getUint16(at + 10, true),
    size: view.getUint32(at + 12, true),
    offset: view.getUint32(at + 16, true),
    end: start + at,
  };
  const locator = at - 20;
  if (locator < 0 || view.getUint32(locator, true) !== 0x07064b50) return directory;
  const offset = Number(view.getBigUint64(locator + 8, true));
  if (offset + 56 > start + locator)
    throw new FileFormatError(`${source.name}: corrupt zip archive, bad zip64 locator`);
  const record = await source.read(offset, 56);
  const wide = new DataView(record.buffer, record.byteOffset, 56);
  if (wide.getUint32(0, true) !== 0x06064b50) {
    throw new FileFormatError(`${source.name}: corrupt zip archive, no zip64 record at byte ${offset}`);
  }
  return {
    count: Number(wide.getBigUint64(32, true)),
    size: Number(wide.getBigUint64(40, true)),
    offset: Number(wide.getBigUint64(48, true)),
    end: offset,
  };
}

function zip64Fields(extra: DataView): number[] {
  for (let at = 0; at + 4 <= extra.byteLength;) {
    const length = extra.getUint16(at + 2, true);
    const end = Math.min(at + 4 + length, extra.byteLength);
    if (extra.getUint16(at, true) === 1) {
      const values: number[] = [];
      for (let field = at + 4; field + 8 <= end; field += 8) values.push(Number(extra.getBigUint64(field, true)));
      return values;
    }
    at = end;
  }
  return [];
}

/**
 * The contents of an entry: a window on the archive when it is stored, memory when it is deflated (then checked
 * against its CRC unless `crc` is false; stored entries are not).
 */
export async function zipEntrySource(archive: ZipArchive, entry: ZipEntry, crc = true): Promise<ByteSource> {
  const name = `${archive.source.name}: entry ${quote(entry.name)}`;
  const header = await archive.source.read(entry.headerOffset, 30);
  const view = new DataView(header.buffer, header.byteOffset, 30);
  const start = entry.headerOffset + 30 + view.getUint16(26, true) + view.getUint16(28, true);
  if (view.getUint32(0, true) !== 0x04034b50 || start + entry.compressedSize > archive.directoryOffset) {
    throw new FileFormatError(`${name}: corrupt zip archive, bad entry header`);
  }
  const packed = sliceSource(archive.source, start, entry.compressedSize, name);
  if (entry.method === STORED) return packed;
  if (entry.method !== DEFLATED) throw new FileFormatError(`${name}: unsupported compression method ${entry.method}`);
  // Deflate cannot do better than 1032 to 1.
  if (entry.size > 1032 * entry.compressedSize + 64) {
    throw new FileFormatError(`${name}: claims ${entry.size} bytes from ${entry.compressedSize} deflated ones`);
  }
  const bytes = allocate(name, entry.size);
  let unpacked: Uint8Array;
  try {
    unpacked = inflateSync(await packed.read(0, entry.compressedSize), { out: bytes });
  } catch (cause) {
    throw new FileFormatError(`${name}: corrupt deflated data`, { cause });
  }
  checkContents(name, entry, unpacked, crc);
  return bytesSource(unpacked, name);
}

/** All bytes of an entry, checked against its CRC unless `crc` is false. */
export async function readZipEntry(archive: ZipArchive, entry: ZipEntry, crc = true): Promise<Uint8Array> {
  const source = await zipEntrySource(archive, entry, crc);
  const bytes = await source.read(0, source.size);
  if (entry.method === STORED) checkContents(source.name, entry, bytes, crc);
  return bytes;
}

function checkContents(name: string, entry: ZipEntry, bytes: Uint8Array, crc: boolean): void {
  if (bytes.length !== entry.size) throw new FileFormatError(`${name}: ${bytes.length} bytes, expected ${entry.size}`);
  if (crc && crc32(bytes) !== entry.crc) throw new FileFormatError(`${name}: checksum mismatch, the data is corrupt`);
}
