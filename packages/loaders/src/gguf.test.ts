// GGUF files that the Python package gguf wrote, against the values that it decodes; and hostile ones.
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { bytesSource, httpFolder, openCheckpoint, openTensorFile, readSafetensors } from '@magi1/loaders';
import type { TensorFile } from '@magi1/loaders';
import { FileFormatError, asBytes, fromFloat32, toFloat32 } from '@magi1/tensor';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';

const FOLDER = join(import.meta.dirname, '../../../tests/files/gguf');
const TYPES = readFileSync(join(FOLDER, 'types.gguf'));

const open = (bytes: Uint8Array): Promise<TensorFile> => openTensorFile(bytesSource(bytes, 'x.gguf'));

/** What each tensor of the files is read as. */
const EXPECTED: Record<string, [dtype: string, shape: number[], packed?: string]> = {
  f32: ['f32', [3, 96]],
  f16: ['f16', [3, 96]],
  bias: ['f32', [96]],
  bf16: ['bf16', [3, 96]],
  'Q8_0.groups': ['q8', [5, 128], 'Q8_0'],
  'Q8_0.odd': ['f16', [3, 96], 'Q8_0'],
  'Q4_0.groups': ['q4', [5, 128], 'Q4_0'],
  'Q4_0.odd': ['f16', [3, 96], 'Q4_0'],
  Q4_K: ['f16', [3, 512], 'Q4_K'],
  Q6_K: ['f16', [3, 512], 'Q6_K'],
  conv: ['q8', [4, 16, 1, 2, 2], 'Q8_0'],
};

describe.each(['types', 'aligned'])('%s.gguf', (name) => {
  test('has the tensors and the values that the Python package sees', async () => {
    const file = await open(readFileSync(join(FOLDER, `${name}.gguf`)));
    const values = await readSafetensors(readFileSync(join(FOLDER, `${name}.gguf.safetensors`)));
    expect(file.metadata.get('general.description')).toBe('tensors of every type');
    expect([...file.tensors.keys()].sort()).toEqual(Object.keys(EXPECTED).sort());
    for (const [tensor, [dtype, shape, packed]] of Object.entries(EXPECTED)) {
      const entry = file.tensors.get(tensor)!;
      expect([entry.dtype, entry.shape, entry.packed], tensor).toEqual([dtype, shape, packed]);
      const read = await file.readTensor(tensor);
      expect([read.dtype, read.shape]).toEqual([dtype, shape]);
      const expected = values.get(tensor)!.data as Float32Array;
      const rounded = dtype === 'f16' ? toFloat32('f16', fromFloat32('f16', expected)) : expected;
      expect(toFloat32(read.dtype, read.data), tensor).toEqual(rounded);
      // Pieces that begin and end anywhere give the same bytes.
      const whole = asBytes(read.data);
      expect(whole.length).toBe(entry.byteLength);
      for (const [at, length] of [
        [0, 1],
        [1, 70],
        [67, 3],
        [whole.length - 5, 5],
      ] as const)
        expect([...(await file.readRange(tensor, at, length))], tensor).toEqual([...whole.slice(at, at + length)]);
    }
  });
});

