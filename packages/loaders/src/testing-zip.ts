// Writes small zip archives, with the variants that a reader must cope with: deflated entries and zip64 records.
import { crc32 } from './crc32.ts';
import { deflateRawSync } from 'node:zlib';
import { concat } from './testing-zstd.ts';

export interface ZipOptions {
  readonly deflate?: boolean;
  readonly zip64?: boolean;
}

export function zipOf(
  entries: Iterable<[string, Uint8Array]>,
  { deflate = false, zip64 = false }: ZipOptions = {},
): Uint8Array {
  const parts: Uint8Array[] = [];
  const directory: Uint8Array[] = [];
  let offset = 0;
  for (const [name, data] of entries) {
    const packed = deflate ? new Uint8Array(deflateRawSync(data)) : data;
    const path = new TextEncoder().encode(name);
    const fields = [u16(0), u16(deflate ? 8 : 0), u16(0), u16(0), u32(crc32(data))];
    const sizes = [u32(packed.length), u32(data.length)];
    const local = concat([u32(0x04034b50), u16(20), ...fields, ...sizes, u16(path.length), u16(0), path]);
    const wide = zip64
      ? concat([u16(1), u16(24), u64(data.length), u64(packed.length), u64(offset)])
      : new Uint8Array(0);
    const hidden = u32(0xffffffff);
    directory.push(
      concat([
        ...[u32(0x02014b50), u16(45), u16(20), ...fields],
        ...(zip64 ? [hidden, hidden] : sizes),
        ...[
          u16(path.length),
          u16(wide.length),
          u16(0),
          u16(0),
          u16(0),
          u32(0),
          zip64 ? hidden : u32(offset),
          path,
          wide,
        ],
      ]),
    );
    parts.push(local, packed);
    offset += local.length + packed.length;
  }
  const table = concat(directory);
  const count = directory.length;
  if (zip64) {
    const numbers = [u64(count), u64(count), u64(table.length), u64(offset)];
    parts.push(table, u32(0x06064b50), u64(44), u16(45), u16(45), u32(0), u32(0), ...numbers);
    parts.push(u32(0x07064b50), u32(0), u64(offset + table.length), u32(1));
    const hidden = [u16(0xffff), u16(0xffff), u32(0xffffffff), u32(0xffffffff)];
    return concat([...parts, u32(0x06054b50), u16(0), u16(0), ...hidden, u16(0)]);
  }
  return concat([
    ...[...parts, table, u32(0x06054b50), u16(0), u16(0)],
    ...[u16(count), u16(count), u32(table.length), u32(offset), u16(0)],
  ]);
}

export function u16(value: number): Uint8Array {
  return Uint8Array.of(value, value >> 8);
}
export function u32(value: number): Uint8Array {
  return Uint8Array.of(value, value >> 8, value >> 16, value >> 24);
}
export function u64(value: number): Uint8Array {
  return concat([u32(value), u32(Math.floor(value / 2 ** 32))]);
}
