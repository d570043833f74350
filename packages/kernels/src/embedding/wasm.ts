// wasm embedding. The table may be too large for the heap and pass by in pieces, so an item is a row of the table, which
// looks for the ids that ask for it; a step before fills the rows of ids outside the table with NaN.
import { I32x4, bytesOf, wasmKernel } from '@magi1/tensor';
import type { FloatDType, WasmOf } from '@magi1/tensor';
import { loadFloats } from '../support/wasm/floats.ts';
import { forVectors } from '../support/wasm/vectors.ts';
import type { Embedding } from './contract.ts';

const missing = wasmKernel({
  name: 'embedding.missing',
  args: { ids: 'ptr', y: 'ptr', rows: 'i32', width: 'i32' },
  body(k, { begin, end, ids, y, rows, width }) {
    const rowBytes = k.let(width.shl(2));
    k.forRange(begin, end, 1, (i) => {
      k.if(ids.add(i.shl(2)).loadI32().geU(rows), () => {
        k.fill(y.add(i.mul(rowBytes)), 0xff, rowBytes);
      });
    });
  },
});

const lookup = wasmKernel({
  name: 'embedding',
  args: { table: 'ptr', ids: 'ptr', y: 'ptr', count: 'i32', width: 'i32' },
  body(k, { begin, end, table, ids, y, count, width }, { dtype }: { readonly dtype: FloatDType }) {
    const bytes = bytesOf(dtype, 1);
    const rowBytes = k.let(width.mul(bytes));
    k.forRange(begin, end, 1, (row) => {
      const from = k.let(table.add(row.mul(rowBytes)));
      k.forRange(0, count, 4, (first) => {
        const found = ids.add(first.shl(2)).loadI32x4().eq(row.splat());
        const within = I32x4.lanes(0, 1, 2, 3).add(first.splat()).ltS(count.splat());
        const hits = k.var(found.and(within).bitmask());
        k.while(
          () => hits,
          () => {
            // The lowest bit that is set.
            const bit = k.let(hits.and(k.let(hits).xor(-1).add(1)));
            const position = first.add(31).sub(bit.clz());
            const to = k.let(y.add(position.mul(width.shl(2))));
            forVectors(k, width, (at, put) => {
              put(to.add(at), loadFloats(k, dtype, k.let(from.add(at.shrU(2).mul(bytes)))));
            });
            hits.set(hits.xor(bit));
          },
        );
      });
    });
  },
});

export const wasm: WasmOf<Embedding> = ({ inputs: { ids, table }, y }) => {
  const [rows, width] = table.shape as [number, number];
  const count = ids.size;
  return [
    { kernel: missing, variant: {}, args: { ids, y, rows, width }, items: count, itemCost: 4 },
    {
      kernel: lookup,
      variant: { dtype: table.dtype },
      args: { table, ids, y, count, width },
      items: rows,
      itemCost: 2 * count,
      streamed: { arg: 'table', bytesPerItem: bytesOf(table.dtype, width) },
    },
  ];
};
