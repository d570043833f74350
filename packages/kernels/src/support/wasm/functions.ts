// exp, silu, tanh and erf on four f32 lanes: wasm counterparts of wgsl/functions.ts.
import { F32x4 } from '@magi1/tensor';
import type { KernelBuilder } from '@magi1/tensor';
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

export type LaneFunction = (k: KernelBuilder, x: F32x4) => F32x4;

const SIGN_BIT = 0x80000000;

function horner(k: KernelBuilder, coefficients: readonly number[], x: F32x4): F32x4 {
  const last = coefficients.length - 1;
  let sum = k.let(x.mul(coefficients[last]!).add(coefficients[last - 1]!));
  for (let i = last - 2; i >= 0; i--) sum = k.let(k.madd(sum, x, coefficients[i]!));
  return sum;
}

function withSignOf(k: KernelBuilder, magnitude: F32x4, x: F32x4): F32x4 {
  return k.let(x.asI32x4().and(SIGN_BIT).or(magnitude.asI32x4()).asF32x4());
}

/** exp; 0 and Infinity where f32 has no normal result. pmax and pmin let NaN pass. */
export const exp: LaneFunction = (k, x) => {
  const clamped = k.let(x.pmax(EXP_MIN).pmin(EXP_MAX));
  const n = k.let(clamped.mul(LOG2_E).nearest());
  const r = k.let(k.nmadd(n, LN2_LOW, k.nmadd(n, LN2_HIGH, clamped)));
  const p = k.let(k.madd(horner(k, EXP_POLYNOMIAL, r), r.mul(r), r).add(1));
  return k.let(p.mul(n.toI32x4S().add(127).shl(23).asF32x4()));
};

export const silu: LaneFunction = (k, x) => k.let(x.div(exp(k, x.neg()).add(1)));

export const tanh: LaneFunction = (k, x) => {
  const a = k.let(x.abs().pmin(TANH_ONE));
  const z = k.let(a.mul(a));
  const near = k.let(k.madd(a.mul(z), horner(k, TANH_POLYNOMIAL, z), a));
  const far = F32x4.of(2)
    .div(exp(k, k.let(a.add(a))).add(1))
    .neg()
    .add(1);
  return withSignOf(k, a.lt(TANH_LIMIT).select(near, far), x);
};

export const erf: LaneFunction = (k, x) => {
  const a = k.let(x.abs().pmin(ERF_ONE));
  const near = k.let(k.madd(a, horner(k, ERF_POLYNOMIAL, k.let(a.mul(a))), a));
  const far = exp(k, horner(k, LOG_ERFC_POLYNOMIAL, a));
  return withSignOf(k, a.lt(1).select(near, far.neg().add(1)), x);
};
