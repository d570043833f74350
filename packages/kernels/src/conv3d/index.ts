// Direct 3-D convolution with zero padding, for small kernels such as the VAE's last 3x3x3.
// A convolution whose kernel equals its stride is cheaper as patchify + linear.
import { OpError, bytesPerElement, defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, checkRank, checkShapeIs } from '../support/checks.ts';
import { cases, randomCase } from './cases.ts';
import { MOST_PADDING, MOST_STRIDE, outputShape } from './shape.ts';
import type { Conv3dParams, Triple } from './shape.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export type { Conv3dParams } from './shape.ts';

export const conv3dOp = defineOp<'x' | 'weight', 'bias', Conv3dParams>({
  name: 'conv3d',
  infer({ x, weight, bias }, params) {
    checkDType('conv3d', 'x', x, ['f32']);
    checkRank('conv3d', 'x', x, 5);
    checkDType('conv3d', 'weight', weight, ['f32', 'f16', 'bf16']);
    checkRank('conv3d', 'weight', weight, 5);
    if (weight.shape[1] !== x.shape[1]) {
      throw new OpError('conv3d', `weight takes ${weight.shape[1]!} channels, x has ${x.shape[1]!}`);
    }
    if (bias !== undefined) {
      checkDType('conv3d', 'bias', bias, ['f32']);
      checkShapeIs('conv3d', 'bias', bias, [weight.shape[0]!]);
    }
    if (
      params.padding.some((p) => !(p >= 0 && p <= MOST_PADDING)) ||
      params.stride.some((s) => !(s >= 1 && s <= MOST_STRIDE))
    ) {
      throw new OpError(
        'conv3d',
        `padding [${params.padding.join(',')}] or stride [${params.stride.join(',')}] is out of range`,
      );
    }
    const shape = outputShape(x, weight, params);
    if (shape.some((dim) => dim < 1)) {
      throw new OpError(
        'conv3d',
        `a kernel [${weight.shape.slice(2).join(',')}] does not fit [${x.shape.slice(2).join(',')}]`,
      );
    }
    return [{ shape, dtype: 'f32' }];
  },
  cost({ x, weight }, params) {
    const out = elementCount(outputShape(x, weight, params));
    const taps = elementCount(weight.shape.slice(1));
    const weightBytes = elementCount(weight.shape) * bytesPerElement(weight.dtype);
    return { flops: 2 * out * taps, bytes: 4 * (out + elementCount(x.shape)) + weightBytes };
  },
  reference({ x, weight, bias }, [out], { padding, stride }) {
    const [, channels, frames, height, width] = x.shape as [number, number, number, number, number];
    const [, , kt, kh, kw] = weight.shape as [number, number, number, number, number];
    const [batch, filters, ot, oh, ow] = out!.shape as [number, number, number, number, number];
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
              out!.data[o++] = sum;
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
  return runOp(conv3dOp, { x, weight, bias }, { padding, stride })[0]!;
}
