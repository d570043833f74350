// The time sinusoid, computed on the host: its arguments reach 32000, too far for a fast GPU sine, and so far that the
// last bit of a frequency shows in the fourth digit. Every step is rounded to float32 where the original rounds.

/** Features of the time sinusoid. */
export const TIME_FEATURES = 256;
const RESCALE = 1000;
const HALF = TIME_FEATURES / 2;

/** [times, 256]: cos of (t * freq_k) * 1000 for k = 0..127, then sin. */
export function timestepEmbedding(times: readonly number[]): Float32Array {
  const out = new Float32Array(times.length * TIME_FEATURES);
  times.forEach((t, row) => {
    FREQUENCIES.forEach((frequency, k) => {
      const angle = Math.fround(Math.fround(Math.fround(t) * frequency) * RESCALE);
      out[row * TIME_FEATURES + k] = Math.cos(angle);
      out[row * TIME_FEATURES + HALF + k] = Math.sin(angle);
    });
  });
  return out;
}

/** exp(-ln(10000) k / 128). */
const FREQUENCIES = Float32Array.from({ length: HALF }, (_, k) =>
  expFloat32(Math.fround(Math.fround(Math.fround(-Math.log(10000)) * k) / HALF)),
);

/**
 * The float32 exponential of PyTorch's CPU kernels, within 1 ulp and not always the nearest value: Cody-Waite reduction
 * and a degree-7 polynomial with the coefficients of SLEEF's expf.
 */
function expFloat32(x: number): number {
  const multiplyAdd = (a: number, b: number, c: number) => Math.fround(a * b + c);
  const exponent = Math.round(Math.fround(x * Math.fround(Math.LOG2E)));
  let s = multiplyAdd(exponent, -0.693145751953125, x);
  s = multiplyAdd(exponent, -Math.fround(1.428606765330187e-6), s);
  const coefficients = [
    1.98527617612853646e-4, 1.39304355252534151e-3, 8.33336077630519867e-3, 4.16664853692054749e-2, 0.16666667163372039,
    0.5,
  ];
  const u = coefficients.reduce((sum, c) => multiplyAdd(sum, s, Math.fround(c)), 0);
  return Math.fround(Math.fround(1 + multiplyAdd(Math.fround(s * s), u, s)) * 2 ** exponent);
}
