// wasm blendEdges; an item is everything along the axis at one position of the axes before it.
import { I32x4, elementCount, wasmKernel } from '@magi1/tensor';
import type { WasmOf } from '@magi1/tensor';
import { forVectors } from '../support/wasm/vectors.ts';
import { blendExtent } from './contract.ts';
import type { BlendEdges } from './contract.ts';

const kernel = wasmKernel({
  name: 'blendEdges',
  args: { previous: 'ptr', current: 'ptr', y: 'ptr', inner: 'i32', length: 'i32', lengthBefore: 'i32', extent: 'i32' },
  body(
    k,
    { begin, end, previous, current, y, inner, length, lengthBefore, extent },
    { last }: { readonly last: boolean },
  ) {
    const innerBytes = k.let(inner.shl(2));
    k.forRange(begin, end, 1, (outer) => {
      const start = k.let(outer.mul(length).mul(innerBytes));
      const [from, to] = [k.let(current.add(start)), k.let(y.add(start))];
      const edge = outer.add(1).mul(lengthBefore).sub(extent).mul(innerBytes);
      const before = k.let(previous.add(edge));
      if (last) {
        forVectors(k, extent, (at, put) => {
          const positions = I32x4.lanes(0, 1, 2, 3).add(at.shrU(2).splat()).toF32x4S();
          const weight = k.let(positions.div(extent.toF32S().splat()));
          const old = before.add(at).loadF32x4().mul(weight.neg().add(1));
          put(to.add(at), old.add(from.add(at).loadF32x4().mul(weight)));
        });
      } else {
        k.forRange(0, extent, 1, (position) => {
          const weight = k.let(position.toF32S().div(extent.toF32S()).splat());
          const rest = k.let(weight.neg().add(1));
          const row = k.let(position.mul(innerBytes));
          forVectors(k, inner, (at, put) => {
            const old = before.add(row).add(at).loadF32x4().mul(rest);
            put(to.add(row).add(at), old.add(from.add(row).add(at).loadF32x4().mul(weight)));
          });
        });
      }
      const mixed = k.let(extent.mul(innerBytes));
      k.copy(to.add(mixed), from.add(mixed), length.sub(extent).mul(innerBytes));
    });
  },
});

export const wasm: WasmOf<BlendEdges> = ({ inputs: { previous, current }, y, params }) => {
  const [length, inner] = [current.shape[params.axis]!, elementCount(current.shape.slice(params.axis + 1))];
  return [
    {
      kernel,
      variant: { last: inner === 1 },
      args: {
        previous,
        current,
        y,
        inner,
        length,
        lengthBefore: previous.shape[params.axis]!,
        extent: blendExtent(previous, current, params),
      },
      items: current.size / (length * inner),
      itemCost: length * inner,
    },
  ];
};
