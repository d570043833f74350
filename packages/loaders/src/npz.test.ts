// NumPy archives: types, orders, packings, and headers that lie.
import { join } from 'node:path';
import { bytesSource, openFile, openSafetensors, readNpz } from '@magi1/loaders';
import type { NpzOptions } from '@magi1/loaders';
import { FileFormatError, toFloat32 } from '@magi1/tensor';
import { expect, test } from 'vitest';
import { conformanceRoots } from '../../../tests/support/conformance.ts';
import { u16, zipOf } from './testing-zip.ts';
import { concat } from './testing-zstd.ts';

function npy(header: string, data: ArrayBufferView, magic = '\x93NUMPY\x01\x00'): Uint8Array {
  const text = Buffer.from(header, 'latin1');
  return concat([
    Buffer.from(magic, 'latin1'),
    u16(text.length),
    text,
    new Uint8Array(data.buffer, data.byteOffset, data.byteLength),
  ]);
}
const header = (descr: string, shape: string, fortran = 'False') =>
  `{'descr': '${descr}', 'fortran_order': ${fortran}, 'shape': ${shape}, }      \n`;

async function read(array: Uint8Array, options?: NpzOptions, deflate = false) {
  const arrays = await readNpz(bytesSource(zipOf([['x.npy', array]], { deflate }), 'test.npz'), options);
  const { dtype, shape, data } = arrays.get('x')!;
  return [dtype, shape, Array.from(data)];
}

test('types, widened where they have no host form', async () => {
  expect(await read(npy(header('<f4', '(2, 1)'), Float32Array.of(1.5, -2)))).toEqual(['f32', [2, 1], [1.5, -2]]);
  expect(await read(npy(header('<f8', '(2,)'), Float64Array.of(0.1, 3)), {}, true)).toEqual([
    'f32',
    [2],
    [Math.fround(0.1), 3],
  ]);
  expect(await read(npy(header('<i8', '()'), BigInt64Array.of(-5n)))).toEqual(['i32', [], [-5]]);
  expect(await read(npy(header('<u2', '(1,)'), Uint16Array.of(65535)))).toEqual(['u32', [1], [65535]]);
  expect(await read(npy(header('|b1', '(0, 3)'), new Uint8Array(0)))).toEqual(['bool', [0, 3], []]);
  expect(await read(npy(header('<i4', '(2, 3)', 'True'), Int32Array.of(1, 4, 2, 5, 3, 6)))).toEqual([
    'i32',
    [2, 3],
    [1, 2, 3, 4, 5, 6],
  ]);
});

test('big-endian numbers', async () => {
  const values = new DataView(new ArrayBuffer(24));
  [1.5, -2, 3, 4, 5, 6].forEach((value, i) => values.setFloat32(4 * i, value));
  expect(await read(npy(header('>f4', '(6,)'), values))).toEqual(['f32', [6], [1.5, -2, 3, 4, 5, 6]]);
  expect(await read(npy(header('>f4', '(2, 3)', 'True'), values))).toEqual(['f32', [2, 3], [1.5, 3, 5, -2, 4, 6]]);
  const double = new DataView(new ArrayBuffer(8));
  double.setFloat64(0, 0.25);
  expect(await read(npy(header('>f8', '()'), double), { f64: 'f16' })).toEqual(['f16', [], [0x3400]]);
});

test('bfloat16, which NumPy stores as opaque elements, where it is expected', async () => {
  expect(await read(npy(header('<V2', '(2,)'), Uint16Array.of(0x3fc0, 0xc000)), { bf16: true })).toEqual([
    'bf16',
    [2],
    [0x3fc0, 0xc000],
  ]);
});

test('arrays that are not asked for do not matter: their type, their size', async () => {
  const archive = zipOf([
    ['x.npy', npy(header('<f4', '(1,)'), Float32Array.of(7))],
    ['labels.npy', npy(header('<U4', '(1,)'), new Uint8Array(16))],
    ['readme.txt', Buffer.from('x')],
  ]);
  const arrays = await readNpz(bytesSource(archive, 'test.npz'), { names: ['x', 'y'] });
  expect([...arrays.keys()]).toEqual(['x']);
});

test('no more is unpacked than a table has', async () => {
  const archive = zipOf([['x.npy', new Uint8Array((64 << 20) + 1)]], { deflate: true });
  expect(archive.length).toBeLessThan(1 << 20);
  await expect(readNpz(bytesSource(archive, 'test.npz'))).rejects.toThrow(
    /test\.npz: its arrays have 67108865 bytes, "x\.npy" 67108865; at most 67108864 expected/,
  );
  expect((await readNpz(bytesSource(archive, 'test.npz'), { names: ['y'] })).size).toBe(0);
});

