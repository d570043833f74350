// wasm rope; an item is one head of one token.
import { wasmKernel } from '@magi1/tensor';
import type { WasmOf } from '@magi1/tensor';
import { forVectors } from '../support/wasm/vectors.ts';
import type { Rope } from './contract.ts';

const kernel = wasmKernel({
  name: 'rope',
  args: { x: 'ptr', cos: 'ptr', sin: 'ptr', y: 'ptr', heads: 'i32', features: 'i32', columns: 'i32' },
  body(k, { begin, end, x, cos, sin, y, heads, features, columns }) {
    const rowBytes = k.let(features.shl(2));
    const columnBytes = k.let(columns.shl(2));
    k.forRange(begin, end, 1, (row) => {
      const [from, to] = [k.let(x.add(row.mul(rowBytes))), k.let(y.add(row.mul(rowBytes)))];
      const angles = k.let(row.divU(heads).mul(columnBytes));
      const [cosines, sines] = [k.let(cos.add(angles)), k.let(sin.add(angles))];
      forVectors(k, columns, (at, put) => {
        const a = k.let(from.add(at).loadF32x4());
        const b = k.let(from.add(columnBytes).add(at).loadF32x4());
        const c = k.let(cosines.add(at).loadF32x4());
        const s = k.let(sines.add(at).loadF32x4());
        put(to.add(at), a.mul(c).sub(b.mul(s)));
        put(to.add(columnBytes).add(at), a.mul(s).add(b.mul(c)));
      });
      const turned = k.let(columnBytes.shl(1));
      k.copy(to.add(turned), from.add(turned), rowBytes.sub(turned));
    });
  },
});

export const wasm: WasmOf<Rope> = ({ inputs: { x, cos, sin }, y }) => {
  const [tokens, heads, features] = x.shape as [number, number, number];
  return [
    {
      kernel,
      variant: {},
      args: { x, cos, sin, y, heads, features, columns: cos.shape[1]! },
      items: tokens * heads,
      itemCost: 4 * features,
    },
  ];
};
