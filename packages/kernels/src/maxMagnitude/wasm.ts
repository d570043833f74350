// wasm maxMagnitude; an item is a stretch.
import { I32x4, wasmKernel } from '@magi1/tensor';
import type { I32, WasmOf } from '@magi1/tensor';
import { MAGNITUDE_BITS, STRETCH } from './contract.ts';
import type { MaxMagnitude } from './contract.ts';

const kernel = wasmKernel({
  name: 'maxMagnitude',
  args: { x: 'ptr', y: 'ptr', size: 'i32' },
  body(k, { begin, end, x, y, size }) {
    k.forRange(begin, end, 1, (part) => {
      const start = k.let(part.mul(STRETCH));
      const count = k.let(size.sub(start).minU(STRETCH));
      const from = k.let(x.add(start.shl(2)));
      const most = k.var(I32x4.of(0));
      const whole = k.let(count.and(-4).shl(2));
      k.forRange(0, whole, 16, (at) => {
        most.set(most.maxU(from.add(at).loadI32x4().and(MAGNITUDE_BITS)));
      });
      // The last vector may reach past the end, where anything may lie.
      const valid = I32x4.lanes(0, 1, 2, 3).ltS(k.let(count.and(3)).splat());
      most.set(most.maxU(valid.and(from.add(whole).loadI32x4()).and(MAGNITUDE_BITS)));
      const lane = (index: number): I32 => k.let(most.lane(index));
      const largest = k.let(lane(0).maxU(lane(1))).maxU(k.let(lane(2).maxU(lane(3))));
      k.store(y.add(part.shl(2)), k.let(largest));
    });
  },
});

export const wasm: WasmOf<MaxMagnitude> = ({ inputs: { x }, y }) => [
  {
    kernel,
    variant: {},
    args: { x, y, size: x.size },
    items: y.size,
    itemCost: STRETCH,
  },
];