test('float64 is rounded to half once', async () => {
  // Between the halves 1 and 1 + 2^-10, just above the middle: rounding through f32 first would give 1.
  const array = npy(header('<f8', '(1,)'), Float64Array.of(1 + 2 ** -11 + 2 ** -40));
  expect(await read(array, { f64: 'f16' })).toEqual(['f16', [1], [0x3c01]]);
});

test.each<[string, Uint8Array, RegExp]>([
  ['pickled objects', npy(header('|O', '(1,)'), new Uint8Array(8)), /'\|O' are not supported/],
  ['numbers without an order', npy(header('|f4', '(1,)'), Float32Array.of(1)), /'\|f4' are not supported/],
  ['opaque elements', npy(header('<V2', '(1,)'), new Uint8Array(2)), /'<V2' are not supported/],
  ['strings', npy(header('<U4', '(1,)'), new Uint8Array(16)), /not supported/],
  [
    'structures',
    npy(`{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }`, Float32Array.of(1)),
    /unsupported/,
  ],
  ['too little data', npy(header('<f4', '(3,)'), Float32Array.of(1)), /needs 12 bytes, found 4/],
  ['too much data', npy(header('<f4', '(1,)'), Float32Array.of(1, 2)), /needs 4 bytes, found 8/],
  ['a huge shape', npy(header('<f4', '(99999999999, 99999999999)'), new Uint8Array(0)), /needs too many bytes/],
  ['a negative shape', npy(header('<f4', '(-1,)'), Float32Array.of(1)), /unsupported/],
  ['a shape that is not a tuple', npy(header('<f4', '(1)'), Float32Array.of(1)), /not a tuple/],
  [
    'code in the header',
    npy(`{'descr': __import__('os').system('x'), 'fortran_order': False, 'shape': (1,)}`, Float32Array.of(1)),
    /unsupported/,
  ],
  ['a missing field', npy(`{'descr': '<f4', 'shape': (1,), }`, Float32Array.of(1)), /bad \.npy header/],
  ['a field twice', npy(`{'descr': '<f4', 'descr': '<f8', 'shape': (1,), }`, Float32Array.of(1)), /appears twice/],
  ['no magic', npy(header('<f4', '(1,)'), Float32Array.of(1), 'xNUMPYxx'), /not an \.npy array/],
  ['an unknown version', npy(header('<f4', '(1,)'), Float32Array.of(1), '\x93NUMPY\x09\x00'), /version 9/],
  ['a header past the end', npy(header('<f4', '(1,)'), new Uint8Array(0)).slice(0, 40), /truncated/],
  ['nothing', new Uint8Array(0), /not an \.npy array/],
])('%s: refused', async (_, array, message) => {
  const error: unknown = await read(array).catch((cause: unknown) => cause);
  expect(error).toBeInstanceOf(FileFormatError);
  expect((error as Error).message).toMatch(message);
});

test('other files in the archive, damaged archives', async () => {
  const archive = zipOf([['readme.txt', Buffer.from('x')]]);
  await expect(readNpz(bytesSource(archive, 'test.npz'))).rejects.toThrow(/"readme\.txt": not an \.npy array/);
  const array = npy(header('<f4', '(1,)'), Float32Array.of(1));
  const damaged = zipOf([['x.npy', array]]);
  damaged[30 + 'x.npy'.length + array.length - 1]! ^= 1;
  await expect(readNpz(bytesSource(damaged, 'test.npz'))).rejects.toThrow(/"x\.npy": checksum mismatch/);
  const deflated = zipOf([['x.npy', array]], { deflate: true });
  deflated[45]! ^= 0x55;
  await expect(readNpz(bytesSource(deflated, 'test.npz'))).rejects.toThrow(FileFormatError);
});

const { root } = conformanceRoots();
test('special_tokens.npz as halves gives the values that the reference used', async () => {
  const source = await openFile(join(root, 'dit', 'special_tokens.npz'));
  const tokens = await readNpz(source, { f64: 'f16' });
  await source.close();
  expect([...tokens].map(([name, { shape }]) => [name, shape])).toEqual([
    ['caption_token', [1, 32]],
    ['logo_token', [1, 32]],
    ['other_tokens', [100, 32]],
  ]);
  const golden = await openSafetensors(await openFile(join(root, 'dit', 'special_tokens.safetensors')));
  const halves = (name: string) => Array.from(toFloat32('f16', tokens.get(name)!.data));
  const used = async (name: string) => Array.from((await golden.readTensor(name)).data);
  expect(halves('caption_token')).toEqual(await used('token.CAPTION_TOKEN'));
  expect(halves('logo_token')).toEqual(await used('token.LOGO_TOKEN'));
  const rows = Array.from({ length: 100 }, (_, row) =>
    halves('other_tokens')
      .slice(32 * row, 32 * row + 32)
      .join(),
  );
  expect(rows).toContain((await used('token.HQ_TOKEN')).join());
  await golden.close();
});
