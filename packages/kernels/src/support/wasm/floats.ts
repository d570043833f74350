// Decoding and encoding of bf16, f16 and f8e4m3fn on four lanes, for wasm kernels. Decoding is exact, subnormals and NaN
// included; encoding rounds to nearest even with the same bits as the host codecs of @magi1/tensor (any NaN may come out
// with another payload).
import { F32x4 } from '@magi1/tensor';
import type { FloatDType, I32, I32x4, KernelBuilder } from '@magi1/tensor';

/** Four consecutive elements at an address, widened. Reads up to 4 elements only, whatever the dtype. */
export function loadFloats(k: KernelBuilder, dtype: FloatDType, address: I32, offset = 0): F32x4 {
  switch (dtype) {
    case 'f32':
      return address.loadF32x4(offset);
    case 'bf16':
      return decodeBf16(address.loadU16x4(offset));
    case 'f16':
      return decodeF16(k, address.loadU16x4(offset));
    case 'f8e4m3fn':
      return decodeF8(k, address.load32Zero(offset).lowU().lowU());
  }
}

/** Stores four elements rounded to the dtype. */
export function storeFloats(k: KernelBuilder, dtype: FloatDType, address: I32, value: F32x4, offset = 0): void {
  switch (dtype) {
    case 'f32':
      k.store(address, value, offset);
      break;
    case 'bf16':
    case 'f16': {
      const bits = k.let((dtype === 'bf16' ? encodeBf16 : encodeF16)(k, value));
      k.store64Lane(address, bits.narrowU(bits), 0, offset);
      break;
    }
    case 'f8e4m3fn': {
      const bits = k.let(encodeF8(k, value));
      const halves = k.let(bits.narrowU(bits));
      k.store32Lane(address, halves.narrowU(halves), 0, offset);
    }
  }
}

/** 16-bit numbers in the low halves of four lanes. */
export function decodeBf16(bits: I32x4): F32x4 {
  return bits.shl(16).asF32x4();
}

/** Binary16 in the low halves of four lanes. */
export function decodeF16(k: KernelBuilder, bits: I32x4): F32x4 {
  return widen(k, bits, { signBit: 0x8000, signShift: 16, fractionShift: 13, scale: 2 ** 112, largest: 0x7bff });
}

/** f8e4m3fn in the low bytes of four lanes: 0x7f is NaN, there is no infinity. */
export function decodeF8(k: KernelBuilder, bits: I32x4): F32x4 {
  return widen(k, bits, { signBit: 0x80, signShift: 24, fractionShift: 20, scale: 2 ** 120, largest: 0x7e });
}

interface Format {
  readonly signBit: number;
  readonly signShift: number;
  /** How far fraction and exponent are from their places in f32. */
  readonly fractionShift: number;
  /** Two to the difference of the exponents' biases. */
  readonly scale: number;
  /** Bits of the largest finite magnitude. */
  readonly largest: number;
}

/**
 * Exponent and fraction are moved to their places in f32; the product with `scale` corrects the bias of the exponent and
 * normalises subnormals. Above the largest finite magnitude the f32 exponent is filled up: infinity or NaN.
 */
function widen(k: KernelBuilder, bits: I32x4, format: Format): F32x4 {
  const all = k.let(bits);
  const magnitude = k.let(all.and(format.signBit - 1));
  const sign = all.and(format.signBit).shl(format.signShift);
  const finite = magnitude.shl(format.fractionShift).asF32x4().mul(format.scale).asI32x4();
  const special = magnitude.gtS(format.largest).and(format.signBit === 0x80 ? 0x7fc00000 : 0x7f800000);
  return k.let(finite.or(special).or(sign).asF32x4());
}

/** bf16 bits in the low halves of four lanes. */
export function encodeBf16(k: KernelBuilder, value: F32x4): I32x4 {
  const bits = k.let(value.asI32x4());
  const upper = k.let(bits.shrU(16));
  const rounded = bits.add(upper.and(1)).add(0x7fff).shrU(16);
  return k.let(bits.and(0x7fffffff).gtS(0x7f800000).select(upper.or(0x40), rounded));
}

/** Binary16 bits in the low halves of four lanes; magnitudes that round above 65504 become infinity. */
export function encodeF16(k: KernelBuilder, value: F32x4): I32x4 {
  const { magnitude, sign } = split(k, value, 16);
  // Adding 0.5 aligns a subnormal result's last place, 2^-24, with f32's: the addition rounds as wanted.
  const subnormal = magnitude.asF32x4().add(0.5).asI32x4().sub(0x3f000000);
  const normal = roundOff(magnitude, 13)
    .sub((127 - 15) << 10)
    .minS(0x7c00);
  const nan = magnitude.gtS(0x7f800000).and(0x200);
  return k.let(magnitude.ltS(0x38800000).select(subnormal, normal).or(nan).or(sign));
}

/** f8e4m3fn bits in the low bytes of four lanes; magnitudes that round above 448 become NaN: see encodeWgsl.ts. */
export function encodeF8(k: KernelBuilder, value: F32x4): I32x4 {
  const { magnitude, sign } = split(k, value, 24);
  // As above: the last place of a subnormal is 2^-9, that of f32 at 2^14.
  const subnormal = magnitude
    .asF32x4()
    .add(2 ** 14)
    .asI32x4()
    .sub(0x46800000);
  const normal = roundOff(magnitude, 20)
    .sub((127 - 7) << 3)
    .minS(0x7f);
  return k.let(magnitude.ltS(0x3c800000).select(subnormal, normal).or(sign));
}

function split(k: KernelBuilder, value: F32x4, signShift: number): { magnitude: I32x4; sign: I32x4 } {
  const bits = k.let(value.asI32x4());
  return { magnitude: k.let(bits.and(0x7fffffff)), sign: k.let(bits.shrU(31).shl(31 - signShift)) };
}

/** `bits` without its last `count` places, rounded to nearest even. Infinity and NaN stay above all finite results. */
function roundOff(bits: I32x4, count: number): I32x4 {
  const odd = bits.shrU(count).and(1);
  return bits
    .add(odd)
    .add((1 << (count - 1)) - 1)
    .shrU(count);
}
