// Row lookup: ids into a table of any weight dtype, widened to f32.
import { OpError, defineOp, describeSpec, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { contract } from './contract.ts';
import type { Embedding } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const embeddingOp = defineOp<Embedding>({
  ...contract,
  reference({ inputs: { ids, table }, y }) {
    const [rows, width] = table.shape as [number, number];
    ids.data.forEach((id, i) => {
      if (id < 0 || id >= rows) throw new OpError('embedding', `id ${id} is outside ${describeSpec(table)}`);
      for (let k = 0; k < width; k++) y.data[i * width + k] = table.data[id * width + k]!;
    });
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** ids i32 or u32 [n], table [V, K] f32, f16, bf16 or f8e4m3fn -> f32 [n, K]. Ids must lie in 0..V-1; the row of
 * an id that does not comes out as NaN. */
export const embedding = (ids: Tensor, table: Tensor): Tensor => runOp(embeddingOp, { ids, table }, {});
