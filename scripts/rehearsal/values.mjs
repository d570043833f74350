// Random values for weights, by a counter: any byte of any tensor can be had at once, in the same value every time. A block
// of normally distributed values is made once for each type and spread; every row of a tensor is a stretch of it that begins
// where a hash of tensor and row says.
import { asBytes, fromFloat32 } from '@magi1/tensor';

/** Values in a block. A row may begin at any of them. */
const LENGTH = 2 ** 20;
/** Most values of a row. */
export const LONGEST_ROW = 2 ** 14;

/** 32 random bits for a counter under a key. @param {number} key @param {number} counter */
export function hash(key, counter) {
  let x = (counter ^ Math.imul(key, 0x9e3779b1)) | 0;
  x = Math.imul(x ^ (x >>> 16), 0x7feb352d);
  x = Math.imul(x ^ (x >>> 15), 0x846ca68b);
  return (x ^ (x >>> 16)) >>> 0;
}

/** A key for a name. @param {string} name */
export function keyOf(name) {
  let key = 0x811c9dc5;
  for (let i = 0; i < name.length; i++) key = hash(key, name.charCodeAt(i));
  return key;
}

/** @type {Float32Array | undefined} */
let normal;

/** Mean 0, standard deviation 1. */
function normalValues() {
  if (normal !== undefined) return normal;
  normal = new Float32Array(LENGTH + LONGEST_ROW);
  for (let i = 0; i < LENGTH; i += 2) {
    const radius = Math.sqrt(-2 * Math.log((hash(1, i) + 1) / 2 ** 32));
    const angle = (2 * Math.PI * hash(1, i + 1)) / 2 ** 32;
    normal[i] = radius * Math.cos(angle);
    normal[i + 1] = radius * Math.sin(angle);
  }
  normal.copyWithin(LENGTH, 0, LONGEST_ROW);
  return normal;
}

/** @type {Map<string, Uint8Array>} */
const blocks = new Map();

/** @param {import('@magi1/tensor').DType} dtype @param {{ mean: number, deviation: number }} spread */
function blockOf(dtype, { mean, deviation }) {
  const key = `${dtype} ${mean} ${deviation}`;
  let block = blocks.get(key);
  if (block === undefined) {
    const values = normalValues().map((value) => mean + deviation * value);
    block = asBytes(dtype === 'f32' ? values : fromFloat32(dtype, values));
    blocks.set(key, block);
  }
  return block;
}

/**
 * What stands in a file: `fill(target, from)` writes the bytes from `from` on.
 * @typedef {{ length: number, fill: (target: Uint8Array, from: number) => void }} Bytes
 */

/** @param {Uint8Array} bytes @returns {Bytes} */
export function fixedBytes(bytes) {
  return { length: bytes.length, fill: (target, from) => target.set(bytes.subarray(from, from + target.length)) };
}

/**
 * A tensor of random values.
 * @param {string} name @param {readonly number[]} shape @param {import('@magi1/tensor').DType} dtype
 * @param {{ mean: number, deviation: number }} spread
 * @returns {Bytes}
 */
export function randomBytes(name, shape, dtype, spread) {
  const count = shape.reduce((product, extent) => product * extent, 1);
  let row = 1;
  for (let axis = shape.length - 1; axis >= Math.min(1, shape.length - 1); axis--)
    if (row * shape[axis] <= LONGEST_ROW) row *= shape[axis];
    else break;
  const block = blockOf(dtype, spread);
  const size = block.length / (LENGTH + LONGEST_ROW);
  const key = keyOf(name);
  return {
    length: count * size,
    fill(target, from) {
      const rowBytes = row * size;
      for (let at = 0; at < target.length;) {
        const index = Math.floor((from + at) / rowBytes);
        const inside = from + at - index * rowBytes;
        const length = Math.min(rowBytes - inside, target.length - at);
        const start = (hash(key, index) % LENGTH) * size + inside;
        target.set(block.subarray(start, start + length), at);
        at += length;
      }
    },
  };
}
