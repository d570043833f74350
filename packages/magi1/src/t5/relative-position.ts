// T5's bucketed relative positions. Source: Raffel et al. 2020, section 2.1; bidirectional form.

/**
 * Bucket of a distance d = key - query: exact up to a quarter of `buckets`, logarithmic up to `maxDistance`; the upper
 * half of the buckets is for keys after the query.
 */
export function relativePositionBucket(d: number, buckets: number, maxDistance: number): number {
  const half = buckets >> 1;
  const exact = half >> 1;
  const side = d > 0 ? half : 0;
  const distance = Math.abs(d);
  if (distance < exact) return side + distance;
  // float32 throughout, as the original computes it: a bucket's edge falls on exact powers.
  const ratio = Math.fround(Math.log(Math.fround(distance / exact)));
  const scaled = Math.fround(Math.fround(ratio / Math.fround(Math.log(maxDistance / exact))) * (half - exact));
  return side + Math.min(exact + Math.trunc(scaled), half - 1);
}

/**
 * Bias per head and distance for `attention`'s relativeBias: [heads, 2 length - 1] from the embedding
 * [buckets, heads]; column d + length - 1 is distance d.
 */
export function relativeBiasTable(
  embedding: Float32Array,
  heads: number,
  length: number,
  buckets: number,
  maxDistance: number,
): Float32Array {
  const columns = 2 * length - 1;
  const table = new Float32Array(heads * columns);
  for (let column = 0; column < columns; column++) {
    const bucket = relativePositionBucket(column - (length - 1), buckets, maxDistance);
    for (let head = 0; head < heads; head++) table[head * columns + column] = embedding[bucket * heads + head]!;
  }
  return table;
}
