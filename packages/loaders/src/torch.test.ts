// torch checkpoints beyond the conformance kit: newer pickles, zip variants, hostile pickles, damaged files.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { bytesSource, openTorch } from '@magi1/loaders';
import type { TensorFile } from '@magi1/loaders';
import { FileFormatError } from '@magi1/tensor';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { zipOf } from './testing-zip.ts';
import type { ZipOptions } from './testing-zip.ts';
import { concat } from './testing-zstd.ts';

type Part = number | string | Uint8Array;
/** A pickle in pieces: opcodes as characters or numbers, payloads as bytes. */
function pickle(...parts: Part[]): Uint8Array {
  return concat([
    Uint8Array.of(0x80, 2),
    ...parts.map((part) =>
      typeof part === 'number' ? Uint8Array.of(part) : typeof part === 'string' ? Buffer.from(part, 'latin1') : part,
    ),
    Buffer.from('.'),
  ]);
}
function text(value: string): Uint8Array {
  const bytes = new TextEncoder().encode(value);
  return concat([Buffer.from('X'), Uint8Array.of(bytes.length, bytes.length >> 8, 0, 0), bytes]);
}
function int(value: number): Uint8Array {
  return concat([Buffer.from('J'), new Uint8Array(Int32Array.of(value).buffer)]);
}
const global = (module: string, name: string) => `c${module}\n${name}\n`;
const tuple = (...items: Part[]): Part[] => ['(', ...items, 't'];
const storage = (type: string, key: string, numel: number) =>
  [...tuple(text('storage'), global('torch', type), text(key), text('cpu'), int(numel)), 'Q'] as Part[];
const tensor = (
  store: Part[],
  offset: number,
  shape: number[],
  strides: number[],
  function_ = '_rebuild_tensor_v2',
  more: Part[] = [],
) =>
  [
    global('torch._utils', function_),
    ...tuple(...store, int(offset), ...tuple(...shape.map(int)), ...tuple(...strides.map(int)), 0x89, 'N', ...more),
    'R',
  ] as Part[];
const dict = (...items: Part[]): Part[] => ['}', '(', ...items, 'u'];

function archive(pkl: Uint8Array, storages: Record<string, Uint8Array> = {}, options: ZipOptions = {}): Uint8Array {
  const records = Object.entries(storages).map(([key, data]): [string, Uint8Array] => [`archive/data/${key}`, data]);
  return zipOf([['archive/data.pkl', pkl], ...records], options);
}
const open = (bytes: Uint8Array) => openTorch(bytesSource(bytes, 'test.bin'));
const FLOATS = new Uint8Array(Float32Array.of(0, 1, 2, 3, 4, 5).buffer);

async function readAll(file: TensorFile): Promise<Record<string, number[]>> {
  const values: [string, number[]][] = [];
  for (const name of file.tensors.keys()) values.push([name, Array.from((await file.readTensor(name)).data)]);
  return Object.fromEntries(values);
}

const TRANSPOSED = pickle(...dict(text('w'), ...tensor(storage('FloatStorage', '0', 6), 0, [2, 3], [1, 2])));

