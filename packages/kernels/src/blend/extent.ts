// Parameters of blendEdges and how far a blend goes.
import type { TensorSpec } from '@magi1/tensor';

export interface BlendParams {
  readonly axis: number;
  readonly extent: number;
}

/** Positions that are mixed: never more than either tile has. */
export function blendExtent(previous: TensorSpec, current: TensorSpec, { axis, extent }: BlendParams): number {
  return Math.min(previous.shape[axis]!, current.shape[axis]!, extent);
}
