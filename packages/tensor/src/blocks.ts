// Quantised weights: 64 neighbouring elements of a row are a group of whole 32-bit words, so that kernels read words.
//   word 0     the f16 scales of elements 0..31 (low half) and 32..63
//   q8, 68 B   a signed byte per element, in order; value = scale x code
//   q4, 36 B   for each 32 elements 16 bytes: low nibbles are elements 0..15, high ones 16..31; value = scale x (code - 8)
// Codes and scales of 32 elements are those of GGUF's Q8_0 and Q4_0, which put the scale before each 32.
import { f16BitsToNumber, numberToF16Bits } from './float-bits.ts';

/** Elements of a group: a row of a tensor is a multiple of it. */
export const GROUP = 64;
/** Elements under one scale. */
const BLOCK = 32;
const GROUP_WORDS = { q8: 17, q4: 9 } as const;
const F16_NAN = 0x7e00;
const F16_INFINITY = 0x7c00;
const SMALLEST_F16 = 2 ** -24;

type Codec = keyof typeof GROUP_WORDS;

/** Exact: a scale has 11 bits, a code 8. */
export function decodeBlocks(codec: Codec, bytes: Uint8Array): Float32Array {
  const groupBytes = 4 * GROUP_WORDS[codec];
  const groups = bytes.length / groupBytes;
  const out = new Float32Array(groups * GROUP);
  for (let group = 0; group < groups; group++) {
    const from = group * groupBytes;
    for (let half = 0; half < 2; half++) {
      const scale = f16BitsToNumber(bytes[from + 2 * half]! | (bytes[from + 2 * half + 1]! << 8));
      const to = group * GROUP + half * BLOCK;
      if (codec === 'q8') {
        const codes = from + 4 + half * BLOCK;
        for (let i = 0; i < BLOCK; i++) out[to + i] = scale * ((bytes[codes + i]! << 24) >> 24);
      } else {
        const codes = from + 4 + (half * BLOCK) / 2;
        for (let i = 0; i < BLOCK / 2; i++) {
          const byte = bytes[codes + i]!;
          out[to + i] = scale * ((byte & 15) - 8);
          out[to + BLOCK / 2 + i] = scale * ((byte >> 4) - 8);
        }
      }
    }
  }
  return out;
}

/** `values` are whole groups. */
export function encodeBlocks(codec: Codec, values: Float32Array): Uint8Array {
  const groupWords = GROUP_WORDS[codec];
  const out = new Uint32Array((values.length / GROUP) * groupWords);
  const bits = new Uint32Array(values.buffer, values.byteOffset, values.length);
  const encode = codec === 'q8' ? encodeQ8 : encodeQ4;
  const codeWords = (groupWords - 1) / 2;
  for (let at = 0, word = 0; at < values.length; at += GROUP, word += groupWords) {
    const low = encode(values, bits, at, out, word + 1);
    const high = encode(values, bits, at + BLOCK, out, word + 1 + codeWords);
    out[word] = low | (high << 16);
  }
  return new Uint8Array(out.buffer);
}

/** Where the number of largest magnitude lies; NaN comes before infinity, and that before numbers. */
function largestAt(bits: Uint32Array, at: number): number {
  let largest = at;
  let most = 0;
  for (let i = at; i < at + BLOCK; i++) {
    const magnitude = bits[i]! & 0x7fffffff;
    if (magnitude > most) {
      most = magnitude;
      largest = i;
    }
  }
  return largest;
}

/** The largest magnitude becomes 127, or a little less where the scale had to be rounded up to be an f16. */
function encodeQ8(values: Float32Array, bits: Uint32Array, at: number, out: Uint32Array, word: number): number {
  const most = Math.abs(values[largestAt(bits, at)]!);
  let scaleBits = numberToF16Bits(most / 127);
  let scale = f16BitsToNumber(scaleBits);
  if (scale * 127.5 < most) scale = f16BitsToNumber(++scaleBits);
  if (!(scale < Infinity)) return fill(out, word, 8, 0);
  const inverse = scale === 0 ? 0 : 1 / scale;
  for (let i = at; i < at + BLOCK; i += 4) {
    // Truncation of what is positive is the floor. 127.5 steps would be 128, which is no code.
    const a = Math.min((values[i]! * inverse + 128.5) | 0, 255);
    const b = Math.min((values[i + 1]! * inverse + 128.5) | 0, 255);
    const c = Math.min((values[i + 2]! * inverse + 128.5) | 0, 255);
    const d = Math.min((values[i + 3]! * inverse + 128.5) | 0, 255);
    out[word++] = (a | (b << 8) | (c << 16) | (d << 24)) ^ 0x80808080; // minus 128 in every byte
  }
  return scaleBits;
}

/**
 * The element of largest magnitude, with its sign, is put near -7 or -8, in three ways; each gives codes, and these the
 * scale of least squared error. That of the smallest error is taken.
 */
function encodeQ4(values: Float32Array, bits: Uint32Array, at: number, out: Uint32Array, word: number): number {
  const most = values[largestAt(bits, at)]!;
  if (!Number.isFinite(most)) return fill(out, word, 4, 0x88888888);
  let scale = 0;
  if (most !== 0) {
    const [near, middle, far] = [-7.25 / most, -8 / most, -8.75 / most];
    let [nearXq, middleXq, farXq, nearQq, middleQq, farQq] = [0, 0, 0, 0, 0, 0];
    for (let i = at; i < at + BLOCK; i++) {
      const x = values[i]!;
      const a = Math.min((x * near + 8.5) | 0, 15) - 8;
      const b = Math.min((x * middle + 8.5) | 0, 15) - 8;
      const c = Math.min((x * far + 8.5) | 0, 15) - 8;
      nearXq += x * a;
      nearQq += a * a;
      middleXq += x * b;
      middleQq += b * b;
      farXq += x * c;
      farQq += c * c;
    }
    // The squared error is that of the values less Xq^2 / Qq, for the scale Xq / Qq.
    const [nearGain, middleGain, farGain] = [nearXq ** 2 / nearQq, middleXq ** 2 / middleQq, farXq ** 2 / farQq];
    scale = middleXq / middleQq;
    if (nearGain > middleGain && nearGain > farGain) scale = nearXq / nearQq;
    else if (farGain > middleGain) scale = farXq / farQq;
    if (Math.abs(scale) < SMALLEST_F16) scale = Math.sign(scale) * SMALLEST_F16;
  }
  const scaleBits = numberToF16Bits(scale);
  if ((scaleBits & F16_INFINITY) === F16_INFINITY) return fill(out, word, 4, 0x88888888);
  const rounded = f16BitsToNumber(scaleBits);
  const inverse = rounded === 0 ? 0 : 1 / rounded;
  for (let i = at; i < at + BLOCK / 2; i += 4) {
    let codes = 0;
    for (let j = 3; j >= 0; j--) {
      const low = Math.max(Math.min((values[i + j]! * inverse + 8.5) | 0, 15), 0);
      const high = Math.max(Math.min((values[i + j + BLOCK / 2]! * inverse + 8.5) | 0, 15), 0);
      codes = (codes << 8) | (high << 4) | low;
    }
    out[word++] = codes;
  }
  return scaleBits;
}

/** Codes of a block that is NaN throughout: all alike, since the scale is NaN. */
function fill(out: Uint32Array, word: number, words: number, codes: number): number {
  out.fill(codes, word, word + words);
  return F16_NAN;
}
