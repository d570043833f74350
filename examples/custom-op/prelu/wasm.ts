// wasm PReLU; an item is a row.
import { forVectors } from '@magi1/kernels/support';
import { wasmKernel } from '@magi1/tensor';
import type { WasmOf } from '@magi1/tensor';
import type { Prelu } from './contract.ts';

const kernel = wasmKernel({
  name: 'prelu',
  args: { x: 'ptr', slope: 'ptr', y: 'ptr', features: 'i32' },
  body(k, { begin, end, x, slope, y, features }) {
    k.forRange(begin, end, 1, (row) => {
      const start = k.let(row.mul(features.shl(2)));
      const [from, to] = [k.let(x.add(start)), k.let(y.add(start))];
      forVectors(k, features, (at, put) => {
        const value = k.let(from.add(at).loadF32x4());
        put(to.add(at), value.gt(0).select(value, slope.add(at).loadF32x4().mul(value)));
      });
    });
  },
});

export const wasm: WasmOf<Prelu> = ({ inputs: { x, slope }, y }) => {
  const features = slope.size;
  return [
    {
      kernel,
      variant: {},
      args: { x, slope, y, features },
      items: x.size / features,
      itemCost: 4 * features,
    },
  ];
};
