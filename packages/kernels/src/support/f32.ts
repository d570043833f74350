// Numbers of f32 that the WGSL and the wasm versions share: its range, and polynomials of exp, tanh and erf. Those were
// fitted here (weighted minimax by iterated least squares on Chebyshev nodes); evaluated in f32 the functions are within
// 2 ulps.

/** The largest number of f32. */
export const F32_MAX = 3.4028234663852886e38;

/** exp(r) = 1 + r + r^2 P(r) for |r| <= ln(2)/2. Coefficients from the constant on, here and below. */
export const EXP_POLYNOMIAL = [0.50000001, 0.166665189, 0.041666206, 0.00836888364, 0.00139504802];
export const LOG2_E = 1.44269504;
/** ln 2 in two parts: the first has few bits, so that its product with a small integer is exact. */
export const LN2_HIGH = 0.693359375;
export const LN2_LOW = -2.1219444e-4;
/** Arguments of exp are clamped here, where the power of two that multiplies is 0 and Infinity. */
export const EXP_MIN = -88;
export const EXP_MAX = 89;

/** tanh(a) = a + a z P(z), z = a^2, for a below the limit; 1 - 2 / (exp(2a) + 1) from there on. */
export const TANH_POLYNOMIAL = [-0.333332819, 0.133314422, -0.0537397162, 0.0206390904, -0.0057049902];
export const TANH_LIMIT = 0.625;
/** tanh is 1 in f32 from here on. */
export const TANH_ONE = 10;

/** erf(a) = a + a P(a^2) for a below 1. */
export const ERF_POLYNOMIAL = [
  0.128379166, -0.376126258, 0.112835852, -0.0268538125, 0.00518832856, -0.000801020057, 7.85388256e-5,
];
/** erf(a) = 1 - exp(P(a)) for a of 1 to 4, where erf becomes 1 in f32. */
export const LOG_ERFC_POLYNOMIAL = [
  -0.000351580364, -1.1270484, -0.638212312, -0.10304853, 0.021810452, -0.00294083972, 0.00018569459,
];
export const ERF_ONE = 4;
