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
} from './approximations.ts';

function horner(coefficients: readonly number[], variable: string): string {
  return coefficients
    .slice(0, -1)
    .reduceRight((inner, c) => `fma(${inner}, ${variable}, T(${c}))`, `T(${coefficients.at(-1)!})`);
}

/** `T` and `Int`: the float and integer type that the functions work on. */
export const valueType = (wide: boolean): string =>
  wide ? 'alias T = vec4f; alias Int = vec4i;' : 'alias T = f32; alias Int = i32;';

export const EXP = /* wgsl */ `
fn exp_(x: T) -> T {
  let clamped = clamp(x, T(${EXP_MIN}.0), T(${EXP_MAX}.0));
  let n = round(clamped * ${LOG2_E});
  let r = fma(n, T(${-LN2_LOW}), fma(n, T(${-LN2_HIGH}), clamped));
  let power = bitcast<T>((Int(n) + Int(127)) * Int(8388608));
  return (1.0 + fma(${horner(EXP_POLYNOMIAL, 'r')}, r * r, r)) * power;
}
`;

export const SILU = /* wgsl */ `${EXP}
fn silu(x: T) -> T { return x / (1.0 + exp_(-x)); }
`;

export const TANH = /* wgsl */ `${EXP}
fn tanh_(x: T) -> T {
  let a = min(abs(x), T(${TANH_ONE}.0));
  let z = a * a;
  let near = fma(a * z, ${horner(TANH_POLYNOMIAL, 'z')}, a);
  let far = 1.0 - 2.0 / (exp_(2.0 * a) + 1.0);
  return select(far, near, a < T(${TANH_LIMIT})) * sign(x);
}
`;

export const ERF = /* wgsl */ `${EXP}
fn erf(x: T) -> T {
  let a = min(abs(x), T(${ERF_ONE}.0));
  let z = a * a;
  let near = fma(a, ${horner(ERF_POLYNOMIAL, 'z')}, a);
  let far = 1.0 - exp_(${horner(LOG_ERFC_POLYNOMIAL, 'a')});
  return select(far, near, a < T(1.0)) * sign(x);
}
`;
