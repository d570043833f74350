// Single numbers to the bits of f16, bf16 and f8e4m3fn and back.
const f32Scratch = new Float32Array(1);
const u32Scratch = new Uint32Array(f32Scratch.buffer);

/** Of a number from 0 to 2^51: doubles have no fractions from 2^52 on. */
const roundHalfEven = (value: number): number => value + 2 ** 52 - 2 ** 52;

/** Nearest even; magnitudes that round above 65504 become Infinity. */
export function numberToF16Bits(value: number): number {
  f32Scratch[0] = value; // of which sign and exponent are taken; where that is one too large, both choices round alike
  const bits = u32Scratch[0]!;
  const sign = (bits >>> 16) & 0x8000;
  const magnitude = Math.abs(value);
  if (!(magnitude < 65520)) return sign | (Number.isNaN(value) ? 0x7e00 : 0x7c00);
  const exponent = Math.max(((bits >>> 23) & 0xff) - 127, -14);
  u32Scratch[0] = (10 - exponent + 127) << 23;
  const steps = roundHalfEven(magnitude * f32Scratch[0]);
  // steps counts 1024ths of 2^exponent; the leading 1024 of a normal number, and a carry, go into the exponent.
  return sign | (((exponent + 14) << 10) + steps);
}

export function f16BitsToNumber(bits: number): number {
  const special = (bits & 0x7c00) === 0x7c00 ? 0x7f800000 : 0;
  u32Scratch[0] = ((bits & 0x8000) << 16) | special | ((bits & 0x7fff) << 13);
  return f32Scratch[0]! * 2 ** 112; // the exponents' biases differ by that; exact for subnormal numbers too
}

export function bf16BitsToNumber(bits: number): number {
  u32Scratch[0] = bits << 16;
  return f32Scratch[0]!;
}

/** Nearest even; NaN stays a quiet NaN. */
export function numberToBf16Bits(value: number): number {
  f32Scratch[0] = value;
  const bits = u32Scratch[0]!;
  if ((bits & 0x7fffffff) > 0x7f800000) return (bits >>> 16) | 0x40;
  return (bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16;
}

export const F8_VALUES = Float32Array.from({ length: 256 }, (_, bits) => {
  const sign = bits & 0x80 ? -1 : 1;
  const exponent = (bits >> 3) & 15;
  const mantissa = bits & 7;
  if (exponent === 15 && mantissa === 7) return NaN;
  return sign * (exponent === 0 ? mantissa / 512 : (1 + mantissa / 8) * 2 ** (exponent - 7));
});

export function f8e4m3fnBitsToNumber(bits: number): number {
  return F8_VALUES[bits & 0xff]!;
}

/**
 * Nearest even; magnitudes that round above 448 become NaN, as in ml_dtypes (the format has no infinity). PyTorch 2.13
 * takes 448 for them, infinity included. It matters in casts only: activations of fp8 layers are limited to 448 before
 * they are rounded, as the original does it.
 */
export function numberToF8e4m3fnBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x80 : 0;
  const magnitude = Math.abs(value);
  if (!(magnitude < 464)) return magnitude === 464 ? sign | 0x7e : sign | 0x7f;
  const exponent = magnitude < 2 ** -6 ? -6 : Math.floor(Math.log2(magnitude));
  const ulp = 2 ** (exponent - 3);
  const steps = roundHalfEven(magnitude / ulp);
  // steps counts eighths of 2^exponent; a carry into the next binade falls out of the addition.
  return sign | (magnitude < 2 ** -6 ? steps : ((exponent + 7) << 3) + (steps - 8));
}
