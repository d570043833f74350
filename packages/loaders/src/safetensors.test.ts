// safetensors written by us and read by others, and the header parser under random input.
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import {
  blobSource,
  bytesSource,
  encodeSafetensors,
  openCheckpoint,
  openSafetensors,
  parseSafetensorsHeader,
  readSafetensors,
  writeSafetensors,
} from '@magi1/loaders';
import { asBytes, FileFormatError, hostArray } from '@magi1/tensor';
import type { DType, HostTensor } from '@magi1/tensor';
import fc from 'fast-check';
import { SafeTensor } from 'safetensors';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';

let folder: string;
beforeAll(async () => void (folder = await mkdtemp(join(tmpdir(), 'loaders-'))));
afterAll(() => rm(folder, { recursive: true }));

const DTYPES: DType[] = ['f32', 'f16', 'bf16', 'f8e4m3fn', 'i32', 'u32', 'u8', 'bool'];

const anyTensor = fc
  .record({
    dtype: fc.constantFrom(...DTYPES),
    shape: fc.array(fc.integer({ min: 0, max: 5 }), { maxLength: 4 }),
    seed: fc.integer({ min: 0, max: 255 }),
  })
  .map(({ dtype, shape, seed }): HostTensor => {
    const data = hostArray(
      dtype,
      shape.reduce((product, dim) => product * dim, 1),
    );
    const bytes = asBytes(data);
    for (let i = 0; i < bytes.length; i++) bytes[i] = dtype === 'bool' ? (seed + i) & 1 : (seed * 31 + i * 7) & 0xff;
    return { dtype, shape, data };
  });
const anyName = fc
  .oneof(fc.string(), fc.string({ unit: 'grapheme' }), fc.constantFrom('__proto__', 'constructor', 'toString', ''))
  .filter((name) => name !== '__metadata__');
const anyTensors = fc.array(fc.tuple(anyName, anyTensor), { maxLength: 6 }).map((entries) => new Map(entries));

/** Bit for bit: NaN payloads and minus zero included. */
function bits(tensors: ReadonlyMap<string, HostTensor>): [string, string, readonly number[], number[]][] {
  return [...tensors]
    .map(([name, { dtype, shape, data }]): [string, string, readonly number[], number[]] => [
      name,
      dtype,
      shape,
      [...asBytes(data)],
    ])
    .sort(([a], [b]) => (a < b ? -1 : 1));
}

