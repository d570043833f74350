// Which two neighbours along an axis an output position mixes, align_corners false.

/** Left neighbour, right neighbour and weight of the right one, for output position `i` along one axis. */
export function interpolationTap(from: number, to: number, i: number): { left: number; right: number; weight: number } {
  const position = Math.max(((i + 0.5) * from) / to - 0.5, 0);
  const left = Math.min(Math.floor(position), from - 1);
  // Along an axis that keeps its length PyTorch reads no neighbour, so a NaN there does not spread.
  const right = from === to ? left : Math.min(left + 1, from - 1);
  return { left, right, weight: position - left };
}

/** Those of all positions. */
export const interpolationTaps = (from: number, to: number) =>
  Array.from({ length: to }, (_, i) => interpolationTap(from, to, i));

export interface TapTables {
  /** Left, right, for all positions in time, then height, then width: elements from the axis' start to a neighbour. */
  readonly offsets: Uint32Array;
  readonly weights: Float32Array;
}

/** Tables for kernels; `strides` in the unit in which the kernel counts. */
export function tapTables(from: readonly number[], to: readonly number[], strides: readonly number[]): TapTables {
  const taps = to.flatMap((length, axis) =>
    interpolationTaps(from[axis]!, length).map(({ left, right, weight }) => ({
      neighbours: [left * strides[axis]!, right * strides[axis]!],
      weight,
    })),
  );
  return {
    offsets: Uint32Array.from(taps.flatMap(({ neighbours }) => neighbours)),
    weights: Float32Array.from(taps, ({ weight }) => weight),
  };
}
