// T5 v1.1 encoder: pre-norm blocks, RMS norms, unscaled attention with one shared relative bias, gated GELU.
import { add, attention, embedding, geluTanh, linear, mul, rmsNorm } from '@magi1/kernels';
import { Magi1Error, scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import { runStage } from '../run-options.ts';
import type { RunOptions } from '../run-options.ts';
import { SpecBuilder } from '../weights.ts';
import type { Weights, WeightSpecs } from '../weights.ts';
import type { T5Config } from './config.ts';
import { relativeBiasTable } from './relative-position.ts';

const RELATIVE_BIAS = 'encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight';

/** Names and shapes of the encoder's weights. */
export function t5WeightSpecs(config: T5Config): WeightSpecs {
  const { d_model, d_ff, num_heads, d_kv } = config;
  const inner = num_heads * d_kv;
  const builder = new SpecBuilder();
  builder.matrix('shared.weight', config.vocab_size, d_model);
  for (let i = 0; i < config.num_layers; i++) {
    const block = `encoder.block.${i}`;
    for (const name of ['q', 'k', 'v']) builder.matrix(`${block}.layer.0.SelfAttention.${name}.weight`, inner, d_model);
    builder.matrix(`${block}.layer.0.SelfAttention.o.weight`, d_model, inner);
    builder.vector(`${block}.layer.0.layer_norm.weight`, d_model);
    builder.matrix(`${block}.layer.1.DenseReluDense.wi_0.weight`, d_ff, d_model);
    builder.matrix(`${block}.layer.1.DenseReluDense.wi_1.weight`, d_ff, d_model);
    builder.matrix(`${block}.layer.1.DenseReluDense.wo.weight`, d_model, d_ff);
    builder.vector(`${block}.layer.1.layer_norm.weight`, d_model);
  }
  builder.vector(RELATIVE_BIAS, config.relative_attention_num_buckets, num_heads);
  builder.vector('encoder.final_layer_norm.weight', d_model);
  return builder.specs;
}

/** What all blocks share in one forward. */
interface AttentionContext {
  readonly relativeBias: Tensor; // [heads, 2 length - 1]
  readonly keyMask: Tensor; // i32 [length]
}

export class T5Encoder {
  readonly config: T5Config;
  readonly #weights: Weights;
  readonly #device: Device;
  #relativeEmbedding: Float32Array | undefined;

  constructor(config: T5Config, weights: Weights) {
    this.config = config;
    this.#weights = weights;
    this.#device = weights.get('shared.weight').device;
  }

  /**
   * Token ids and mask (1 = valid) of one text -> last hidden state f32 [length, d_model]. Rows at masked positions
   * are ordinary values. Masked keys are seen by no row, so a caller may cut both arrays to the valid tokens.
   */
  async encode(ids: Int32Array, mask: Int32Array, options: RunOptions = {}): Promise<Tensor> {
    if (ids.length === 0 || ids.length !== mask.length) {
      throw new Magi1Error(`T5: ids and mask must have one length above 0, got ${ids.length} and ${mask.length}`);
    }
    const context = await this.attentionContext(mask);
    try {
      let hidden = scope(() =>
        embedding(this.#device.tensor(ids, [ids.length], 'i32'), this.#weights.get('shared.weight')),
      );
      options.tap?.('hidden_states.0', hidden);
      for (let i = 0; i < this.config.num_layers; i++) {
        hidden = await runStage(hidden, (x) => this.block(i, x, context), options);
        if (i + 1 < this.config.num_layers) options.tap?.(`hidden_states.${i + 1}`, hidden);
      }
      const norm = this.#weights.get('encoder.final_layer_norm.weight');
      return await runStage(hidden, (x) => rmsNorm(x, norm, { eps: this.config.layer_norm_epsilon }), options);
    } finally {
      context.relativeBias.dispose();
      context.keyMask.dispose();
    }
  }

  /** The bias table and mask for one length; the caller disposes both. */
  async attentionContext(mask: Int32Array): Promise<AttentionContext> {
    const { num_heads, relative_attention_num_buckets, relative_attention_max_distance } = this.config;
    const table = relativeBiasTable(
      await this.relativeEmbedding(),
      num_heads,
      mask.length,
      relative_attention_num_buckets,
      relative_attention_max_distance,
    );
    return scope(() => ({
      relativeBias: this.#device.tensor(table, [num_heads, 2 * mask.length - 1], 'f32'),
      keyMask: this.#device.tensor(mask, [mask.length], 'i32'),
    }));
  }

  /** The bias per bucket and head, [buckets, heads], held by layer 0 for all layers. */
  async relativeEmbedding(): Promise<Float32Array> {
    this.#relativeEmbedding ??= await this.#weights.get(RELATIVE_BIAS).toFloat32();
    return this.#relativeEmbedding;
  }

  /** x [length, d_model] -> [length, d_model]. */
  block(index: number, x: Tensor, context: AttentionContext): Tensor {
    const weights = this.#weights.at(`encoder.block.${index}`);
    const eps = this.config.layer_norm_epsilon;
    const attended = this.selfAttention(index, rmsNorm(x, weights.get('layer.0.layer_norm.weight'), { eps }), context);
    return this.feedForwardLayer(index, add(x, attended));
  }

  /** h + feedForward(norm(h)). */
  feedForwardLayer(index: number, h: Tensor): Tensor {
    const norm = this.#weights.get(`encoder.block.${index}.layer.1.layer_norm.weight`);
    return add(h, this.feedForward(index, rmsNorm(h, norm, { eps: this.config.layer_norm_epsilon })));
  }

  /** Of an already normalised input, without residual: [length, d_model] -> [length, d_model]. */
  selfAttention(index: number, x: Tensor, { relativeBias, keyMask }: AttentionContext): Tensor {
    const weights = this.#weights.at(`encoder.block.${index}.layer.0.SelfAttention`);
    const { num_heads, d_kv } = this.config;
    const length = x.shape[0]!;
    const heads = (name: string) => linear(x, weights.get(`${name}.weight`)).reshape([length, num_heads, d_kv]);
    const out = attention(heads('q'), heads('k'), heads('v'), {
      blocks: [{ q: [0, length], k: [0, length] }],
      scale: 1, // T5 folds the scaling into its initialisation
      keyMask,
      relativeBias,
    });
    return linear(out.reshape([length, num_heads * d_kv]), weights.get('o.weight'));
  }

  /** wo(gelu(wi_0 x) * wi_1 x) of an already normalised input. */
  feedForward(index: number, x: Tensor): Tensor {
    const weights = this.#weights.at(`encoder.block.${index}.layer.1.DenseReluDense`);
    const gated = mul(geluTanh(linear(x, weights.get('wi_0.weight'))), linear(x, weights.get('wi_1.weight')));
    return linear(gated, weights.get('wo.weight'));
  }

  dispose(): void {
    this.#weights.dispose();
  }
}
