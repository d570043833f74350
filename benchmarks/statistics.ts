// Statistics of timings, and numbers as the tables print them.

/** Of timings in milliseconds. */
export interface Summary {
  readonly median: number;
  readonly p10: number;
  readonly p90: number;
  /** Median distance from the median, unscaled. */
  readonly mad: number;
  readonly min: number;
  readonly samples: number;
}

/** The q-quantile (0 to 1) of ascending values, interpolated between neighbours. Throws RangeError without values. */
export function quantile(ascending: readonly number[], q: number): number {
  if (ascending.length === 0) throw new RangeError('quantile: no values');
  const at = q * (ascending.length - 1);
  const low = Math.floor(at);
  const high = Math.min(low + 1, ascending.length - 1);
  return ascending[low]! + (at - low) * (ascending[high]! - ascending[low]!);
}

const ascending = (values: readonly number[]) => [...values].sort((a, b) => a - b);

export const median = (values: readonly number[]): number => quantile(ascending(values), 0.5);

/**
 * Bounds of the true median with at least 95 % confidence, whatever the distribution: the k-th smallest and the k-th
 * largest value. Fewer than six values allow no such bounds: then the smallest and the largest.
 */
export function medianInterval(values: readonly number[]): readonly [low: number, high: number] {
  const sorted = ascending(values);
  const n = sorted.length;
  if (n === 0) throw new RangeError('medianInterval: no values');
  // Of n values k - 1 or fewer lie below the median with probability `below`: at most 2.5 % on either side.
  let below = 0.5 ** n;
  let term = below;
  let k = 1;
  for (; k < n / 2; k++) {
    term *= (n - k + 1) / k;
    if (below + term > 0.025) break;
    below += term;
  }
  return [sorted[k - 1]!, sorted[n - k]!];
}

/** The median of ratios and the interval of it, as tables print them. */
export const ratioText = (ratios: readonly number[]) => ({
  middle: median(ratios).toFixed(3),
  interval: medianInterval(ratios)
    .map((ratio) => ratio.toFixed(3))
    .join(' to '),
});

/** Rounds of measurements, one of each side a round, in alternating order: [round][side]. */
export async function inTurn<T>(rounds: number, sides: readonly (() => Promise<T>)[]): Promise<T[][]> {
  const results: T[][] = [];
  const order = [...sides.keys()];
  for (let i = 0; i < rounds; i++, order.reverse()) {
    const round: T[] = [];
    for (const side of order) round[side] = await sides[side]!();
    results.push(round);
  }
  return results;
}

/** Throws RangeError without values or with one that is not a time. */
export function summarise(values: readonly number[]): Summary {
  if (values.some((value) => !(value >= 0 && Number.isFinite(value)))) {
    throw new RangeError(`summarise: not times: ${values.join(', ')}`);
  }
  const sorted = ascending(values);
  const middle = quantile(sorted, 0.5);
  return {
    median: middle,
    p10: quantile(sorted, 0.1),
    p90: quantile(sorted, 0.9),
    mad: median(sorted.map((value) => Math.abs(value - middle))),
    min: sorted[0]!,
    samples: sorted.length,
  };
}

/** Every value divided by `factor`, for samples that timed several runs at once. */
export function perRun(summary: Summary, factor: number): Summary {
  const { median: middle, p10, p90, mad, min, samples } = summary;
  return {
    median: middle / factor,
    p10: p10 / factor,
    p90: p90 / factor,
    mad: mad / factor,
    min: min / factor,
    samples,
  };
}

/** What a machine of the given peaks needs at least for the work, in milliseconds, and which peak sets it. */
export function bound(
  cost: { readonly flops: number; readonly bytes: number },
  peaks: { readonly flopsPerSecond: number; readonly bytesPerSecond: number },
): { readonly ms: number; readonly by: 'flops' | 'bytes' } {
  const flops = (1e3 * cost.flops) / peaks.flopsPerSecond;
  const bytes = (1e3 * cost.bytes) / peaks.bytesPerSecond;
  return flops >= bytes ? { ms: flops, by: 'flops' } : { ms: bytes, by: 'bytes' };
}

/** ||got - want|| / ||want||; NaN when a value is not finite. */
export function relativeL2(got: ArrayLike<number>, want: ArrayLike<number>): number {
  if (got.length !== want.length) throw new RangeError(`relativeL2: ${got.length} values against ${want.length}`);
  let errors = 0;
  let squares = 0;
  for (let i = 0; i < want.length; i++) {
    const difference = got[i]! - want[i]!;
    errors += difference * difference;
    squares += want[i]! * want[i]!;
  }
  return errors === 0 ? 0 : Math.sqrt(errors / squares);
}

/** Three significant digits, without exponent. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return String(value);
  if (value === 0) return '0';
  const whole = Math.floor(Math.log10(Math.abs(value))) + 1;
  return value.toFixed(Math.max(0, Math.min(6, 3 - whole)));
}

/** A time in ms, us or s. */
export function duration(ms: number): string {
  if (ms < 1) return `${digits(1e3 * ms)} us`;
  return ms < 1e4 ? `${digits(ms)} ms` : `${digits(ms / 1e3)} s`;
}

export const percent = (share: number): string =>
  `${share < 0.0995 ? (100 * share).toFixed(1) : (100 * share).toFixed(0)} %`;