describe('what torch writes', () => {
  test.each<ZipOptions>([{}, { deflate: true }, { zip64: true }, { deflate: true, zip64: true }])(
    'archive %o',
    async (options) => {
      const file = await open(archive(TRANSPOSED, { 0: FLOATS }, options));
      expect(await readAll(file)).toEqual({ w: [0, 2, 4, 1, 3, 5] });
      expect([...(await file.readRange('w', 4, 4))]).toEqual([0, 0, 0, 64]);
    },
  );

  test('float8 in an untyped storage', async () => {
    const store = storage('UntypedStorage', '0', 4);
    const pkl = pickle(
      ...dict(text('f8'), ...tensor(store, 1, [3], [1], '_rebuild_tensor_v3', [global('torch', 'float8_e4m3fn')])),
    );
    const file = await open(archive(pkl, { 0: Uint8Array.of(1, 2, 3, 4) }));
    expect(file.tensors.get('f8')).toMatchObject({ dtype: 'f8e4m3fn', shape: [3], byteLength: 3 });
    expect(await readAll(file)).toEqual({ f8: [2, 3, 4] });
  });

  test('protocol 4: frames, memoised strings, names from the stack', async () => {
    const short = (value: string) =>
      concat([Uint8Array.of(0x8c, value.length), Buffer.from(value), Uint8Array.of(0x94)]);
    const name = (module: string, item: string): Part[] => [short(module), short(item), 0x93, 0x94];
    const pkl = concat([
      Uint8Array.of(0x80, 4, 0x95, 0, 0, 0, 0, 0, 0, 0, 0),
      pickle(
        ...['}', 0x94, short('w'), ...name('torch._utils', '_rebuild_tensor_v2'), '('],
        ...[...tuple(short('storage'), ...name('torch', 'FloatStorage'), short('0'), short('cpu'), int(6)), 'Q'],
        ...[int(2), int(2), 0x85, int(1), 0x85, 0x89, ...name('collections', 'OrderedDict'), ')', 'R', 't', 'R', 's'],
      ).subarray(2),
    ]);
    expect(await readAll(await open(archive(pkl, { 0: FLOATS })))).toEqual({ w: [2, 3] });
  });

  test('names are plain data: __proto__ included', async () => {
    const pkl = pickle(
      ...dict(text('__proto__'), ...dict(text('polluted'), ...tensor(storage('FloatStorage', '0', 6), 0, [1], [1]))),
    );
    const file = await open(archive(pkl, { 0: FLOATS }));
    expect([...file.tensors.keys()]).toEqual(['__proto__.polluted']);
    expect('polluted' in {}).toBe(false);
  });

  test('a large transposed tensor is gathered through the window in both orders', async () => {
    const rows = 700;
    const columns = 900;
    const data = Float32Array.from({ length: rows * columns }, (_, i) => i);
    const store = storage('FloatStorage', '0', data.length);
    const pkl = pickle(
      ...dict(
        text('t'),
        ...tensor(store, 0, [columns, rows], [1, columns]),
        text('r'),
        ...tensor(store, 0, [rows, 450], [columns, 2]),
      ),
    );
    const file = await open(archive(pkl, { 0: new Uint8Array(data.buffer) }));
    const transposed = (await file.readTensor('t')).data;
    const strided = (await file.readTensor('r')).data;
    for (let i = 0; i < 5000; i++) {
      const row = (i * 7919) % rows;
      const column = (i * 104729) % columns;
      expect(transposed[column * rows + row]).toBe(row * columns + column);
      expect(strided[row * 450 + (column >> 1)]).toBe(row * columns + 2 * (column >> 1));
    }
  });
});

