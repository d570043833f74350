// The blocks' linear layers: plain, or quantised to f8e4m3fn where the checkpoint gives scales.
import { cast, linear, mul, quantize } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import type { Weights } from '../weights.ts';

/** x [tokens, in] -> [tokens, out] through the layer that `weights` points at (`weight` and, if quantised, its scales). */
export function project(x: Tensor, weights: Weights): Tensor {
  const weight = weights.get('weight');
  const weightScale = weights.find('weight_scale');
  if (weightScale === undefined) return linear(x, weight);
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
