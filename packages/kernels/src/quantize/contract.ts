// The contract of quantize.
import { describeSpec, elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';

/** The largest finite f8e4m3fn. */
export const F8_MAX = 448;

export type Quantize = OpTypes<{ x: Tensor; scale: Tensor }>;

export const contract: ContractOf<Quantize> = {
  name: 'quantize',
  infer({ x, scale }, _, check) {
    check.dtype('x', 'f32');
    check.dtype('scale', 'f32');
    const features = check.lastDim('x');
    if (scale.shape.length !== 1 || (scale.shape[0] !== 1 && scale.shape[0] !== features)) {
      throw check.error(`scale must be [${features}] or [1], got ${describeSpec(scale)}`);
    }
    return { shape: x.shape, dtype: 'f8e4m3fn' };
  },
  cost({ x, scale }) {
    const [elements, scales] = [elementCount(x.shape), elementCount(scale.shape)];
    return { flops: elements, bytes: 5 * elements + 4 * scales };
  },
};
