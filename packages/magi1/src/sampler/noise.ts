// Seeded standard normals, the same bits on every machine: Philox 4x32-10 counters and Box-Muller.
// Math.log, sin and cos may differ between engines, so they are replaced by series of + - * / in doubles, which IEEE 754
// fixes bit by bit, as it does the square root. Element i depends on the seed and on i alone, so any part can be made alone.
import { Magi1Error } from '@magi1/tensor';

const M0 = 0xd2511f53;
const M1 = 0xcd9e8d57;
const W0 = 0x9e3779b9;
const W1 = 0xbb67ae85;

/** High word of the 64-bit product of two unsigned words. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = Math.imul(aLow, bLow) >>> 16;
  // Each partial sum stays below 2^32, kept unsigned by >>> 0.
  const middle = (Math.imul(aHigh, bLow) >>> 0) + low;
  const cross = (Math.imul(aLow, bHigh) >>> 0) + (middle & 0xffff);
  return (Math.imul(aHigh, bHigh) + Math.floor(middle / 65536) + Math.floor(cross / 65536)) >>> 0;
}

/** Philox 4x32 with 10 rounds (Salmon et al., 2011): replaces the four counter words in `block` by random words. */
export function philox4x32(block: Uint32Array, keyLow: number, keyHigh: number): void {
  let c0 = block[0]!;
  let c1 = block[1]!;
  let c2 = block[2]!;
  let c3 = block[3]!;
  let k0 = keyLow;
  let k1 = keyHigh;
  for (let round = 0; round < 10; round++) {
    const next0 = (mulHigh(M1, c2) ^ c1 ^ k0) >>> 0;
    const next2 = (mulHigh(M0, c0) ^ c3 ^ k1) >>> 0;
    c1 = Math.imul(M1, c2) >>> 0;
    c3 = Math.imul(M0, c0) >>> 0;
    c0 = next0;
    c2 = next2;
    k0 = (k0 + W0) >>> 0;
    k1 = (k1 + W1) >>> 0;
  }
  block[0] = c0;
  block[1] = c1;
  block[2] = c2;
  block[3] = c3;
}

/** ln((word + 1/2) / 2^32), to about 1e-15. */
export function logUniform(word: number): number {
  let mantissa = word + 0.5;
  let exponent = -32;
  if (word > 0) {
    const bits = 32 - Math.clz32(word);
    mantissa *= HALVES[bits]!;
    exponent += bits;
  }
  if (mantissa < 0.7071067811865476) {
    mantissa *= 2;
    exponent -= 1;
  }
  // ln m = 2 artanh(s) with s = (m-1)/(m+1), |s| < 0.172.
  const s = (mantissa - 1) / (mantissa + 1);
  return 2 * s * series(ARTANH_TERMS, s * s) + exponent * 0.6931471805599453;
}

/** 2^-k, by exact halving: the ** operator is as free as Math.log. */
const HALVES = new Float64Array(33).fill(1);
for (let k = 1; k < HALVES.length; k++) HALVES[k] = HALVES[k - 1]! / 2;

const ARTANH_TERMS = [1, 1 / 3, 1 / 5, 1 / 7, 1 / 9, 1 / 11, 1 / 13, 1 / 15, 1 / 17, 1 / 19, 1 / 21];
const SIN_TERMS = [1, -1 / 6, 1 / 120, -1 / 5040, 1 / 362880, -1 / 39916800, 1 / 6227020800, -1 / 1307674368000];
const COS_TERMS = [
  1,
  -1 / 2,
  1 / 24,
  -1 / 720,
  1 / 40320,
  -1 / 3628800,
  1 / 479001600,
  -1 / 87178291200,
  1 / 20922789888000,
];

function series(terms: readonly number[], square: number): number {
  let sum = 0;
  for (let k = terms.length - 1; k >= 0; k--) sum = sum * square + terms[k]!;
  return sum;
}

/** Writes cos and sin of 2 pi word / 2^32 - pi/4, to about 1e-15, at out[at] and out[at + 1]. */
export function unitVector(word: number, out: Float64Array, at: number): void {
  // Within its quadrant the angle lies in [-pi/4, pi/4).
  const angle = ((word & 0x3fffffff) / 0x40000000 - 0.5) * 1.5707963267948966;
  const square = angle * angle;
  const sin = angle * series(SIN_TERMS, square);
  const cos = series(COS_TERMS, square);
  const quadrant = word >>> 30;
  const sign = quadrant < 2 ? 1 : -1;
  out[at] = sign * (quadrant % 2 === 0 ? cos : -sin);
  out[at + 1] = sign * (quadrant % 2 === 0 ? sin : cos);
}

/**
 * Standard normals in float32: elements [offset, offset + length) of the stream of `seed`.
 * @param seed any whole number; its low 64 bits count
 */
export function seededNoise(seed: number | bigint, length: number, offset = 0): Float32Array {
  if (typeof seed === 'number' && !Number.isSafeInteger(seed))
    throw new Magi1Error(`seed: expected a whole number, got ${seed}`);
  const key = BigInt.asUintN(64, BigInt(seed));
  const [keyLow, keyHigh] = [Number(key & 0xffffffffn), Number(key >> 32n)];
  const out = new Float32Array(length);
  const block = new Uint32Array(4);
  const normals = new Float64Array(4);
  for (let at = offset - (offset % 4); at < offset + length; at += 4) {
    const counter = at / 4;
    block[0] = counter % 0x100000000;
    block[1] = counter / 0x100000000;
    block[2] = 0;
    block[3] = 0;
    philox4x32(block, keyLow, keyHigh);
    for (let pair = 0; pair < 4; pair += 2) {
      const radius = Math.sqrt(-2 * logUniform(block[pair]!));
      unitVector(block[pair + 1]!, normals, pair);
      normals[pair]! *= radius;
      normals[pair + 1]! *= radius;
    }
    const end = Math.min(4, offset + length - at);
    for (let k = Math.max(0, offset - at); k < end; k++) out[at + k - offset] = normals[k]!;
  }
  return out;
}
