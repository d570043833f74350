// wasm quantize; an item is a row. f32x4.div is exact.
import { wasmKernel } from '@magi1/tensor';
import type { I32, WasmOf } from '@magi1/tensor';
import { decodeBf16, encodeBf16, encodeF8, storeFloats } from '../support/wasm/floats.ts';
import { F8_MAX } from './contract.ts';
import type { Quantize } from './contract.ts';

const kernel = wasmKernel({
  name: 'quantize',
  args: { x: 'ptr', scale: 'ptr', y: 'ptr', features: 'i32' },
  body(k, { begin, end, x, scale, y, features }, { perFeature }: { readonly perFeature: boolean }) {
    const common = k.let(scale.loadF32x4Splat());
    const whole = k.let(features.and(-4));
    const rest = k.let(features.and(3));
    k.forRange(begin, end, 1, (row) => {
      const from = k.let(x.add(row.mul(features).shl(2)));
      const to = k.let(y.add(row.mul(features)));
      const rounded = (feature: I32) => {
        const at = k.let(feature.shl(2));
        const divisor = perFeature ? scale.add(at).loadF32x4() : common;
        // min and max let NaN pass.
        const limited = k.let(from.add(at).loadF32x4().div(divisor).min(F8_MAX).max(-F8_MAX));
        return k.let(decodeBf16(encodeBf16(k, limited)));
      };
      k.forRange(0, whole, 4, (feature) => {
        storeFloats(k, 'f8e4m3fn', k.let(to.add(feature)), rounded(feature));
      });
      // The last vector reads past the row's end, but only its own bytes are stored.
      k.if(rest, () => {
        const bytes = k.let(encodeF8(k, rounded(whole)));
        const last = k.let(to.add(whole));
        k.store8(last, bytes.lane(0));
        k.if(rest.gtU(1), () => {
          k.store8(last, bytes.lane(1), 1);
        });
        k.if(rest.gtU(2), () => {
          k.store8(last, bytes.lane(2), 2);
        });
      });
    });
  },
});

export const wasm: WasmOf<Quantize> = ({ inputs: { x, scale }, y }) => {
  const features = x.shape.at(-1)!;
  const variant = { perFeature: scale.size === features };
  return [{ kernel, variant, args: { x, scale, y, features }, items: x.size / features, itemCost: 12 * features }];
};
