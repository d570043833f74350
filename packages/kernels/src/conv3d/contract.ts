// The contract of conv3d, and how filters are grouped.
import { byteLengthOf, elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor, TensorSpec } from '@magi1/tensor';

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

export type Conv3d = OpTypes<{ x: Tensor; weight: Tensor; bias?: Tensor }, Conv3dParams>;

export const contract: ContractOf<Conv3d> = {
  name: 'conv3d',
  infer({ x, weight }, params, check) {
    check.dtype('x', 'f32');
    check.rank('x', 5);
    check.dtype('weight', 'f32', 'f16', 'bf16');
    check.rank('weight', 5);
    if (weight.shape[1] !== x.shape[1]) {
      throw check.error(`weight takes ${weight.shape[1]!} channels, x has ${x.shape[1]!}`);
    }
    check.is('bias', 'f32', [weight.shape[0]!]);
    if (
      params.padding.some((p) => !(p >= 0 && p <= MOST_PADDING)) ||
      params.stride.some((s) => !(s >= 1 && s <= MOST_STRIDE))
    ) {
      throw check.error(`padding [${params.padding.join(',')}] or stride [${params.stride.join(',')}] is out of range`);
    }
    const shape = outputShape(x, weight, params);
    if (shape.some((dim) => dim < 1)) {
      throw check.error(`a kernel [${weight.shape.slice(2).join(',')}] does not fit [${x.shape.slice(2).join(',')}]`);
    }
    return { shape, dtype: 'f32' };
  },
  cost({ x, weight }, params) {
    const out = elementCount(outputShape(x, weight, params));
    const taps = elementCount(weight.shape.slice(1));
    return { flops: 2 * out * taps, bytes: 4 * (out + elementCount(x.shape)) + byteLengthOf(weight) };
  },
};
