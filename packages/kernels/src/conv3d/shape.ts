// Parameters of conv3d, the output's shape, and how filters are grouped.
import type { TensorSpec } from '@magi1/tensor';

export type Triple = readonly [t: number, h: number, w: number];

export interface Conv3dParams {
  readonly padding: Triple;
  readonly stride: Triple;
}

/** How far beyond a row's ends wasm may read, and throw away what it read. */
export const MOST_PADDING = 16;
export const MOST_STRIDE = 1024;

export function outputShape(x: TensorSpec, weight: TensorSpec, { padding, stride }: Conv3dParams): number[] {
  const extents = [0, 1, 2].map(
    (axis) => Math.floor((x.shape[axis + 2]! + 2 * padding[axis]! - weight.shape[axis + 2]!) / stride[axis]!) + 1,
  );
  return [x.shape[0]!, weight.shape[0]!, ...extents];
}

/** How many filters kernels compute together: the largest of 4, 3, 2, 1 that divides their number. */
export function filtersTogether(filters: number): number {
  return [4, 3, 2].find((n) => filters % n === 0) ?? 1;
}
