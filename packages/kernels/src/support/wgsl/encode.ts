// Rounding of f32 to narrower floats in WGSL, to nearest even, by integer arithmetic: neither the rounding of
// pack2x16float nor that of float additions is prescribed, and adapters may flush subnormals.
import type { FloatDType } from '@magi1/tensor';

// `drop` bits of the fraction go; `least` is the biased f32 exponent of the narrow format's smallest normal number, below
// which more go. Infinity and NaN come out above all finite numbers.
const ROUND_OFF = /* wgsl */ `
fn round_off(magnitude: vec4u, drop: u32, least: u32) -> vec4u {
  let exponent = magnitude >> vec4u(23u);
  let normal = exponent >= vec4u(least);
  // A significand of 24 bits shifted by 25 or more is 0.
  let shift = select(min(vec4u(drop + least) - exponent, vec4u(25u)), vec4u(drop), normal);
  let significand = (magnitude & vec4u(0x7fffffu)) | vec4u(0x800000u);
  let value = select(significand, magnitude - vec4u((least - 1u) << 23u), normal);
  return (value + (vec4u(1u) << (shift - 1u)) - 1u + ((value >> shift) & vec4u(1u))) >> shift;
}
`;

const ENCODE_F16 = /* wgsl */ `${ROUND_OFF}
fn encode4(bits: vec4u) -> vec2u {
  let magnitude = bits & vec4u(0x7fffffffu);
  let finite = min(round_off(magnitude, 13u, 113u), vec4u(0x7c00u));
  let half = select(finite, vec4u(0x7e00u), magnitude > vec4u(0x7f800000u)) | ((bits >> vec4u(16u)) & vec4u(0x8000u));
  return half.xz | (half.yw << vec2u(16u));
}
`;

const ENCODE_BF16 = /* wgsl */ `
fn encode4(bits: vec4u) -> vec2u {
  let rounded = (bits + 0x7fffu + ((bits >> vec4u(16u)) & vec4u(1u))) >> vec4u(16u);
  let quiet = (bits >> vec4u(16u)) | vec4u(0x40u);
  let half = select(rounded, quiet, (bits & vec4u(0x7fffffffu)) > vec4u(0x7f800000u));
  return half.xz | (half.yw << vec2u(16u));
}
`;

// Magnitudes that round above 448 become NaN, as in ml_dtypes: the format has no infinity. (PyTorch 2.13 takes 448. The
// activations of fp8 layers are limited to 448 first, so for them the rule does not matter.)
const ENCODE_F8 = /* wgsl */ `${ROUND_OFF}
fn encode4(bits: vec4u) -> u32 {
  let magnitude = min(round_off(bits & vec4u(0x7fffffffu), 20u, 121u), vec4u(0x7fu));
  let bytes = (magnitude | ((bits >> vec4u(24u)) & vec4u(0x80u))) << vec4u(0u, 8u, 16u, 24u);
  return bytes.x | bytes.y | bytes.z | bytes.w;
}
`;

/** Store type of four values in a row, and `encode4` to it from the bits of four f32. */
export function encodeFour(dtype: FloatDType): { readonly type: string; readonly code: string } {
  switch (dtype) {
    case 'f32':
      return { type: 'vec4u', code: 'fn encode4(bits: vec4u) -> vec4u { return bits; }' };
    case 'f8e4m3fn':
      return { type: 'u32', code: ENCODE_F8 };
    default:
      return { type: 'vec2u', code: dtype === 'f16' ? ENCODE_F16 : ENCODE_BF16 };
  }
}
