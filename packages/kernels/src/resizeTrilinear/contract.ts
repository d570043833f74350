// The contract of resizeTrilinear.
import { elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';

export interface ResizeParams {
  readonly size: readonly [t: number, h: number, w: number];
}

export type ResizeTrilinear = OpTypes<{ x: Tensor }, ResizeParams>;

export const contract: ContractOf<ResizeTrilinear> = {
  name: 'resizeTrilinear',
  infer({ x }, { size }, check) {
    check.dtype('x', 'f32');
    check.rank('x', 4);
    if (size.some((n) => !Number.isInteger(n) || n < 1) || elementCount(x.shape) === 0) {
      throw check.error(`cannot resize [${x.shape.join(',')}] to [${size.join(',')}]`);
    }
    return { shape: [...size, x.shape[3]!], dtype: 'f32' };
  },
  cost({ x }, { size }) {
    const out = elementCount(size) * x.shape[3]!;
    return { flops: 14 * out, bytes: 4 * (out + elementCount(x.shape)) };
  },
};