// What `torch.save` of PyTorch 2.13 writes, opcode by opcode.
describe('lazily negated and conjugated tensors', () => {
  const hooks = [global('collections', 'OrderedDict'), ')', 'R'];
  const marked = (type: string, shape: number[], strides: number[], offset: number, ...flags: Part[]): Part[] => [
    global('torch._utils', '_rebuild_tensor_v2'),
    ...tuple(
      ...[...storage(type, '0', type.startsWith('Complex') ? 3 : 6), int(offset)],
      ...[...tuple(...shape.map(int)), ...tuple(...strides.map(int)), 0x89, ...hooks, ...dict(...flags)],
    ),
    'R',
  ];
  // [1+2j, 3-4j, 5+6j]
  const COMPLEX = new Uint8Array(Float32Array.of(1, 2, 3, -4, 5, 6).buffer);
  const openMarked = (...pkl: Part[]) => open(archive(pickle(...dict(text('n'), ...pkl)), { 0: COMPLEX }));
  const neg = [text('neg'), 0x88];
  const conj = [text('conj'), 0x88];

  test('tensor.conj().imag, strided, and its ranges', async () => {
    const file = await openMarked(...marked('FloatStorage', [3], [2], 1, ...neg));
    expect(await readAll(file)).toEqual({ n: [-2, 4, -6] });
    expect([...(await file.readRange('n', 4, 4))]).toEqual([...new Uint8Array(Float32Array.of(4).buffer)]);
  });

  test('contiguous: whole, in part, and the source keeps its bytes', async () => {
    const file = await openMarked(...marked('FloatStorage', [6], [1], 0, ...neg));
    for (let i = 0; i < 2; i++) expect(await readAll(file)).toEqual({ n: [-1, -2, -3, 4, -5, -6] });
    expect((await file.readRange('n', 7, 2)).at(0)).toBe(0xc0); // the last byte of -2
    expect(COMPLEX[7]).toBe(0x40);
    expect(await readAll(await openMarked(...marked('FloatStorage', [2], [1], 0, text('neg'), 0x89)))).toEqual({
      n: [1, 2],
    });
  });

  test.each([
    ['neg', neg, [-1, -2, -3, 4, -5, -6]],
    ['conj', conj, [1, -2, 3, 4, 5, -6]],
    ['both', [...neg, ...conj], [-1, 2, -3, -4, -5, 6]],
  ])('complex, raw bytes: %s', async (_, flags, values) => {
    const file = await openMarked(...marked('ComplexFloatStorage', [3], [1], 0, ...flags));
    const bytes = await file.readRange('n', 0, 24);
    expect([...new Float32Array(bytes.slice().buffer)]).toEqual(values);
    expect([...(await file.readRange('n', 4, 8))]).toEqual([...bytes.subarray(4, 12)]);
  });

  test.each<[string, string, Part[], RegExp]>([
    ['an unknown attribute', 'FloatStorage', [text('phase'), 0x88], /attribute "phase", which is not supported/],
    ['no bool', 'FloatStorage', [text('neg'), int(1)], /attribute "neg" of a tensor is 1, expected a bool/],
    ['integers', 'IntStorage', neg, /tensor of i32 is marked as negative/],
    ['real conjugates', 'FloatStorage', conj, /tensor of f32 is marked as conjugate/],
  ])('refused: %s', async (_, type, flags, message) => {
    await expect(openMarked(...marked(type, [3], [1], 0, ...flags))).rejects.toThrow(message);
  });
});

test('an empty view at the end of its storage', async () => {
  const file = await open(
    archive(pickle(...dict(text('c'), ...tensor(storage('FloatStorage', '0', 6), 6, [0], [1]))), { 0: FLOATS }),
  );
  expect(await readAll(file)).toEqual({ c: [] });
});

describe('saved without checksums', () => {
  /** Every CRC set to 0, as PyTorch does it, or one of them. */
  function withoutCrc(bytes: Uint8Array, only?: string): Uint8Array {
    const out = bytes.slice();
    const view = new DataView(out.buffer);
    for (let at = view.getUint32(out.length - 6, true); view.getUint32(at, true) === 0x02014b50;) {
      const end = at + 46 + view.getUint16(at + 28, true);
      const name = Buffer.from(out.subarray(at + 46, end)).toString();
      if (only === undefined || name.endsWith(only)) view.setUint32(at + 16, 0, true);
      at = end + view.getUint16(at + 30, true) + view.getUint16(at + 32, true);
    }
    return out;
  }
  const saved = zipOf([
    ['a/data.pkl', TRANSPOSED],
    ['a/byteorder', Buffer.from('little')],
    ['a/data/0', FLOATS],
  ]);
  const values = { w: [0, 2, 4, 1, 3, 5] };

  test('is read', async () => {
    expect(await readAll(await open(withoutCrc(saved)))).toEqual(values);
  });

  test.each(['data.pkl', 'byteorder', 'data/0'])(
    'crc: false holds for %s; else a wrong one is refused',
    async (record) => {
      const wrong = withoutCrc(saved, record);
      await expect(open(wrong).then(readAll)).rejects.toThrow(/checksum mismatch/);
      expect(await readAll(await openTorch(bytesSource(wrong, 'test.bin'), { crc: false }))).toEqual(values);
    },
  );
});