test('over HTTP by ranges, and in a folder where no safetensors are', async () => {
  const server = createServer((request, response) => {
    const [, from, to] = /bytes=(\d+)-(\d+)/.exec(request.headers.range!)!;
    const body = TYPES.subarray(Number(from), Number(to) + 1);
    response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${TYPES.length}` }).end(body);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  try {
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const checkpoint = await openCheckpoint(httpFolder(url, { files: new Map([['types.gguf', TYPES.length]]) }));
    const here = await open(TYPES);
    expect(await checkpoint.read('Q6_K')).toEqual(await here.readTensor('Q6_K'));
    const streamed = new Map<string, number>();
    for await (const { name, tensor } of checkpoint.stream(undefined, { reuseBuffer: true }))
      streamed.set(name, tensor.data.byteLength);
    expect(streamed.size).toBe(Object.keys(EXPECTED).length);
    await checkpoint.close();
  } finally {
    server.close();
  }
});

type Field = readonly [bytes: number, value: number | bigint] | string;

/** Fields of a header: numbers of so many bytes, and texts behind their lengths. */
function bytesOf(fields: readonly Field[], data = 0, alignment = 32): Uint8Array {
  const parts = fields.map((field) => {
    if (typeof field === 'string') {
      const text = Buffer.from(field);
      return Buffer.concat([number(8, text.length), text]);
    }
    return number(field[0], field[1]);
  });
  const head = Buffer.concat([Buffer.from('GGUF'), ...parts]);
  return Buffer.concat([
    head,
    Buffer.alloc(data === 0 ? 0 : Math.ceil(head.length / alignment) * alignment - head.length + data),
  ]);
}
function number(bytes: number, value: number | bigint): Buffer {
  const out = Buffer.alloc(8);
  out.writeBigUInt64LE(BigInt(value));
  return out.subarray(0, bytes);
}
const u32 = (value: number): Field => [4, value];
const u64 = (value: number | bigint): Field => [8, value];
const begin = (tensors: number | bigint, facts: number | bigint, version = 3) => [
  u32(version),
  u64(tensors),
  u64(facts),
];
const tensor = (name: string, dims: readonly (number | bigint)[], type: number, offset: number | bigint): Field[] => [
  name,
  u32(dims.length),
  ...dims.map(u64),
  u32(type),
  u64(offset),
];

test('the files below are made as good ones are', async () => {
  const good = await open(
    bytesOf([...begin(1, 1), 'general.alignment', u32(4), u32(64), ...tensor('a', [4], 0, 0)], 64, 64),
  );
  expect(good.tensors.get('a')).toMatchObject({ dtype: 'f32', shape: [4], byteLength: 16 });
  expect((await open(bytesOf(begin(0, 0, 2)))).tensors.size).toBe(0);
});

test.each<[string, Uint8Array, RegExp]>([
  ['an empty file', new Uint8Array(0), /too short for a GGUF file, 0 bytes/],
  ['another magic', Buffer.alloc(64, 'GGML'), /not a GGUF file, it begins with "GGML"/],
  ['a Git LFS pointer', Buffer.from('version https://git-lfs.github.com/spec/v1\noid'), /Git LFS pointer/],
  ['version 1', bytesOf(begin(0, 0, 1)), /GGUF version 1, versions 2 and 3 are read/],
  ['another byte order', bytesOf(begin(0, 0, 0x03000000)), /big-endian/],
  ['2^63 tensors', bytesOf(begin(2n ** 63n, 0)), /the number of tensors is 9223372036854775808/],
  ['many tensors', bytesOf(begin(10 ** 9, 0)), /1000000000 tensors, at most 200000/],
  ['much metadata', bytesOf(begin(0, 10 ** 9)), /1000000000 metadata entries/],
  ['fewer tensors than it says', bytesOf([...begin(2, 0), ...tensor('a', [4], 0, 0)]), /truncated, its header/],
  ['a name longer than the file', bytesOf([...begin(1, 0), u64(10 ** 12)]), /name of a tensor of 1000000000000 bytes/],
  [
    'a list longer than the file',
    bytesOf([...begin(0, 1), 'k', u32(9), u32(0), u64(10 ** 12)]),
    /a list of 1000000000000/,
  ],
  [
    'lists in lists',
    bytesOf([...begin(0, 1), 'k', u32(9), ...Array.from({ length: 9 }, () => [u32(9), u64(1)]).flat()]),
    /lists/,
  ],
  ['an unknown type of metadata', bytesOf([...begin(0, 1), 'k', u32(77)]), /metadata "k": unknown type 77/],
  ['metadata twice', bytesOf([...begin(0, 2), 'k', u32(4), u32(1), 'k', u32(4), u32(1)]), /"k" is there twice/],
  [
    '100 dimensions',
    bytesOf([...begin(1, 0), 'a', u32(100), ...Array.from({ length: 100 }, () => u64(1))]),
    /100 dimensions/,
  ],
  ['a shape that overflows', bytesOf([...begin(1, 0), ...tensor('a', [2 ** 40, 2 ** 40], 0, 0)]), /not a valid size/],
  ['a dimension of 2^60', bytesOf([...begin(1, 0), ...tensor('a', [2n ** 60n], 0, 0)]), /which no file can hold/],
  [
    'a type that is not read',
    bytesOf([...begin(1, 0), ...tensor('a', [256], 10, 0)], 96),
    /"a": type Q2_K is not read, only F32/,
  ],
  ['an unknown type', bytesOf([...begin(1, 0), ...tensor('a', [256], 99, 0)], 96), /"a": type 99 is not read/],
  [
    'rows that are no whole blocks',
    bytesOf([...begin(1, 0), ...tensor('a', [48, 2], 8, 0)], 128),
    /multiple of 32 elements, found 48/,
  ],
  [
    'an alignment of 0',
    bytesOf([...begin(0, 1), 'general.alignment', u32(4), u32(0)]),
    /must be a power of two .*, found 0/,
  ],
  ['an alignment of 48', bytesOf([...begin(0, 1), 'general.alignment', u32(4), u32(48)]), /found 48/],
  ['an alignment that is a text', bytesOf([...begin(0, 1), 'general.alignment', u32(8), '32']), /found "32"/],
  [
    'a misaligned tensor',
    bytesOf([...begin(1, 0), ...tensor('a', [4], 0, 4)], 64),
    /begins at 4, which is no multiple of 32/,
  ],
  [
    'a tensor twice',
    bytesOf([...begin(2, 0), ...tensor('a', [8], 0, 0), ...tensor('a', [8], 0, 32)], 64),
    /"a" is there twice/,
  ],
  [
    'tensors that overlap',
    bytesOf([...begin(2, 0), ...tensor('a', [16], 0, 0), ...tensor('b', [8], 0, 32)], 64),
    /"b" overlaps the tensor before it/,
  ],
  [
    'a hole',
    bytesOf([...begin(2, 0), ...tensor('a', [8], 0, 0), ...tensor('b', [8], 0, 64)], 96),
    /"b" leaves a hole before it/,
  ],
  [
    'an end that lies outside',
    bytesOf([...begin(1, 0), ...tensor('a', [64], 0, 0)], 64),
    /truncated, tensor "a" ends at byte/,
  ],
  ['bytes after the end', bytesOf([...begin(1, 0), ...tensor('a', [8], 0, 0)], 96), /bytes after the last tensor/],
  [
    'another original shape',
    bytesOf([...begin(1, 1), 'comfy.gguf.orig_shape.a', u32(9), u32(4), u64(1), u32(9), ...tensor('a', [8], 0, 0)], 32),
    /its original shape \[9\] is none of its \[8\]/,
  ],
  ['its first half', TYPES.subarray(0, TYPES.length >> 1), /truncated, tensor/],
  ['its first bytes', TYPES.subarray(0, 200), /a list of 50 in a file of 200 bytes/],
])('%s is refused before any data is read', async (_, bytes, message) => {
  const error: unknown = await open(bytes).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(FileFormatError);
  expect((error as Error).message).toMatch(/^x\.gguf: /);
  expect((error as Error).message).toMatch(message);
});

test('a finite weight that f16 cannot hold is refused when it is read', async () => {
  const bytes = bytesOf([...begin(1, 0), ...tensor('a', [32], 8, 0)], 64);
  const at = bytes.length - 64;
  bytes.set([0xff, 0x7b, 127], at); // 65504 x 127
  await expect((await open(bytes)).readTensor('a')).rejects.toThrow(/x\.gguf: a weight of 8319008 does not fit f16/);
  bytes.set([0x00, 0x7c, 127], at);
  expect(toFloat32('f16', (await (await open(bytes)).readTensor('a')).data)[0]).toBe(Infinity);
});

test('files are read or refused, whatever bytes of a good one are changed', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.nat(1500), fc.integer({ min: 0, max: 255 })), { minLength: 1, maxLength: 4 }),
      fc.option(fc.nat(TYPES.length)),
      async (changes, cut) => {
        const bytes = Uint8Array.from(TYPES.subarray(0, cut ?? undefined));
        for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
        try {
          const file = await open(bytes);
          for (const name of file.tensors.keys()) await file.readTensor(name);
        } catch (error) {
          if (!(error instanceof FileFormatError)) throw error;
        }
      },
    ),
    { numRuns: 500 },
  );
});
