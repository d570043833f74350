// q8 and q4 in safetensors: what is written is read back, other readers see bytes, and metadata that does not fit is refused.
import { bytesSource, encodeSafetensors, openSafetensors, readSafetensors, safetensorsHead } from '@magi1/loaders';
import { FileFormatError, fromFloat32, toFloat32 } from '@magi1/tensor';
import type { BlockDType, HostTensor } from '@magi1/tensor';
import { SafeTensor } from 'safetensors';
import { expect, test } from 'vitest';

const values = (count: number) => Float32Array.from({ length: count }, (_, i) => Math.sin(i * 1.7) * (1 + (i % 5)));
const quantized = (dtype: BlockDType, shape: readonly number[]): HostTensor => ({
  dtype,
  shape,
  data: fromFloat32(dtype, values(shape.reduce((product, dim) => product * dim, 1))),
});
const TENSORS = new Map<string, HostTensor>([
  ['a.weight', quantized('q4', [3, 128])],
  ['conv.weight', quantized('q8', [2, 16, 1, 2, 2])],
  ['a.bias', { dtype: 'f32', shape: [3], data: Float32Array.of(1, 2, 3) }],
]);

test('what is written is read back with dtype and shape, whole and in pieces', async () => {
  const bytes = await encodeSafetensors(TENSORS, { format: 'pt' });
  expect(await readSafetensors(bytes)).toEqual(new Map([...TENSORS].sort(([a], [b]) => (a < b ? -1 : 1))));
  const file = await openSafetensors(bytesSource(bytes));
  expect(file.metadata).toEqual(new Map([['format', 'pt']]));
  expect(file.tensors.get('a.weight')).toMatchObject({ dtype: 'q4', shape: [3, 128], byteLength: 3 * 72 });
  expect(file.tensors.get('conv.weight')).toMatchObject({ dtype: 'q8', shape: [2, 16, 1, 2, 2], byteLength: 2 * 68 });
  const row = await file.readRange('a.weight', 72, 72);
  expect(toFloat32('q4', row)).toEqual(toFloat32('q4', TENSORS.get('a.weight')!.data).subarray(128, 256));
});

test('readers that do not know the types see bytes, a row of them for each row', async () => {
  const bytes = await encodeSafetensors(TENSORS);
  const length = Number(new DataView(bytes.buffer).getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(bytes.subarray(8, 8 + length))) as Record<string, unknown>;
  const facts = (header.__metadata__ as Record<string, string>)['magi1.quantized']!;
  expect(JSON.parse(facts)).toEqual({
    'a.weight': { dtype: 'q4', shape: [3, 128] },
    'conv.weight': { dtype: 'q8', shape: [2, 16, 1, 2, 2] },
  });
  // The package takes metadata for a tensor: it gets a file without.
  delete header.__metadata__;
  const json = new TextEncoder().encode(JSON.stringify(header));
  const plain = new Uint8Array(8 + json.length + bytes.length - 8 - length);
  new DataView(plain.buffer).setBigUint64(0, BigInt(json.length), true);
  plain.set(json, 8);
  plain.set(bytes.subarray(8 + length), 8 + json.length);
  const other = new SafeTensor(plain);
  expect(other.metadata.get('a.weight')).toMatchObject({ dtype: 'U8', shape: [3, 72] });
  expect(other.metadata.get('conv.weight')).toMatchObject({ dtype: 'U8', shape: [2, 68] });
  expect([...other.getTensor('a.weight')]).toEqual([...(TENSORS.get('a.weight')!.data as Uint8Array)]);
});

/** The q4 tensor of two rows as a file says it, with other facts about it. */
async function open(facts: unknown): Promise<unknown> {
  const head = { __metadata__: { 'magi1.quantized': typeof facts === 'string' ? facts : JSON.stringify(facts) } };
  const tensor = { w: { dtype: 'U8', shape: [2, 36], data_offsets: [0, 72] } };
  const json = new TextEncoder().encode(JSON.stringify({ ...head, ...tensor }));
  const bytes = new Uint8Array(8 + json.length + 72);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(json.length), true);
  bytes.set(json, 8);
  return openSafetensors(bytesSource(bytes, 'x.safetensors')).catch((cause: unknown) => cause);
}

test('the file of the tests below is a good one', async () => {
  expect(await open({ w: { dtype: 'q4', shape: [2, 64] } })).toMatchObject({ name: 'x.safetensors' });
});

test.each([
  ['no JSON', '{', /invalid JSON/],
  ['a list', [], /must be a JSON object/],
  ['a name twice', '{"w":{"dtype":"q4","shape":[2,64]},"w":{"dtype":"q4","shape":[2,64]}}', /duplicate key/],
  ['no facts', { w: 'q4' }, /expected an object, found "q4"/],
  ['an unknown dtype', { w: { dtype: 'q5', shape: [2, 64] } }, /dtype must be q8 or q4, found "q5"/],
  ['another dtype', { w: { dtype: 'f32', shape: [2, 64] } }, /dtype must be q8 or q4, found "f32"/],
  ['no shape', { w: { dtype: 'q4' } }, /shape must be a list of non-negative integers, found nothing/],
  ['a negative dimension', { w: { dtype: 'q4', shape: [-2, 64] } }, /shape must be a list/],
  ['too many elements', { w: { dtype: 'q4', shape: [2 ** 40, 2 ** 40] } }, /shape must be a list/],
  ['rows of other lengths', { w: { dtype: 'q4', shape: [2, 32] } }, /rows of \[2,32\] are no multiple of 64/],
  ['a vector', { w: { dtype: 'q4', shape: [128] } }, /rows of \[128\] are no multiple of 64/],
  ['another tensor', { v: { dtype: 'q4', shape: [2, 64] } }, /"v": there is no such tensor/],
  ['other sizes', { w: { dtype: 'q8', shape: [2, 64] } }, /q8 of \[2,64\] is stored as u8 \[2,68\], found u8 \[2,36\]/],
])('metadata that does not fit is refused: %s', async (_, facts, message) => {
  const error = await open(facts);
  expect(error).toBeInstanceOf(FileFormatError);
  expect((error as Error).message).toMatch(/^x\.safetensors: /);
  expect((error as Error).message).toMatch(message);
});

test('rows that are no whole groups are not written', () => {
  expect(() => safetensorsHead('y', [['w', { dtype: 'q8', shape: [4, 96] }]])).toThrow(/"w": rows of q8 \[4,96\]/);
});
