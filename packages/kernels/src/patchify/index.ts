// Patch form of a Conv3d whose kernel equals its stride: cut a video into patches, and put patches back.
import { defineOp, rowMajorStrides, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { stridedCopies } from '../support/families/strided-copy/kernels.ts';
import { copyLoops } from '../support/families/strided-copy/loops.ts';
import { patchifyCases, randomPatchify, randomUnpatchify, unpatchifyCases } from './cases.ts';
import { patchifyContract, unpatchifyContract } from './contract.ts';
import type { Patchify, PatchifyParams, Unpatchify, UnpatchifyParams } from './contract.ts';

export const patchifyOp = defineOp<Patchify>({
  ...patchifyContract,
  reference({
    inputs: { x },
    y,
    params: {
      patch: [pt, ph, pw],
    },
  }) {
    const [batch, channels, frames, height, width] = x.shape as [number, number, number, number, number];
    const [gt, gh, gw] = [Math.floor(frames / pt), Math.floor(height / ph), Math.floor(width / pw)];
    let o = 0;
    for (let b = 0; b < batch; b++)
      for (let t = 0; t < gt; t++)
        for (let h = 0; h < gh; h++)
          for (let w = 0; w < gw; w++)
            for (let c = 0; c < channels; c++)
              for (let i = 0; i < pt; i++)
                for (let j = 0; j < ph; j++)
                  for (let k = 0; k < pw; k++)
                    y.data[o++] =
                      x.data[(((b * channels + c) * frames + t * pt + i) * height + h * ph + j) * width + w * pw + k]!;
  },
  ...stridedCopies('patchify', ({ inputs: { x }, y: target, params: { patch } }) => {
    const strides = rowMajorStrides(x.shape);
    const grid = patch.map((extent, i) => Math.floor(x.shape[i + 2]! / extent));
    const lengths = [x.shape[0]!, ...grid, x.shape[1]!, ...patch];
    const source = [strides[0]!, ...patch.map((extent, i) => extent * strides[i + 2]!), ...strides.slice(1)];
    const loops = copyLoops(lengths, source, rowMajorStrides(lengths));
    return [{ source: x, target, sourceOffset: 0, targetOffset: 0, loops }];
  }),
  cases: patchifyCases,
  randomCase: randomPatchify,
});

export const unpatchifyOp = defineOp<Unpatchify>({
  ...unpatchifyContract,
  reference({
    inputs: { tokens },
    y,
    params: {
      batch,
      grid,
      patch: [pt, ph, pw],
      channels,
    },
  }) {
    const [gt, gh, gw] = grid;
    const [frames, height, width] = [gt * pt, gh * ph, gw * pw];
    let i = 0;
    for (let b = 0; b < batch; b++)
      for (let t = 0; t < gt; t++)
        for (let h = 0; h < gh; h++)
          for (let w = 0; w < gw; w++)
            for (let dt = 0; dt < pt; dt++)
              for (let dh = 0; dh < ph; dh++)
                for (let dw = 0; dw < pw; dw++)
                  for (let c = 0; c < channels; c++)
                    y.data[(((b * channels + c) * frames + t * pt + dt) * height + h * ph + dh) * width + w * pw + dw] =
                      tokens.data[i++]!;
  },
  ...stridedCopies('unpatchify', ({ inputs: { tokens }, y: target, params: { batch, grid, patch, channels } }) => {
    // Axes of the tokens: b, t, h, w, pt, ph, pw, c.
    const strides = rowMajorStrides([batch, ...grid, ...patch, channels]);
    const order = [0, 7, 1, 4, 2, 5, 3, 6];
    const [[gt, gh, gw], [pt, ph, pw]] = [grid, patch];
    const lengths = [batch, channels, gt, pt, gh, ph, gw, pw];
    const source = order.map((axis) => strides[axis]!);
    return [
      {
        source: tokens,
        target,
        sourceOffset: 0,
        targetOffset: 0,
        loops: copyLoops(lengths, source, rowMajorStrides(lengths)),
      },
    ];
  }),
  cases: unpatchifyCases,
  randomCase: randomUnpatchify,
});

/**
 * x f32 [B, C, T, H, W] -> [B*t*h*w, C*pt*ph*pw]: token order b, t, h, w; feature order C, pt, ph, pw, that of a
 * flattened Conv3d weight. Trailing pixels that fill no patch are dropped.
 */
export const patchify = (x: Tensor, params: PatchifyParams): Tensor => runOp(patchifyOp, { x }, params);

/** tokens f32 [B*t*h*w, pt*ph*pw*C], C fastest -> [B, C, t*pt, h*ph, w*pw]. */
export const unpatchify = (tokens: Tensor, params: UnpatchifyParams): Tensor => runOp(unpatchifyOp, { tokens }, params);
