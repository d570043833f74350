// Files that are made as they are read: stretches of bytes one after the other, laid out as safetensors and as PyTorch's
// own format, in which the text encoder is published.
import { crc32 } from 'node:zlib';
import { fixedBytes } from './values.mjs';

/** @typedef {import('./values.mjs').Bytes} Bytes */
/** @typedef {{ name: string, shape: readonly number[], dtype: import('@magi1/tensor').DType, bytes: Bytes }} StoredTensor */

const PIECE = 2 ** 20;

/** A file of which any part can be read. */
export class MadeFile {
  /** In bytes. */
  size = 0;
  /** @type {{ start: number, bytes: Bytes }[]} */
  #parts = [];

  /** @param {readonly Bytes[]} parts */
  constructor(parts) {
    for (const bytes of parts) {
      if (bytes.length === 0) continue;
      this.#parts.push({ start: this.size, bytes });
      this.size += bytes.length;
    }
  }

  /** Fills `target` with what stands from byte `from` on. @param {Uint8Array} target @param {number} from */
  read(target, from) {
    if (from < 0 || from + target.length > this.size) throw new RangeError(`bytes ${from} to ${from + target.length}`);
    let index = this.#parts.findLastIndex(({ start }) => start <= from);
    for (let at = 0; at < target.length; index++) {
      const { start, bytes } = this.#parts[index];
      const inside = from + at - start;
      const length = Math.min(bytes.length - inside, target.length - at);
      bytes.fill(target.subarray(at, at + length), inside);
      at += length;
    }
    return target;
  }

  /** The whole, piece by piece; each is valid until the next one. */
  *pieces() {
    const piece = new Uint8Array(Math.min(PIECE, this.size));
    for (let from = 0; from < this.size; from += piece.length)
      yield this.read(piece.subarray(0, Math.min(piece.length, this.size - from)), from);
  }
}

/** @param {string | object} content */
export const textFile = (content) =>
  new MadeFile([
    fixedBytes(Buffer.from(typeof content === 'string' ? content : `${JSON.stringify(content, null, 2)}\n`)),
  ]);

const SAFETENSORS = { f32: 'F32', bf16: 'BF16', f16: 'F16', f8e4m3fn: 'F8_E4M3' };
const WIDTH = { f32: 4, bf16: 2, f16: 2, f8e4m3fn: 1 };

