// Direct 3-D convolution with zero padding, for small kernels such as the VAE's last 3x3x3.
// A convolution whose kernel equals its stride is cheaper as patchify + linear.
import { defineOp, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { contract } from './contract.ts';
import type { Conv3d, Triple } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const conv3dOp = defineOp<Conv3d>({
  ...contract,
  reference({ inputs: { x, weight, bias }, y, params: { padding, stride } }) {
    const [, channels, frames, height, width] = x.shape as [number, number, number, number, number];
    const [, , kt, kh, kw] = weight.shape as [number, number, number, number, number];
    const [batch, filters, ot, oh, ow] = y.shape as [number, number, number, number, number];
    let o = 0;
    for (let b = 0; b < batch; b++)
      for (let f = 0; f < filters; f++)
        for (let t = 0; t < ot; t++)
          for (let h = 0; h < oh; h++)
            for (let w = 0; w < ow; w++) {
              let sum = bias?.data[f] ?? 0;
              for (let c = 0; c < channels; c++)
                for (let i = 0; i < kt; i++) {
                  const ti = t * stride[0] + i - padding[0];
                  for (let j = 0; j < kh; j++) {
                    const hj = h * stride[1] + j - padding[1];
                    const outside = ti < 0 || ti >= frames || hj < 0 || hj >= height;
                    const row = ((b * channels + c) * frames + ti) * height * width + hj * width;
                    const tap = (((f * channels + c) * kt + i) * kh + j) * kw;
                    for (let k = 0; k < kw; k++) {
                      const wk = w * stride[2] + k - padding[2];
                      const value = outside || wk < 0 || wk >= width ? 0 : x.data[row + wk]!;
                      sum += value * weight.data[tap + k]!;
                    }
                  }
                }
              y.data[o++] = sum;
            }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/**
 * Padding is zeros that are multiplied like all else: beside them a weight that is not finite makes NaN.
 * x f32 [B, C, T, H, W], weight [O, C, kt, kh, kw] f32, f16 or bf16, bias f32 [O] -> f32 [B, O, T', H', W'].
 */
export function conv3d(
  x: Tensor,
  weight: Tensor,
  { bias, padding, stride = [1, 1, 1] }: { bias?: Tensor; padding: Triple; stride?: Triple },
): Tensor {
  return runOp(conv3dOp, { x, weight, bias }, { padding, stride });
}
