// The contract of blendEdges, and how far a blend goes.
import { describeSpec, elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor, TensorSpec } from '@magi1/tensor';

export interface BlendParams {
  readonly axis: number;
  readonly extent: number;
}

/** Positions that are mixed: never more than either tile has. */
export function blendExtent(previous: TensorSpec, current: TensorSpec, { axis, extent }: BlendParams): number {
  return Math.min(previous.shape[axis]!, current.shape[axis]!, extent);
}

export type BlendEdges = OpTypes<{ previous: Tensor; current: Tensor }, BlendParams>;

export const contract: ContractOf<BlendEdges> = {
  name: 'blendEdges',
  infer({ previous, current }, { axis, extent }, check) {
    check.dtype('previous', 'f32');
    check.dtype('current', 'f32');
    const fits =
      axis < current.shape.length &&
      previous.shape.length === current.shape.length &&
      current.shape.every((dim, a) => a === axis || dim === previous.shape[a]);
    if (!fits || !(extent >= 0)) {
      throw check.error(
        `${describeSpec(previous)} and ${describeSpec(current)} must match but for axis ${axis}; extent ${extent}`,
      );
    }
    return { shape: current.shape, dtype: 'f32' };
  },
  cost: ({ current }) => ({ flops: 3 * elementCount(current.shape), bytes: 8 * elementCount(current.shape) }),
};