describe('values beside the tensors that torch loads as plain data', () => {
  const call = (name: [string, string], ...args: Part[]) => [global(...name), ...tuple(...args), 'R'];
  const latin1 = (value: string) => call(['_codecs', 'encode'], text(value), text('latin1'));
  const whole = tensor(storage('FloatStorage', '0', 6), 0, [6], [1]);

  test('a set, bytes, a bytearray, a complex number, a Counter, a layout', async () => {
    const pkl = pickle(
      ...dict(
        ...[text('s'), ...call(['__builtin__', 'set'], ']', '(', int(1), int(2), 'e')],
        ...[text('b'), ...latin1('ab'), text('ba'), ...call(['__builtin__', 'bytearray'], ...latin1('x'))],
        ...[text('z'), ...call(['builtins', 'complex'], int(1), int(2))],
        ...[text('k'), ...call(['collections', 'Counter'], ...dict(text('a'), int(2)))],
        ...[text('l'), ...call(['torch.serialization', '_get_layout'], text('torch.strided'))],
        ...[text('w'), ...whole],
      ),
    );
    expect(await readAll(await open(archive(pkl, { 0: FLOATS })))).toEqual({ w: [0, 1, 2, 3, 4, 5] });
  });

  test('a tensor with attributes of its own', async () => {
    const typed = (make: Part[], type: [string, string]): Part[] => [
      global('torch._tensor', '_rebuild_from_type_v2'),
      ...tuple(...make.slice(0, 1), global(...type), ...make.slice(1, -1), ...dict(text('note'), text('x'))),
      'R',
    ];
    const pkl = (type: [string, string]) => archive(pickle(...dict(text('w'), ...typed(whole, type))), { 0: FLOATS });
    expect(await readAll(await open(pkl(['torch', 'Tensor'])))).toEqual({ w: [0, 1, 2, 3, 4, 5] });
    await expect(open(pkl(['torch', 'Size']))).rejects.toThrow(/malformed tensor with attributes/);
  });

  test.each<[string, string]>([
    ['builtins', 'eval'],
    ['builtins', 'getattr'],
    ['__builtin__', 'list'],
    ['collections', 'defaultdict'],
    ['_codecs', 'lookup'],
    ['torch._tensor', '_rebuild_from_type'],
  ])('not %s.%s', async (...name) => {
    const pkl = pickle(...dict(text('x'), ...call(name, text('1')), text('w'), ...whole));
    await expect(open(archive(pkl, { 0: FLOATS }))).rejects.toThrow(/not allowed in a checkpoint; nothing was run/);
  });

  test('none of them in a place of a tensor', async () => {
    const instead = call(['torch._utils', '_rebuild_parameter'], ...latin1('w'), 0x89, 'N');
    await expect(open(archive(pickle(...dict(text('w'), ...instead))))).rejects.toThrow(/malformed parameter/);
  });
});

