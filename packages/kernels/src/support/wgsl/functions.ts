// exp, silu, tanh and erf in WGSL for `T` = f32 or vec4f, the same on every adapter: drivers' own versions differ in
// accuracy, and some give NaN for large arguments. A program that uses them defines `T` by `valueType` first.
import {
  ERF_ONE,
  ERF_POLYNOMIAL,
  EXP_MAX,
  EXP_MIN,
  EXP_POLYNOMIAL,
  LN2_HIGH,
  LN2_LOW,
  LOG2_E,
  LOG_ERFC_POLYNOMIAL,
  TANH_LIMIT,
  TANH_ONE,
  TANH_POLYNOMIAL,
} from '../f32.ts';

function horner(coefficients: readonly number[], variable: string): string {
  return coefficients
    .slice(0, -1)
    .reduceRight((inner, c) => `fma(${inner}, ${variable}, T(${c}))`, `T(${coefficients.at(-1)!})`);
}

/** `T`, `Int`, `Bits` and `Truth`: the types that the functions work on, single or in fours. */
export const valueType = (wide: boolean): string =>
  wide
    ? 'alias T = vec4f; alias Int = vec4i; alias Bits = vec4u; alias Truth = vec4<bool>;'
    : 'alias T = f32; alias Int = i32; alias Bits = u32; alias Truth = bool;';

/**
 * `exp_`, and `exp_number`, which is cheaper and makes some number of NaN: for callers whose result is NaN anyway, below as
 * well. Compilers may fold `x != x`, and min, max and clamp need not let NaN pass, so NaN is known by its bits.
 */
export const EXP = /* wgsl */ `
fn exp_number(x: T) -> T {
  let clamped = clamp(x, T(${EXP_MIN}.0), T(${EXP_MAX}.0));
  let n = round(clamped * ${LOG2_E});
  let r = fma(n, T(${-LN2_LOW}), fma(n, T(${-LN2_HIGH}), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(${horner(EXP_POLYNOMIAL, 'r')}, r * r, r)) * power;
}

fn is_nan(x: T) -> Truth { return (bitcast<Bits>(x) & Bits(0x7fffffffu)) > Bits(0x7f800000u); }

fn exp_(x: T) -> T { return select(exp_number(x), x, is_nan(x)); }
`;

// NaN comes back by the quotient.
export const SILU = /* wgsl */ `${EXP}
fn silu(x: T) -> T { return x / (1.0 + exp_number(-x)); }
`;

export const TANH = /* wgsl */ `${EXP}
// For a of 0 to ${TANH_ONE}.
fn tanh_within(a: T) -> T {
  let z = a * a;
  let near = fma(a * z, ${horner(TANH_POLYNOMIAL, 'z')}, a);
  let far = 1.0 - 2.0 / (exp_number(2.0 * a) + 1.0);
  return select(far, near, a < T(${TANH_LIMIT}));
}

fn tanh_number(x: T) -> T { return tanh_within(min(abs(x), T(${TANH_ONE}.0))) * sign(x); }

fn tanh_(x: T) -> T {
  let bits = bitcast<Bits>(x);
  let magnitude = bits & Bits(0x7fffffffu);
  let value = tanh_within(bitcast<T>(min(magnitude, bitcast<Bits>(T(${TANH_ONE}.0)))));
  return select(bitcast<T>(bitcast<Bits>(value) | (bits ^ magnitude)), x, magnitude > Bits(0x7f800000u));
}
`;

export const ERF = /* wgsl */ `${EXP}
fn erf_number(x: T) -> T {
  let a = min(abs(x), T(${ERF_ONE}.0));
  let z = a * a;
  let near = fma(a, ${horner(ERF_POLYNOMIAL, 'z')}, a);
  let far = 1.0 - exp_number(${horner(LOG_ERFC_POLYNOMIAL, 'a')});
  return select(far, near, a < T(1.0)) * sign(x);
}

fn erf(x: T) -> T { return select(erf_number(x), x, is_nan(x)); }
`;
