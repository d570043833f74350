// wasm between video tensors and packed frames; an item is one row of pixels.
import { I8x16, wasmKernel } from '@magi1/tensor';
import type { I32, KernelBuilder, WasmOf } from '@magi1/tensor';
import { forVectors } from '../support/wasm/vectors.ts';
import type { FramesToUint8, Uint8ToVideo } from './contract.ts';

/** Twelve bytes RGBRGBRGBRGB of four pixels, out of RRRRGGGGBBBB. */
const INTERLEAVED = [0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11, 0, 0, 0, 0];

function fourPixels(k: KernelBuilder, red: I32, planeBytes: I32): I8x16 {
  const level = (plane: number) =>
    k.let(red.add(planeBytes.mul(plane)).loadF32x4().mul(127.5).add(127.5).pmax(0).pmin(255).toI32x4S());
  const [r, g, b] = [level(0), level(1), level(2)];
  const bytes = k.let(r.narrowU(g).narrowU(b.narrowU(b)));
  return k.let(bytes.shuffle(bytes, INTERLEAVED));
}

const toUint8 = wasmKernel({
  name: 'framesToUint8',
  args: { y: 'ptr', frames: 'ptr', width: 'i32', rowsPerClip: 'i32' },
  body(k, { begin, end, y, frames, width, rowsPerClip }) {
    const rowBytes = k.let(width.shl(2));
    const planeBytes = k.let(rowsPerClip.mul(rowBytes));
    const whole = k.let(width.and(-4));
    k.forRange(begin, end, 1, (row) => {
      const clip = k.let(row.divU(rowsPerClip));
      const red = k.let(y.add(row.mul(rowBytes)).add(clip.mul(planeBytes.shl(1))));
      const out = k.let(frames.add(row.mul(width).mul(3)));
      k.forRange(0, whole, 4, (pixel) => {
        const bytes = fourPixels(k, k.let(red.add(pixel.shl(2))), planeBytes);
        const to = k.let(out.add(pixel.mul(3)));
        k.store64Lane(to, bytes, 0);
        k.store32Lane(to, bytes, 2, 8);
      });
      k.if(whole.ne(width), () => {
        const rest = fourPixels(k, k.let(red.add(whole.shl(2))), planeBytes);
        const to = k.let(out.add(whole.mul(3)));
        for (let byte = 0; byte < 9; byte++) {
          k.if(whole.add(Math.floor(byte / 3)).ltU(width), () => {
            k.store8(to, rest.laneU(byte), byte);
          });
        }
      });
    });
  },
});

/** Byte c of each of four pixels, as four 32-bit numbers; 16 stands for a zero. */
const channel = (c: number) => [0, 3, 6, 9].flatMap((pixel) => [pixel + c, 16, 16, 16]);

const toVideo = wasmKernel({
  name: 'uint8ToVideo',
  args: { frames: 'ptr', y: 'ptr', width: 'i32', rows: 'i32' },
  body(k, { begin, end, frames, y, width, rows }) {
    const rowBytes = k.let(width.shl(2));
    const planeBytes = k.let(rows.mul(rowBytes));
    const zero = k.let(I8x16.of(0));
    k.forRange(begin, end, 1, (row) => {
      const pixels = k.let(frames.add(row.mul(width).mul(3)));
      const red = k.let(y.add(row.mul(rowBytes)));
      forVectors(k, width, (at, put) => {
        const bytes = k.let(pixels.add(at.shrU(2).mul(3)).loadI8x16());
        for (let c = 0; c < 3; c++) {
          // u / 127.5 - 1 without the cancellation.
          const level = bytes.shuffle(zero, channel(c)).asI32x4().toF32x4S();
          put(red.add(planeBytes.mul(c)).add(at), level.mul(2).sub(255).div(255));
        }
      });
    });
  },
});

export const framesToUint8Wasm: WasmOf<FramesToUint8> = ({ inputs: { y: video }, y }) => {
  const [batch, , frames, height, width] = video.shape as [number, number, number, number, number];
  return [
    {
      kernel: toUint8,
      variant: {},
      args: { y: video, frames: y, width, rowsPerClip: frames * height },
      items: batch * frames * height,
      itemCost: 8 * width,
    },
  ];
};

export const uint8ToVideoWasm: WasmOf<Uint8ToVideo> = ({ inputs: { frames }, y }) => {
  const [count, height, width] = frames.shape as [number, number, number];
  return [
    {
      kernel: toVideo,
      variant: {},
      args: { frames, y, width, rows: count * height },
      items: count * height,
      itemCost: 8 * width,
    },
  ];
};
