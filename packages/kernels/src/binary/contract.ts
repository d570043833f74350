// The contract of add, sub, mul and div.
import { describeSpec, elementCount } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';
import { broadcastShape } from './broadcast.ts';

export type BinaryKind = 'add' | 'sub' | 'mul' | 'div';

export type Binary = OpTypes<{ a: Tensor; b: Tensor }, { readonly kind: BinaryKind }>;

export const contract: ContractOf<Binary> = {
  name: 'binary',
  infer({ a, b }, { kind }, anyCheck) {
    const check = anyCheck.as(kind);
    check.dtype('a', 'f32');
    check.dtype('b', 'f32');
    const shape = broadcastShape(a.shape, b.shape);
    if (shape === undefined) {
      throw check.error(`a ${describeSpec(a)} and b ${describeSpec(b)} cannot be broadcast together`);
    }
    return { shape, dtype: 'f32' };
  },
  cost({ a, b }) {
    const size = elementCount(broadcastShape(a.shape, b.shape) ?? []);
    return { flops: size, bytes: 4 * (size + elementCount(a.shape) + elementCount(b.shape)) };
  },
};