describe('refused', () => {
  const view = (offset: number, shape: number[], strides: number[]) =>
    pickle(...dict(text('w'), ...tensor(storage('FloatStorage', '0', 6), offset, shape, strides)));
  const whole = tensor(storage('FloatStorage', '0', 6), 0, [6], [1]);

  test.each<[string, Uint8Array, RegExp]>([
    [
      'an expanded tensor that asks for terabytes',
      view(0, [2 ** 20, 2 ** 20], [0, 0]),
      /expands 24 stored bytes to 4398046511104/,
    ],
    ['a shape beyond all numbers', view(0, [2 ** 30, 2 ** 30, 2 ** 30], [0, 0, 0]), /too large/],
    ['a view past the end', view(0, [2, 3], [1, 3]), /reaches past the end/],
    ['an empty view past the end', view(7, [0], [1]), /reaches past the end/],
    ['a negative stride', view(5, [6], [-1]), /malformed tensor/],
    ['shape and strides of different lengths', view(0, [6], [1, 1]), /malformed tensor/],
    ['a list instead of a dict', pickle(']', ...whole, 'a'), /expected a dict of tensors, found a list/],
    [
      'a storage class that is called',
      pickle(global('torch', 'FloatStorage'), ')', 'R'),
      /calls "torch\.FloatStorage"/,
    ],
    ['an allowed name with another prefix', pickle(global('torch', 'storage._load_from_bytes')), /not allowed/],
    ['state set on a tensor', pickle(...dict(text('w'), ...whole, '}', 'b')), /sets the state of a tensor/],
    ['an unknown opcode', pickle(0x7f), /opcode 0x7f is not supported/],
    ['a text opcode', pickle('I1\n'), /opcode 0x49 is not supported/],
    ['an empty stack', pickle('u'), /no mark/],
    ['a memo that is not set', pickle('h', 9), /memo 9 is not set/],
    [
      'a list set as an item of itself',
      pickle(']', 'q', 0, '}', text('x'), 'h', 0, 's', 's'),
      /stack is empty|items set on/,
    ],
    ['a dict inside itself', pickle('}', 'q', 0, text('x'), 'h', 0, 's'), /nested too deep/],
    [
      'a view of another storage',
      pickle(
        ...tuple(text('storage'), global('torch', 'FloatStorage'), text('0'), text('cpu'), int(1), text('v')),
        'Q',
      ),
      /view of another storage/,
    ],
  ])('%s', async (_, pkl, message) => {
    const error: unknown = await open(archive(pkl, { 0: FLOATS }))
      .then(readAll)
      .catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(FileFormatError);
    expect((error as Error).message).toMatch(message);
  });

  test('exponentially shared containers', async () => {
    // List k holds list k-1 four times.
    const lists: Part[] = [']', 'q', 0, '0'];
    for (let k = 1; k <= 24; k++)
      lists.push(
        ']',
        'q',
        k,
        '(',
        ...Array<Part[]>(4)
          .fill(['h', k - 1])
          .flat(),
        'e',
        '0',
      );
    await expect(open(archive(pickle(...lists, '}', text('x'), 'h', 24, 's')))).rejects.toThrow(/too many values/);
  });

  test('zip archives that contradict themselves', async () => {
    const good = archive(TRANSPOSED, { 0: FLOATS });
    const twice = zipOf([
      ['a/data.pkl', TRANSPOSED],
      ['b/data.pkl', TRANSPOSED],
    ]);
    await expect(open(twice)).rejects.toThrow(/2 records data\.pkl/);
    const big = zipOf([
      ['a/data.pkl', TRANSPOSED],
      ['a/byteorder', Buffer.from('big')],
      ['a/data/0', FLOATS],
    ]);
    await expect(open(big)).rejects.toThrow(/byte order "big"/);
    const same = zipOf([
      ['a/data.pkl', TRANSPOSED],
      ['a/data.pkl', TRANSPOSED],
    ]);
    await expect(open(same)).rejects.toThrow(/two entries are called/);
    await expect(open(concat([good, Uint8Array.of(0)]))).rejects.toThrow(/no end-of-directory/);
    // The second entry pointed at the first one's header.
    const overlapping = good.slice();
    const view = new DataView(overlapping.buffer);
    const directory = view.getUint32(good.length - 6, true);
    view.setUint32(directory + 46 + 'archive/data.pkl'.length + 42, 4, true);
    await expect(open(overlapping)).rejects.toThrow(/overlap/);
    // A deflated entry that claims more than deflate can give.
    const bomb = archive(TRANSPOSED, { 0: FLOATS }, { deflate: true });
    new DataView(bomb.buffer).setUint32(
      new DataView(bomb.buffer).getUint32(bomb.length - 6, true) + 24,
      50_000_000,
      true,
    );
    await expect(open(bomb)).rejects.toThrow(/claims 50000000 bytes/);
  });
});

test.each(['small_views', 'small_torch2', 'small_legacy_nonzip', 'nested_dict'])(
  '%s.bin with any bytes changed is read or refused, nothing else',
  async (name) => {
    const good = readFileSync(join(import.meta.dirname, '../../../tests/fixtures', 't5', 'bin', `${name}.bin`));
    const pickleEnd = Math.min(good.length, 2000);
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.tuple(fc.oneof(fc.nat(good.length - 1), fc.nat(pickleEnd - 1)), fc.integer({ min: 0, max: 255 })), {
          minLength: 1,
          maxLength: 4,
        }),
        fc.option(fc.nat(good.length), { freq: 5 }),
        async (changes, cut) => {
          const bytes = new Uint8Array(good.subarray(0, cut ?? undefined));
          for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
          await openTorch(bytesSource(bytes, 'damaged.bin'), { crc: false })
            .then(readAll)
            .catch((error: unknown) => {
              if (!(error instanceof FileFormatError)) throw error;
            });
        },
      ),
      { numRuns: 1500 },
    );
  },
);
