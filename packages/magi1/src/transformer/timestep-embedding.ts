// The time sinusoid, computed on the host: its arguments reach 32000, too far for a fast GPU sine.
import { TIME_FEATURES } from './weights.ts';

const RESCALE = 1000;

/** [times, 256]: cos of (t * freq_k) * 1000 for k = 0..127, then sin; angles in float32 as in the original. */
export function timestepEmbedding(times: readonly number[]): Float32Array {
  const half = TIME_FEATURES / 2;
  const out = new Float32Array(times.length * TIME_FEATURES);
  times.forEach((t, row) => {
    for (let k = 0; k < half; k++) {
      const frequency = Math.fround(Math.exp(Math.fround(Math.fround(-Math.log(10000) * k) / half)));
      const angle = Math.fround(Math.fround(Math.fround(t) * frequency) * RESCALE);
      out[row * TIME_FEATURES + k] = Math.cos(angle);
      out[row * TIME_FEATURES + half + k] = Math.sin(angle);
    }
  });
  return out;
}
