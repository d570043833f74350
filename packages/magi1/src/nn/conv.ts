// The convolution over time, height and width with a kernel of 3 on each side.
import { conv3d } from '@magi1/kernels';
import type { Tensor } from '@magi1/tensor';
import { Module } from './params.ts';
import type { Params } from './params.ts';

/** x [B, inputs, T, H, W] -> [B, outputs, T, H, W]: 3x3x3, zeros around. */
export class Conv3d extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;

  constructor(p: Params, outputs: number, inputs: number) {
    super(p);
    this.weight = p.vector('weight', [outputs, inputs, 3, 3, 3]);
    this.bias = p.vector('bias', [outputs]);
  }

  forward(x: Tensor): Tensor {
    return conv3d(x, this.weight, { bias: this.bias, padding: [1, 1, 1] });
  }
}
