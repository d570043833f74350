// Quantised blocks of GGUF. Q8_0 and Q4_0 have the codes and scales of our q8 and q4, whose groups are two of their blocks.
// The others are decoded to f16: a value of Q4_K has up to 21 bits and one of Q6_K 23, so that only f32 would hold all, at
// four bytes for each; f16 keeps 11, which is off by 2^-12 of a value at most, an eighth of what bf16 would be, and far below
// the quantisation's own steps. A finite value that f16 cannot hold is an error.
import { FileFormatError, asBytes, fromFloat32, toFloat32 } from '@magi1/tensor';
import type { DType } from '@magi1/tensor';

/** From the blocks of a file to elements of a dtype. */
export interface BlockCodec {
  readonly dtype: DType;
  /** The smallest unit that is decoded: bytes in the file, and of the elements that become of it. */
  readonly fileBytes: number;
  readonly bytes: number;
  /** @param raw whole units @param name of the file, for messages */
  decode(raw: Uint8Array, name: string): Uint8Array;
}

export type GgufBlockType = 'Q8_0' | 'Q4_0' | 'Q4_K' | 'Q6_K';

interface BlockType {
  /** Of a block. */
  readonly elements: number;
  readonly fileBytes: number;
  /** Without loss, where rows are whole groups. */
  readonly grouped?: BlockCodec;
  readonly decoded: BlockCodec;
}

const f16 = (raw: Uint8Array, at: number): number =>
  toFloat32('f16', Uint16Array.of(raw[at]! | (raw[at + 1]! << 8)))[0]!;

/** Two blocks, each behind its scale, as one group: both scales, then all codes. */
function grouped(dtype: 'q8' | 'q4', blockBytes: number): BlockCodec {
  const fileBytes = 2 * blockBytes;
  return {
    dtype,
    fileBytes,
    bytes: fileBytes,
    decode(raw) {
      const out = new Uint8Array(raw.length);
      for (let at = 0; at < raw.length; at += fileBytes) {
        const second = at + blockBytes;
        out.set(raw.subarray(at, at + 2), at);
        out.set(raw.subarray(second, second + 2), at + 2);
        out.set(raw.subarray(at + 2, second), at + 4);
        out.set(raw.subarray(second + 2, second + blockBytes), at + 2 + blockBytes);
      }
      return out;
    },
  };
}

/** `block` puts the values of one block, at `at`, into `out` from `to` on. */
function decoded(
  elements: number,
  fileBytes: number,
  block: (raw: Uint8Array, at: number, out: Float32Array, to: number) => void,
): BlockCodec {
  return {
    dtype: 'f16',
    fileBytes,
    bytes: 2 * elements,
    decode(raw, name) {
      const values = new Float32Array((raw.length / fileBytes) * elements);
      for (let at = 0, to = 0; at < raw.length; at += fileBytes, to += elements) block(raw, at, values, to);
      const bits = fromFloat32('f16', values);
      for (let i = 0; i < bits.length; i++)
        if ((bits[i]! & 0x7fff) === 0x7c00 && Number.isFinite(values[i]!))
          throw new FileFormatError(`${name}: a weight of ${values[i]!} does not fit f16`);
      return asBytes(bits);
    },
  };
}

function q8(raw: Uint8Array, at: number, out: Float32Array, to: number): void {
  const scale = f16(raw, at);
  for (let i = 0; i < 32; i++) out[to + i] = scale * ((raw[at + 2 + i]! << 24) >> 24);
}

function q4(raw: Uint8Array, at: number, out: Float32Array, to: number): void {
  const scale = f16(raw, at);
  for (let i = 0; i < 16; i++) {
    const byte = raw[at + 2 + i]!;
    out[to + i] = scale * ((byte & 15) - 8);
    out[to + 16 + i] = scale * ((byte >> 4) - 8);
  }
}

/** 8 times 32 codes of 4 bits, each with a scale and a minimum of 6 bits under two f16. */
function q4k(raw: Uint8Array, at: number, out: Float32Array, to: number): void {
  const [d, least] = [f16(raw, at), f16(raw, at + 2)];
  const packed = at + 4;
  for (let part = 0; part < 8; part++) {
    const low = raw[packed + part]!;
    let [scale, minimum] = [low & 63, raw[packed + part + 4]! & 63];
    if (part >= 4) {
      const both = raw[packed + part + 4]!;
      scale = (both & 15) | ((raw[packed + part - 4]! >> 6) << 4);
      minimum = (both >> 4) | ((low >> 6) << 4);
    }
    const codes = at + 16 + 32 * (part >> 1);
    const shift = 4 * (part & 1);
    for (let i = 0; i < 32; i++)
      out[to + 32 * part + i] = d * scale * ((raw[codes + i]! >> shift) & 15) - least * minimum;
  }
}

/** 16 times 16 codes of 6 bits, whose upper two lie apart, each with a signed scale under one f16. */
function q6k(raw: Uint8Array, at: number, out: Float32Array, to: number): void {
  const d = f16(raw, at + 208);
  for (let i = 0; i < 256; i++) {
    // Halves of 128 elements, in these quarters of 32.
    const [half, quarter, lane] = [i >> 7, (i >> 5) & 3, i & 31];
    const low = (raw[at + 64 * half + 32 * (quarter & 1) + lane]! >> (4 * (quarter >> 1))) & 15;
    const high = (raw[at + 128 + 32 * half + lane]! >> (2 * quarter)) & 3;
    const scale = (raw[at + 192 + (i >> 4)]! << 24) >> 24;
    out[to + i] = d * scale * ((low | (high << 4)) - 32);
  }
}

export const BLOCK_CODECS: Readonly<Record<GgufBlockType, BlockType>> = {
  Q8_0: { elements: 32, fileBytes: 34, grouped: grouped('q8', 34), decoded: decoded(32, 34, q8) },
  Q4_0: { elements: 32, fileBytes: 18, grouped: grouped('q4', 18), decoded: decoded(32, 18, q4) },
  Q4_K: { elements: 256, fileBytes: 144, decoded: decoded(256, 144, q4k) },
  Q6_K: { elements: 256, fileBytes: 210, decoded: decoded(256, 210, q6k) },
};
