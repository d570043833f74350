// wasm resizeTrilinear; an item is one position of the output with all its channels.
import { rowMajorStrides, wasmKernel } from '@magi1/tensor';
import type { F32x4, I32, WasmOf } from '@magi1/tensor';
import { forVectors } from '../support/wasm/vectors.ts';
import type { ResizeTrilinear } from './contract.ts';
import { tapTables } from './taps.ts';

const kernel = wasmKernel({
  name: 'resizeTrilinear',
  args: {
    x: 'ptr',
    y: 'ptr',
    offsets: 'ptr',
    weights: 'ptr',
    channels: 'i32',
    frames: 'i32',
    height: 'i32',
    width: 'i32',
  },
  body(k, { begin, end, x, y, offsets, weights, channels, frames, height, width }) {
    const taps = (index: I32) => {
      const [entry, weight] = [k.let(offsets.add(index.shl(3))), k.let(weights.add(index.shl(2)).loadF32x4Splat())];
      return { left: k.let(entry.loadI32()), right: k.let(entry.loadI32(4)), weight, rest: k.let(weight.neg().add(1)) };
    };
    type Taps = ReturnType<typeof taps>;
    const between = (a: F32x4, b: F32x4, { weight, rest }: Taps) => k.let(a.mul(rest).add(b.mul(weight)));
    k.forRange(begin, end, 1, (position) => {
      const row = k.let(position.divU(width));
      const [t, h] = [taps(row.divU(height)), taps(frames.add(row.remU(height)))];
      const w = taps(frames.add(height).add(position.remU(width)));
      const starts = [t.left, t.right].flatMap((plane) =>
        [h.left, h.right].map((line) => k.let(x.add(plane).add(line))),
      );
      const to = k.let(y.add(position.mul(channels.shl(2))));
      forVectors(k, channels, (at, put) => {
        const rows = starts.map((start) => {
          const from = k.let(start.add(at));
          return between(from.add(w.left).loadF32x4(), from.add(w.right).loadF32x4(), w);
        });
        const planes = [between(rows[0]!, rows[1]!, h), between(rows[2]!, rows[3]!, h)];
        put(to.add(at), between(planes[0]!, planes[1]!, t));
      });
    });
  },
});

export const wasm: WasmOf<ResizeTrilinear> = ({ inputs: { x }, y, params: { size } }) => {
  const channels = x.shape[3]!;
  const [frames, height, width] = size;
  const bytes = rowMajorStrides(x.shape).map((stride) => 4 * stride);
  return [
    {
      kernel,
      variant: {},
      args: { x, y, ...tapTables(x.shape, size, bytes), channels, frames, height, width },
      items: frames * height * width,
      itemCost: 14 * channels,
    },
  ];
};
