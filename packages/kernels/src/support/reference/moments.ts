// Row statistics in float64, shared by the references of the normalising ops.
import type { HostView } from '@magi1/tensor';

export interface Moments {
  readonly mean: number;
  /** Biased: divided by the number of elements. */
  readonly variance: number;
}

/** Mean and variance of `at(0) .. at(count - 1)`: the mean first, then the deviations from it. */
export function moments(count: number, at: (i: number) => number): Moments {
  let sum = 0;
  for (let i = 0; i < count; i++) sum += at(i);
  const mean = sum / count;
  let squares = 0;
  for (let i = 0; i < count; i++) squares += (at(i) - mean) ** 2;
  return { mean, variance: squares / count };
}

/** The affine part of a norm: weights (1 when left out; `1 + weight` if asked for) and biases (0 when left out). */
export function affineOf(
  weight: HostView | undefined,
  bias: HostView | undefined,
  onePlusWeight: boolean,
): (feature: number, normalized: number) => number {
  const offset = onePlusWeight ? 1 : 0;
  return (k, z) => z * (weight === undefined ? 1 : offset + weight.data[k]!) + (bias === undefined ? 0 : bias.data[k]!);
}
