// NumPy archives: .npy arrays in a zip, stored or deflated. For small tables, read whole.
import { FileFormatError, fromFloat32, elementCount } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { byteString } from './bytes.ts';
import type { ByteSource } from './bytes.ts';
import { bitsPerElement, hostTensorFromBytes, tensorByteLength } from './file-dtype.ts';
import type { FileDType } from './file-dtype.ts';
import { contiguousStrides, gather } from './strided.ts';
import { quote } from './tensor-file.ts';
import { openZip, readZipEntry } from './zip.ts';

/** Types by NumPy's letter and size. */
const TYPES = new Map<string, FileDType>([
  ['f8', 'f64'],
  ['f4', 'f32'],
  ['f2', 'f16'],
  ['i8', 'i64'],
  ['i4', 'i32'],
  ['i2', 'i16'],
  ['i1', 'i8'],
  ['u8', 'u64'],
  ['u4', 'u32'],
  ['u2', 'u16'],
  ['u1', 'u8'],
  ['b1', 'bool'],
]);
/** The arrays read together; tables have megabytes. */
const MAX_BYTES = 64 << 20;

export interface NpzOptions {
  /** What float64 arrays become, rounded once from the stored double. Default f32. */
  readonly f64?: 'f32' | 'f16';
  /** Read these arrays only, those that are there; what the others are does not matter. Default all. */
  readonly names?: readonly string[];
  /** Opaque elements of two bytes are bfloat16: what NumPy makes of ml_dtypes' arrays. Default false, refused. */
  readonly bf16?: boolean;
}

/** Behind `readNpz` of index.ts, which says what it does. */
export async function readNpz(source: ByteSource, options: NpzOptions = {}): Promise<Map<string, HostTensor>> {
  const { names } = options;
  const archive = await openZip(source);
  const wanted = [...archive.entries.values()].filter(
    ({ name }) => names === undefined || (name.endsWith('.npy') && names.includes(name.slice(0, -'.npy'.length))),
  );
  const total = wanted.reduce((sum, { size }) => sum + size, 0);
  if (total > MAX_BYTES) {
    const largest = wanted.reduce((most, entry) => (entry.size > most.size ? entry : most));
    throw new FileFormatError(
      `${source.name}: its arrays have ${total} bytes, ${quote(largest.name)} ${largest.size}; at most ${MAX_BYTES} expected`,
    );
  }
  const arrays = new Map<string, HostTensor>();
  for (const entry of wanted) {
    const what = `${source.name}: ${quote(entry.name)}`;
    if (!entry.name.endsWith('.npy')) throw new FileFormatError(`${what}: not an .npy array`);
    arrays.set(entry.name.slice(0, -'.npy'.length), await readNpy(await readZipEntry(archive, entry), what, options));
  }
  return arrays;
}

/** One .npy array; `what` names it in messages. */
export async function readNpy(bytes: Uint8Array, what: string, options: NpzOptions = {}): Promise<HostTensor> {
  const { dtype, shape, fortran, bigEndian, dataStart } = parseHeader(bytes, what, options.bf16 ?? false);
  const expected = tensorByteLength(dtype, shape);
  let data = bytes.subarray(dataStart);
  if (expected !== data.length) {
    throw new FileFormatError(
      `${what}: shape [${shape}] of ${dtype} needs ${expected ?? 'too many'} bytes, found ${data.length}`,
    );
  }
  const count = elementCount(shape);
  if (bigEndian) data = swapped(data, bitsPerElement(dtype) / 8);
  if (fortran && shape.length > 1) {
    const strides = contiguousStrides(shape.toReversed()).reverse();
    const stored = data;
    data = await gather(what, { shape, strides, offset: 0 }, data.length / Math.max(count, 1), count, (at, length) =>
      Promise.resolve(stored.subarray(at, at + length)),
    );
  }
  if (dtype === 'f64' && options.f64 === 'f16') {
    const view = new DataView(data.buffer, data.byteOffset, data.byteLength);
    const doubles = Float64Array.from({ length: count }, (_, i) => view.getFloat64(8 * i, true));
    return { dtype: 'f16', shape, data: fromFloat32('f16', doubles) };
  }
  return hostTensorFromBytes(what, dtype, shape, data);
}

interface NpyHeader {
  readonly dtype: FileDType;
  readonly shape: number[];
  readonly fortran: boolean;
  readonly bigEndian: boolean;
  readonly dataStart: number;
}

const FIELD =
  /^\s*'(descr|fortran_order|shape)'\s*:\s*('[^'\\]*'|True|False|\((?:\s*[0-9]+\s*,)*\s*(?:[0-9]+\s*)?\))\s*(,|$)/;

/** Elements in the other byte order. */
function swapped(data: Uint8Array, size: number): Uint8Array {
  const out = new Uint8Array(data.length);
  for (let at = 0; at < data.length; at++) out[at] = data[at - (at % size) + size - 1 - (at % size)]!;
  return out;
}

function parseHeader(bytes: Uint8Array, what: string, bf16: boolean): NpyHeader {
  const fail = (problem: string): never => {
    throw new FileFormatError(`${what}: ${problem}`);
  };
  if (bytes.length < 10 || byteString(bytes.subarray(0, 6)) !== '\x93NUMPY') fail('not an .npy array');
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const version = bytes[6]!;
  if (version < 1 || version > 3) fail(`unknown .npy version ${version}`);
  const textStart = version === 1 ? 10 : 12;
  if (bytes.length < textStart) fail('truncated .npy header');
  const dataStart = textStart + (version === 1 ? view.getUint16(8, true) : view.getUint32(8, true));
  if (dataStart > bytes.length) fail('truncated .npy header');
  if (dataStart - textStart > 0xffff) fail(`.npy header of ${dataStart - textStart} bytes`);
  const text = byteString(bytes.subarray(textStart, dataStart)).trim();

  // A Python dict literal with these three keys in any order; anything else (structured types) is not supported.
  const fields = new Map<string, string>();
  let rest =
    text.startsWith('{') && text.endsWith('}') ? text.slice(1, -1).trim() : fail(`bad .npy header ${quote(text)}`);
  while (rest !== '') {
    const [matched, key, value] = FIELD.exec(rest) ?? fail(`unsupported .npy header ${quote(text)}`);
    if (fields.has(key!)) fail(`field ${key!} appears twice in the .npy header`);
    fields.set(key!, value!);
    rest = rest.slice(matched.length).trim();
  }
  const descriptor = fields.get('descr');
  const order = fields.get('fortran_order');
  const dims = fields.get('shape');
  if (!descriptor?.startsWith("'") || (order !== 'True' && order !== 'False') || !dims?.startsWith('(')) {
    return fail(`bad .npy header ${quote(text)}`);
  }
  if (/^\(\s*[0-9]+\s*\)$/.test(dims)) fail(`bad .npy header, shape ${dims} is not a tuple`);
  const [, byteOrder = '', type = ''] = /^'([<>|])(\w+)'$/.exec(descriptor) ?? [];
  const dtype = bf16 && type === 'V2' ? 'bf16' : TYPES.get(type);
  // Only single bytes, and opaque ones, have no order.
  if (!dtype || (byteOrder === '|' && type !== 'V2' && bitsPerElement(dtype) > 8))
    return fail(`arrays of type ${descriptor} are not supported`);
  const shape = (dims.match(/[0-9]+/g) ?? []).map(Number);
  return { dtype, shape, fortran: order === 'True', bigEndian: byteOrder === '>' && type !== 'V2', dataStart };
}
