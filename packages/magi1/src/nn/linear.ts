// The linear layers: plain (of any weight dtype) or fp8. `Linear.at` is the one place that chooses a kind, and the one where low-rank
// updates (LoRA) act.
import { add, affine, cast, linear, mul, quantize } from '@magi1/kernels';
import { elementCount, scope } from '@magi1/tensor';
import type { Shape, Tensor } from '@magi1/tensor';
import { Module } from './params.ts';
import type { Params } from './params.ts';

/** A change of a linear layer: y += scale b (a x). */
export interface LowRankUpdate {
  readonly a: Tensor; // f32 [rank, in]
  readonly b: Tensor; // f32 [out, rank]
  readonly scale: number;
}

export interface LinearOptions {
  /** Default true. */
  readonly bias?: boolean;
  /**
   * Weight and input as f8e4m3fn: `tensor` with one scale written for every input feature, `channel` with a `smooth_scale`
   * of each input feature. Without bias.
   */
  readonly fp8?: 'tensor' | 'channel' | undefined;
  /** The weight stays in 16 bit where others are quantised to q8 or q4. */
  readonly precise?: boolean;
}

/** Which outputs of a layer: first to end, exclusive. */
export type OutputRange = readonly [first: number, end: number];

/** x [tokens, in] -> [tokens, out]. */
export class Linear extends Module {
  /** [out, in], or a convolution's [out, channels, t, h, w] over whole patches. */
  readonly weight: Tensor;
  readonly bias: Tensor | undefined;
  #updates: readonly LowRankUpdate[] = [];

  /** A layer of `p`'s path; several axes of inputs are the channels and sides of a patch. */
  static at(
    p: Params,
    outputs: number,
    inputs: number | Shape,
    { bias = true, fp8, precise }: LinearOptions = {},
  ): Linear {
    const shape = [outputs, ...(typeof inputs === 'number' ? [inputs] : inputs)];
    if (fp8 !== undefined) return new Fp8Linear(p, outputs, elementCount(shape) / outputs, fp8);
    const weight = p.matrix('weight', shape, precise);
    return new Linear(p, weight, bias ? p.vector('bias', [outputs]) : undefined);
  }

  protected constructor(p: Params, weight: Tensor, bias: Tensor | undefined) {
    super(p);
    this.weight = weight;
    this.bias = bias;
  }

  /** @param range which outputs to compute; all when left out */
  forward(x: Tensor, range?: OutputRange): Tensor {
    let y = this.product(x, range);
    for (const { a, b, scale } of this.#updates) {
      const before = y;
      const rows = range ? b.slice(...range) : b;
      y = scope(() => add(before, linear(affine(linear(x, a), { scale, shift: 0 }), rows)));
      before.dispose();
    }
    return y;
  }

  /** Replaces the low-rank updates. They are owned from here on; those replaced are freed. */
  setUpdates(updates: readonly LowRankUpdate[]): void {
    const kept = new Set(updates.flatMap(({ a, b }) => [a, b]));
    for (const { a, b } of this.#updates) for (const tensor of [a, b]) if (!kept.has(tensor)) tensor.dispose();
    this.#updates = updates;
  }

  override free(): void {
    this.setUpdates([]);
  }

  /** What the stored weight gives. */
  protected product(x: Tensor, range?: OutputRange): Tensor {
    const { weight, bias } = this;
    const matrix = weight.rank === 2 ? weight : weight.reshape([weight.shape[0]!, -1]);
    if (range === undefined) return linear(x, matrix, { bias });
    return linear(x, matrix.slice(...range), { bias: bias?.slice(...range) });
  }
}

/** f8e4m3fn weight, and input rounded to f8e4m3fn, as checkpoints quantised for inference have them. */
export class Fp8Linear extends Linear {
  readonly weight_scale: Tensor;
  readonly input_scale: Tensor;
  readonly smooth_scale: Tensor | undefined;

  constructor(p: Params, outputs: number, inputs: number, kind: 'tensor' | 'channel') {
    super(p, p.quantized('weight', [1, outputs, inputs]), undefined);
    this.weight_scale = p.vector('weight_scale', [1]);
    this.input_scale = p.vector('input_scale', [kind === 'tensor' ? inputs : 1]);
    if (kind === 'channel') this.smooth_scale = p.vector('smooth_scale', [1, inputs]);
  }

  /** x as the layer reads it: over `smooth_scale` where it has one, else over `input_scale`. */
  quantizeInput(x: Tensor): Tensor<'f8e4m3fn'> {
    return quantize(x, this.smooth_scale?.reshape([-1]) ?? this.input_scale);
  }

  protected override product(x: Tensor, range?: OutputRange): Tensor {
    const [, outputs, inputs] = this.weight.shape as [number, number, number];
    // The steps in between are as large as the activations: they go before the block's end.
    return scope(() => {
      const matrix = this.weight.reshape([outputs, inputs]);
      const products = linear(cast(this.quantizeInput(x), 'f32'), range ? matrix.slice(...range) : matrix);
      // Where `input_scale` has an entry per feature, all are the same.
      return mul(products, mul(this.input_scale.slice(0, 1), this.weight_scale));
    });
  }
}
