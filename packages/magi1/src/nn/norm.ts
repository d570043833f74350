// The norms that carry weights. Weights and results are f32, whatever the type of the matrices.
import { layerNorm, qkNorm, rmsNorm } from '@magi1/kernels';
import type { Tensor } from '@magi1/tensor';
import { Module } from './params.ts';
import type { Params } from './params.ts';

export interface NormOptions {
  /** Added to the variance. */
  readonly eps: number;
  /** The weight is stored around 0: it multiplies by 1 + weight. */
  readonly onePlusWeight?: boolean | undefined;
}

/** x [..., width] -> the same shape: no mean, variance 1, times weight, plus bias. */
export class LayerNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly options: NormOptions;

  constructor(p: Params, width: number, options: NormOptions) {
    super(p);
    this.weight = p.vector('weight', [width]);
    this.bias = p.vector('bias', [width]);
    this.options = options;
  }

  forward(x: Tensor): Tensor {
    return layerNorm(x, { weight: this.weight, bias: this.bias, ...this.options });
  }
}

/** x [..., width] -> the same shape: mean square 1, times weight. */
export class RmsNorm extends Module {
  readonly weight: Tensor;
  readonly eps: number;

  constructor(p: Params, width: number, { eps }: Pick<NormOptions, 'eps'>) {
    super(p);
    this.weight = p.vector('weight', [width]);
    this.eps = eps;
  }

  forward(x: Tensor): Tensor {
    return rmsNorm(x, this.weight, { eps: this.eps });
  }
}

/** A layer norm of each head's features: x [tokens, heads, head_dim]. */
export class HeadNorm extends LayerNorm {
  override forward(x: Tensor): Tensor {
    const { eps, onePlusWeight } = this.options;
    const kind = onePlusWeight ? 'onePlusWeight' : 'weight';
    return qkNorm(x, { kind, weight: this.weight, bias: this.bias, eps });
  }
}