/** Widest elements first, then by name, as the format's own writer has them. @param {readonly StoredTensor[]} tensors */
export function safetensorsFile(tensors) {
  const ordered = [...tensors].sort((a, b) => WIDTH[b.dtype] - WIDTH[a.dtype] || (a.name < b.name ? -1 : 1));
  let at = 0;
  const members = ordered.map(({ name, shape, dtype, bytes }) => {
    const entry = { dtype: SAFETENSORS[dtype], shape, data_offsets: [at, (at += bytes.length)] };
    return [name, entry];
  });
  const json = JSON.stringify(Object.fromEntries([['__metadata__', { format: 'pt' }], ...members]));
  const header = Buffer.from(json.padEnd(Math.ceil(json.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return new MadeFile([fixedBytes(length), fixedBytes(header), ...ordered.map(({ bytes }) => bytes)]);
}

const STORAGES = { f32: 'FloatStorage', bf16: 'BFloat16Storage', f16: 'HalfStorage' };

/**
 * A state dict as `torch.save` writes it: a zip archive, nothing compressed, with checksums. Names of one storage share it.
 * @param {string} stem the file's name without its ending @param {readonly (StoredTensor & { also?: string })[]} tensors
 * @param {(name: string, bytes: Bytes) => number} crcOf the CRC-32 of a record, for which all of it is gone through
 */
export function torchFile(stem, tensors, crcOf) {
  const records = [
    { name: `${stem}/data.pkl`, bytes: fixedBytes(statePickle(tensors)) },
    { name: `${stem}/byteorder`, bytes: fixedBytes(Buffer.from('little')) },
    ...tensors.map(({ bytes }, i) => ({ name: `${stem}/data/${i}`, bytes })),
    { name: `${stem}/version`, bytes: fixedBytes(Buffer.from('3\n')) },
  ];
  return new MadeFile(zipParts(records, crcOf));
}

/** @param {readonly (StoredTensor & { also?: string })[]} tensors */
function statePickle(tensors) {
  /** @type {Buffer[]} */
  const out = [];
  const op = (/** @type {string} */ text) => out.push(Buffer.from(text, 'latin1'));
  const word = (/** @type {number} */ value) => {
    const bytes = Buffer.alloc(4);
    bytes.writeUInt32LE(value);
    out.push(bytes);
  };
  const string = (/** @type {string} */ text) => {
    op('X');
    word(Buffer.byteLength(text));
    out.push(Buffer.from(text));
  };
  const whole = (/** @type {number} */ value) => {
    op('J');
    word(value);
  };
  const global = (/** @type {string} */ module, /** @type {string} */ name) => op(`c${module}\n${name}\n`);
  const tuple = (/** @type {readonly number[]} */ values) => {
    op('(');
    values.forEach(whole);
    op('t');
  };
  op('\x80\x02}(');
  for (const [i, { name, also, shape, dtype }] of tensors.entries())
    for (const key of also === undefined ? [name] : [name, also]) {
      string(key);
      global('torch._utils', '_rebuild_tensor_v2');
      op('((');
      string('storage');
      global('torch', STORAGES[dtype]);
      string(String(i));
      string('cpu');
      whole(shape.reduce((product, extent) => product * extent, 1));
      op('tQ');
      whole(0);
      tuple(shape);
      tuple(shape.map((_, axis) => shape.slice(axis + 1).reduce((product, extent) => product * extent, 1)));
      op('\x89');
      global('collections', 'OrderedDict');
      op(')RtR');
    }
  op('u.');
  return Buffer.concat(out);
}

/** Where data begins in an archive, as PyTorch has it, so that it can be mapped. */
const ALIGNED = 64;
const WIDE = 0xffffffff;

/**
 * A zip archive.
 * @param {readonly { name: string, bytes: Bytes }[]} records @param {(name: string, bytes: Bytes) => number} crcOf
 */
function zipParts(records, crcOf) {
  const parts = [];
  const directory = [];
  let at = 0;
  const put = (/** @type {Bytes} */ bytes) => {
    parts.push(bytes);
    at += bytes.length;
  };
  for (const { name, bytes } of records) {
    const [crc, offset, path] = [crcOf(name, bytes), at, Buffer.from(name)];
    const padding = (ALIGNED - ((at + 30 + path.length + 4) % ALIGNED)) % ALIGNED;
    const local = Buffer.alloc(30 + path.length + 4 + padding);
    local.writeUInt32LE(0x04034b50, 0);
    sizes(local, 14, crc, bytes.length);
    local.writeUInt16LE(path.length, 26);
    local.writeUInt16LE(4 + padding, 28);
    path.copy(local, 30);
    local.write('FB', 30 + path.length);
    local.writeUInt16LE(padding, 30 + path.length + 2);
    put(fixedBytes(local));
    put(bytes);
    const wide = offset >= WIDE;
    const entry = Buffer.alloc(46 + path.length + (wide ? 12 : 0));
    entry.writeUInt32LE(0x02014b50, 0);
    sizes(entry, 16, crc, bytes.length);
    entry.writeUInt16LE(path.length, 28);
    entry.writeUInt32LE(wide ? WIDE : offset, 42);
    path.copy(entry, 46);
    if (wide) {
      entry.writeUInt16LE(12, 30);
      entry.writeUInt16LE(1, 46 + path.length);
      entry.writeUInt16LE(8, 48 + path.length);
      entry.writeBigUInt64LE(BigInt(offset), 50 + path.length);
    }
    directory.push(entry);
  }
  const offset = at;
  for (const entry of directory) put(fixedBytes(entry));
  put(fixedBytes(endOfArchive(records.length, at - offset, offset)));
  return parts;
}

/** @param {Buffer} header @param {number} at @param {number} crc @param {number} size */
function sizes(header, at, crc, size) {
  if (size >= WIDE) throw new Error('a record of 4 GiB and more');
  header.writeUInt32LE(crc, at);
  header.writeUInt32LE(size, at + 4);
  header.writeUInt32LE(size, at + 8);
}

/** With the records for large files, whatever its size. @param {number} count @param {number} size @param {number} offset */
function endOfArchive(count, size, offset) {
  const end = Buffer.alloc(56 + 20 + 22);
  end.writeUInt32LE(0x06064b50, 0);
  end.writeBigUInt64LE(44n, 4);
  end.writeUInt16LE(45, 12);
  end.writeUInt16LE(45, 14);
  end.writeBigUInt64LE(BigInt(count), 24);
  end.writeBigUInt64LE(BigInt(count), 32);
  end.writeBigUInt64LE(BigInt(size), 40);
  end.writeBigUInt64LE(BigInt(offset), 48);
  end.writeUInt32LE(0x07064b50, 56);
  end.writeBigUInt64LE(BigInt(offset + size), 64);
  end.writeUInt32LE(1, 72);
  end.writeUInt32LE(0x06054b50, 76);
  end.writeUInt16LE(count, 84);
  end.writeUInt16LE(count, 86);
  end.writeUInt32LE(size, 88);
  end.writeUInt32LE(WIDE, 92);
  return end;
}

/** @param {Bytes} bytes */
export function crc32Of(bytes) {
  let crc = 0;
  for (const piece of new MadeFile([bytes]).pieces()) crc = crc32(piece, crc);
  return crc;
}
