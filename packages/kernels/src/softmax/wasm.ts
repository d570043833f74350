// wasm softmax; an item is a row.
import { F32, wasmKernel } from '@magi1/tensor';
import type { WasmOf } from '@magi1/tensor';
import { exp } from '../support/wasm/functions.ts';
import { forVectors, maxVectors, sumVectors } from '../support/wasm/vectors.ts';
import type { Softmax } from './contract.ts';

const kernel = wasmKernel({
  name: 'softmax',
  args: { x: 'ptr', y: 'ptr', features: 'i32' },
  body(k, { begin, end, x, y, features }) {
    k.forRange(begin, end, 1, (row) => {
      const start = k.let(row.mul(features.shl(2)));
      const [from, to] = [k.let(x.add(start)), k.let(y.add(start))];
      const most = k.let(maxVectors(k, features, (at) => from.add(at).loadF32x4()).splat());
      forVectors(k, features, (at, put) => {
        put(to.add(at), exp(k, k.let(from.add(at).loadF32x4().sub(most))));
      });
      const [sum] = sumVectors(k, features, (at) => [to.add(at).loadF32x4()], 1);
      const scale = k.let(F32.of(1).div(sum!).splat());
      forVectors(k, features, (at, put) => {
        put(to.add(at), to.add(at).loadF32x4().mul(scale));
      });
    });
  },
});

export const wasm: WasmOf<Softmax> = ({ inputs: { x }, y }) => {
  const features = x.shape.at(-1)!;
  return [
    {
      kernel,
      variant: {},
      args: { x, y, features },
      items: x.size / features,
      itemCost: 24 * features,
    },
  ];
};