describe('writing', () => {
  test('what is written is read back, and the npm package sees the same', async () => {
    await fc.assert(
      fc.asyncProperty(
        anyTensors,
        fc.dictionary(fc.string(), fc.string(), { noNullPrototype: true }),
        async (tensors, facts) => {
          const metadata = new Map(Object.entries(facts));
          const bytes = await encodeSafetensors(tensors, metadata);
          expect(bits(await readSafetensors(bytes))).toEqual(bits(tensors));
          const file = await openSafetensors(bytesSource(bytes));
          expect(file.metadata).toEqual(metadata);

          // It takes the metadata for a tensor: give it a file without.
          const other = new SafeTensor(await encodeSafetensors(tensors));
          for (const [name, { shape, data }] of tensors) {
            if (name === '__proto__') continue; // a plain object cannot hold it
            expect(other.metadata.get(name)?.shape).toEqual(shape);
            expect([...other.getTensor(name)]).toEqual([...asBytes(data)]);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  test('every tensor lies at a multiple of its element size', async () => {
    const tensors = new Map<string, HostTensor>([
      ['a', { dtype: 'u8', shape: [3], data: Uint8Array.of(1, 2, 3) }],
      ['b', { dtype: 'f32', shape: [1], data: Float32Array.of(4) }],
      ['c', { dtype: 'bf16', shape: [1], data: Uint16Array.of(5) }],
    ]);
    const other = new SafeTensor(await encodeSafetensors(tensors));
    expect([...other.metadata.keys()]).toEqual(['b', 'c', 'a']);
    for (const [name, { data_offsets }] of other.metadata) {
      expect(data_offsets[0] % tensors.get(name)!.data.BYTES_PER_ELEMENT).toBe(0);
    }
  });

  test('to a path: through a temporary name, and nothing is left when it fails', async () => {
    const path = join(folder, 'written.safetensors');
    const good = new Map<string, HostTensor>([['x', { dtype: 'i32', shape: [2], data: Int32Array.of(-1, 7) }]]);
    await writeSafetensors(path, good, { note: 'ü' });
    const checkpoint = await openCheckpoint(path);
    expect([...(await checkpoint.read('x')).data]).toEqual([-1, 7]);
    expect(checkpoint.shards[0]!.metadata.get('note')).toBe('ü');
    await checkpoint.close();
    const before = await readFile(path);

    const bad = new Map<string, HostTensor>([['x', { dtype: 'i32', shape: [3], data: Int32Array.of(-1, 7) }]]);
    await expect(writeSafetensors(path, bad)).rejects.toThrow(/"x": shape \[3\] with 2 elements/);
    expect(await readFile(path)).toEqual(before);
    await expect(writeSafetensors(join(folder, 'none', 'x.safetensors'), good)).rejects.toThrow(/ENOENT/);
  });
});

describe('reading', () => {
  test('random headers are parsed or refused, never anything else', () => {
    const refuses = (bytes: Uint8Array): void => {
      try {
        parseSafetensorsHeader(bytes, 'random');
      } catch (error) {
        if (!(error instanceof FileFormatError)) throw error;
      }
    };
    const entry = fc.record(
      {
        dtype: fc.oneof(fc.constantFrom('F32', 'I64', 'F4', 'f32'), fc.jsonValue()),
        shape: fc.oneof(fc.array(fc.integer({ min: -2, max: 9 })), fc.jsonValue()),
        data_offsets: fc.oneof(fc.array(fc.integer({ min: -1, max: 99 }), { maxLength: 3 }), fc.jsonValue()),
      },
      { requiredKeys: [] },
    );
    const encoder = new TextEncoder();
    fc.assert(fc.property(fc.uint8Array({ maxLength: 200 }), refuses), { numRuns: 2000 });
    fc.assert(
      fc.property(fc.string(), (text) => refuses(encoder.encode(`{${text}}`))),
      { numRuns: 2000 },
    );
    fc.assert(
      fc.property(fc.dictionary(fc.string(), fc.oneof(entry, fc.jsonValue())), (header) =>
        refuses(encoder.encode(JSON.stringify(header))),
      ),
      { numRuns: 2000 },
    );
  });

  test('random files are read or refused, whatever byte of a good one is changed', async () => {
    const good = await encodeSafetensors(
      new Map<string, HostTensor>([
        ['a', { dtype: 'f32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }],
        ['b', { dtype: 'u8', shape: [3], data: Uint8Array.of(1, 2, 3) }],
      ]),
    );
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.nat(good.length - 1), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
        fc.option(fc.nat(good.length)),
        async (changes, cut) => {
          const bytes = good.slice(0, cut ?? undefined);
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          await readSafetensors(bytes).catch((error: unknown) => {
            if (!(error instanceof FileFormatError)) throw error;
          });
        },
      ),
      { numRuns: 2000 },
    );
  });

  test('deep nesting and long strings are refused without exhausting the stack', () => {
    const deep = new TextEncoder().encode(`{"a":${'['.repeat(1_000_000)}`);
    expect(() => parseSafetensorsHeader(deep, 'deep')).toThrow(/nesting deeper/);
    const long = new TextEncoder().encode(`{"${'a'.repeat(5_000_000)}":1}`);
    expect(() => parseSafetensorsHeader(long, 'long')).toThrow(FileFormatError);
  });

  test('the same through a Blob and a file', async () => {
    const tensors = new Map<string, HostTensor>([['w', { dtype: 'bf16', shape: [3], data: Uint16Array.of(1, 2, 3) }]]);
    const bytes = await encodeSafetensors(tensors);
    await writeFile(join(folder, 'one.safetensors'), bytes);
    const file = await openSafetensors(blobSource(new Blob([bytes as Uint8Array<ArrayBuffer>]), 'one.safetensors'));
    expect(bits(new Map([['w', await file.readTensor('w')]]))).toEqual(bits(tensors));
    expect([...(await file.readRange('w', 2, 3))]).toEqual([2, 0, 3]);
    await expect(file.readRange('w', 4, 3)).rejects.toThrow(/has 6 bytes, asked for 4 to 7/);
    await expect(file.readTensor('v')).rejects.toThrow(/no tensor named "v"/);
  });

  test('wide types: rounded, or refused when a value does not fit', async () => {
    const file = (dtype: string, bytes: Uint8Array) => {
      const header = `{"x":{"dtype":"${dtype}","shape":[${bytes.length / 8}],"data_offsets":[0,${bytes.length}]}}`;
      const out = new Uint8Array(8 + header.length + bytes.length);
      new DataView(out.buffer).setBigUint64(0, BigInt(header.length), true);
      out.set(new TextEncoder().encode(header), 8);
      out.set(bytes, 8 + header.length);
      return readSafetensors(out);
    };
    const of = (array: ArrayBufferView) => new Uint8Array(array.buffer, array.byteOffset, array.byteLength);
    const values = async (dtype: string, array: ArrayBufferView) => [...(await file(dtype, of(array))).get('x')!.data];
    const limit = 2n ** 31n;
    expect(await values('I64', BigInt64Array.of(-limit, limit - 1n, -1n))).toEqual([-(2 ** 31), 2 ** 31 - 1, -1]);
    await expect(values('I64', BigInt64Array.of(0n, limit))).rejects.toThrow(/2147483648 at index 1 does not fit i32/);
    await expect(values('I64', BigInt64Array.of(-limit - 1n))).rejects.toThrow(/does not fit i32/);
    expect(await values('U64', BigUint64Array.of(2n ** 32n - 1n))).toEqual([2 ** 32 - 1]);
    await expect(values('U64', BigUint64Array.of(2n ** 32n))).rejects.toThrow(/does not fit u32/);
    expect(await values('F64', Float64Array.of(0.1, -Infinity, NaN))).toEqual([Math.fround(0.1), -Infinity, NaN]);
    await expect(values('F64', Float64Array.of(1e39))).rejects.toThrow(/does not fit f32/);
    await expect(values('C64', Float32Array.of(1, 2))).rejects.toThrow(/c64 are not supported/);
    // More than one conversion piece.
    const many = BigInt64Array.from({ length: 300_000 }, (_, i) => BigInt(i - 150_000));
    expect(await values('I64', many)).toEqual([...many].map(Number));
  });
});

test('more names than any checkpoint has are refused while they are read', () => {
  const names = Array.from({ length: 200_001 }, (_, i) => `"${i}":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}`);
  const header = new TextEncoder().encode(`{${names.join(',')}}`);
  expect(() => parseSafetensorsHeader(header, 'many')).toThrow(/many: header: invalid JSON, more than 200000 members/);
});
