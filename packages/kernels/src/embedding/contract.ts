// The contract of embedding.
import { bytesOf, elementCount, weightDTypes } from '@magi1/tensor';
import type { ContractOf, OpTypes, Tensor } from '@magi1/tensor';

export type Embedding = OpTypes<{ ids: Tensor; table: Tensor }>;

export const contract: ContractOf<Embedding> = {
  name: 'embedding',
  infer({ ids, table }, _, check) {
    check.dtype('ids', 'i32', 'u32');
    check.rank('ids', 1);
    check.dtype('table', ...weightDTypes);
    check.rank('table', 2);
    return { shape: [ids.shape[0]!, table.shape[1]!], dtype: 'f32' };
  },
  cost({ ids, table }) {
    const width = table.shape[1]!;
    return { flops: 0, bytes: elementCount(ids.shape) * (4 * width + bytesOf(table.dtype, width)) };
  },
};
