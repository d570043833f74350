// The linear layers: plain, or quantised to f8e4m3fn where the checkpoint gives scales, with low-rank updates (LoRA).
import { add, affine, cast, linear, mul, quantize } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import type { Weights } from '../weights.ts';

/**
 * x [tokens, in] -> [tokens, out] through the layer that `weights` points at: `weight`, `bias` where it has one, scales
 * if it is quantised, and the low-rank updates that are switched on.
 */
export function project(x: Tensor, weights: Weights): Tensor {
  let y = projectStored(x, weights);
  for (const { a, b, scale } of weights.updates()) {
    const before = y;
    y = scope(() => add(before, linear(affine(linear(x, a), { scale, shift: 0 }), b)));
    before.dispose();
  }
  return y;
}

function projectStored(x: Tensor, weights: Weights): Tensor {
  const weight = weights.get('weight');
  const weightScale = weights.find('weight_scale');
  if (weightScale === undefined) {
    const matrix = weight.rank === 2 ? weight : weight.reshape([weight.shape[0]!, -1]); // a convolution over patches
    return linear(x, matrix, { bias: weights.find('bias') });
  }
  const [, outputs, inputs] = weight.shape as [number, number, number];
  // The steps in between are as large as the activations: they go before the block's end.
  return scope(() => {
    const products = linear(cast(quantizeInput(x, weights), 'f32'), weight.reshape([outputs, inputs]));
    // Where `input_scale` has an entry per feature, all are the same.
    return mul(products, mul(weights.get('input_scale').slice(0, 1), weightScale));
  });
}

/** x as the quantised layer reads it: over `smooth_scale` where it has one, else over `input_scale`. */
export function quantizeInput(x: Tensor, weights: Weights): Tensor<'f8e4m3fn'> {
  const smooth = weights.find('smooth_scale');
  return quantize(x, smooth === undefined ? weights.get('input_scale') : smooth.reshape([-1]));
}
