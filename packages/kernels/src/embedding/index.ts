// Row lookup: ids into a table of any weight dtype, widened to f32.
import { OpError, bytesPerElement, defineOp, describeSpec, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, checkRank } from '../support/checks.ts';
import { cases, randomCase } from './cases.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const embeddingOp = defineOp<'ids' | 'table', never, object>({
  name: 'embedding',
  infer({ ids, table }) {
    checkDType('embedding', 'ids', ids, ['i32', 'u32']);
    checkRank('embedding', 'ids', ids, 1);
    checkDType('embedding', 'table', table, ['f32', 'f16', 'bf16', 'f8e4m3fn']);
    checkRank('embedding', 'table', table, 2);
    return [{ shape: [ids.shape[0]!, table.shape[1]!], dtype: 'f32' }];
  },
  cost({ ids, table }) {
    const elements = elementCount(ids.shape) * table.shape[1]!;
    return { flops: 0, bytes: elements * (4 + bytesPerElement(table.dtype)) };
  },
  reference({ ids, table }, [out]) {
    const [rows, width] = table.shape as [number, number];
    ids.data.forEach((id, i) => {
      if (id < 0 || id >= rows) throw new OpError('embedding', `id ${id} is outside ${describeSpec(table)}`);
      for (let k = 0; k < width; k++) out!.data[i * width + k] = table.data[id * width + k]!;
    });
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** ids i32 or u32 [n], table [V, K] f32, f16, bf16 or f8e4m3fn -> f32 [n, K]. Ids must lie in 0..V-1; the row of
 * an id that does not comes out as NaN. */
export const embedding = (ids: Tensor, table: Tensor): Tensor => runOp(embeddingOp, { ids, table }, {})[0]!;
