// Exact decoding of packed weights in WGSL, one word at a time.
import { GROUP, bytesOf } from '@magi1/tensor';
import type { BlockDType, DType } from '@magi1/tensor';

const DECODE_F16 = /* wgsl */ `
fn decode_word(word: u32) -> vec2f { return unpack2x16float(word); }
`;

const DECODE_BF16 = /* wgsl */ `
fn decode_word(word: u32) -> vec2f { return bitcast<vec2f>(vec2u(word << 16u, word & 0xffff0000u)); }
`;

// 1.mmm x 2^(e-7) by placing the bits; a zero exponent (m / 512) is that value doubled, less 1/64. No subnormal f32
// occurs, which adapters may flush to zero. The format's NaN is all ones.
const DECODE_F8 = /* wgsl */ `
fn decode_word(word: u32) -> vec4f {
  let bits = (vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(255u);
  let magnitude = bits & vec4u(127u);
  let normal = bitcast<vec4f>((magnitude << vec4u(20u)) + vec4u(0x3c000000u));
  let value = select(normal, 2.0 * normal - 0.015625, magnitude < vec4u(8u));
  let finite = select(value, bitcast<vec4f>(magnitude | vec4u(0x7fc00000u)), magnitude == vec4u(127u));
  return bitcast<vec4f>(bitcast<vec4u>(finite) | ((bits & vec4u(128u)) << vec4u(24u)));
}
`;

/** `decode_word`, from a word to the values in it, of a dtype that has several. */
export function decodeWord(dtype: DType): string {
  switch (dtype) {
    case 'f32':
      return '';
    case 'f8e4m3fn':
      return DECODE_F8;
    default:
      return dtype === 'f16' ? DECODE_F16 : DECODE_BF16;
  }
}

/** Store type of four values in a row, and `decode4` from it to vec4f. */
export function decodeFour(dtype: DType): { readonly type: string; readonly code: string } {
  switch (dtype) {
    case 'f32':
      return { type: 'vec4f', code: 'fn decode4(v: vec4f) -> vec4f { return v; }' };
    case 'f8e4m3fn':
      return { type: 'u32', code: `${DECODE_F8}fn decode4(v: u32) -> vec4f { return decode_word(v); }` };
    default:
      return {
        type: 'vec2u',
        code: `${dtype === 'f16' ? DECODE_F16 : DECODE_BF16}fn decode4(v: vec2u) -> vec4f { return vec4f(decode_word(v.x), decode_word(v.y)); }`,
      };
  }
}

/**
 * For q8 and q4: `decode_vector(i)`, elements 4i .. 4i+3 of the binding `name`, an array of u32; @magi1/tensor's blocks.ts
 * has the layout.
 */
export function decodeVector(dtype: BlockDType, name: string): string {
  const words = bytesOf(dtype, 4 * VECTORS_PER_GROUP) / 4;
  const value =
    dtype === 'q8'
      ? `let codes = vec4i(vec4u(${name}[group + 1u + part]) << vec4u(24u, 16u, 8u, 0u)) >> vec4u(24u);
  return scale * vec4f(codes);`
      : `let word = ${name}[group + 1u + 4u * (part / 8u) + part % 4u] >> (part & 4u);
  return scale * (vec4f((vec4u(word) >> vec4u(0u, 8u, 16u, 24u)) & vec4u(15u)) - 8.0);`;
  return /* wgsl */ `
fn decode_vector(i: u32) -> vec4f {
  let group = i / ${VECTORS_PER_GROUP}u * ${words}u;
  let part = i % ${VECTORS_PER_GROUP}u;
  let scale = unpack2x16float(${name}[group])[part / 8u];
  ${value}
}
`;
}
const VECTORS_PER_GROUP = GROUP / 4;

/** Store type of the binding `name`, and `decode_at(i)`: element i of it, wherever in a word it lies. */
export function decodeOne(dtype: DType, name: string): { readonly type: string; readonly code: string } {
  switch (dtype) {
    case 'f32':
      return { type: 'f32', code: `fn decode_at(i: u32) -> f32 { return ${name}[i]; }` };
    case 'f8e4m3fn':
      return {
        type: 'u32',
        code: `${DECODE_F8}fn decode_at(i: u32) -> f32 { return decode_word(${name}[i / 4u])[i % 4u]; }`,
      };
    default:
      return {
        type: 'u32',
        code: `${dtype === 'f16' ? DECODE_F16 : DECODE_BF16}fn decode_at(i: u32) -> f32 { return decode_word(${name}[i / 2u])[i % 2u]; }`,
      };
  }
}
