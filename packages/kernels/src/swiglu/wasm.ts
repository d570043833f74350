// wasm SwiGLU; an item is a row.
import { wasmKernel } from '@magi1/tensor';
import type { WasmOf } from '@magi1/tensor';
import { silu } from '../support/wasm/functions.ts';
import { forVectors } from '../support/wasm/vectors.ts';
import type { Swiglu } from './contract.ts';

const kernel = wasmKernel({
  name: 'swiglu',
  args: { x: 'ptr', y: 'ptr', features: 'i32' },
  body(k, { begin, end, x, y, features }) {
    const half = k.let(features.shl(2));
    k.forRange(begin, end, 1, (row) => {
      const gate = k.let(x.add(row.mul(half.shl(1))));
      const up = k.let(gate.add(half));
      const out = k.let(y.add(row.mul(half)));
      forVectors(k, features, (at, put) => {
        put(out.add(at), silu(k, k.let(gate.add(at).loadF32x4())).mul(up.add(at).loadF32x4()));
      });
    });
  },
});

export const wasm: WasmOf<Swiglu> = ({ inputs: { x }, y }) => {
  const features = y.shape.at(-1)!;
  return [{ kernel, variant: {}, args: { x, y, features }, items: y.size / features, itemCost: 20 * features }];
};
