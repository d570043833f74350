// T5 v1.1 encoder: pre-norm blocks, RMS norms, unscaled attention with one shared relative bias, gated GELU.
import { add, attention, geluTanh, mul } from '@magi1/kernels';
import { Magi1Error } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { HostValues, Linear, Module, RmsNorm, StoredEmbedding, runBlocks, runStage } from '../nn/index.ts';
import type { NetworkDefinition, Params, RunOptions } from '../nn/index.ts';
import type { T5Config } from './config.ts';
import { relativeBiasTable } from './relative-position.ts';

/** Path of the blocks. */
const BLOCKS = 'encoder.block';

/** What all blocks share in one forward. */
interface AttentionContext {
  readonly relativeBias: Tensor; // [heads, 2 length - 1]
  readonly keyMask: Tensor; // i32 [length]
}

export class T5Encoder extends Module {
  readonly config: T5Config;
  readonly params: Params;
  readonly shared: StoredEmbedding;
  readonly block: readonly Block[];
  readonly final_layer_norm: RmsNorm;
  /** The bias per bucket and head, [buckets, heads], held by the first block for all of them. */
  readonly #relativeBias: HostValues;

  constructor(p: Params, config: T5Config) {
    super(p);
    this.config = config;
    this.params = p;
    this.shared = new StoredEmbedding(p.at('shared'), config.vocab_size, config.d_model);
    const blocks = p.at(BLOCKS);
    this.block = Array.from({ length: config.num_layers }, (_, i) => new Block(blocks.at(i), config));
    const bias = blocks.at('0.layer.0.SelfAttention.relative_attention_bias');
    this.#relativeBias = new HostValues(
      bias.vector('weight', [config.relative_attention_num_buckets, config.num_heads]),
    );
    this.final_layer_norm = new RmsNorm(p.at('encoder.final_layer_norm'), config.d_model, norm(config));
  }

  /**
   * Token ids and mask (1 = valid) of one text -> last hidden state f32 [length, d_model]. Rows at masked positions
   * are ordinary values. Masked keys are seen by no row, so a caller may cut both arrays to the valid tokens.
   */
  async encode(ids: Int32Array, mask: Int32Array, options: RunOptions = {}): Promise<Tensor> {
    if (ids.length === 0 || ids.length !== mask.length) {
      throw new Magi1Error(`T5: ids and mask must have one length above 0, got ${ids.length} and ${mask.length}`);
    }
    const { device } = this.params;
    using relativeBias = await this.relativeBias(mask.length);
    using keyMask = device.tensor(mask, [mask.length], 'i32');
    const context = { relativeBias, keyMask };
    const embedded = await this.shared.forward(ids);
    const through = (block: Block, x: Tensor) => block.forward(x, context);
    const hidden = await runBlocks(this.params.at(BLOCKS), this.block, embedded, through, options);
    return await runStage(hidden, (x) => this.final_layer_norm.forward(x), options);
  }

  /** The bias by distance for texts of one length, f32 [heads, 2 length - 1]; the caller disposes it. */
  async relativeBias(length: number): Promise<Tensor> {
    const { num_heads, relative_attention_num_buckets, relative_attention_max_distance } = this.config;
    const table = relativeBiasTable(
      await this.#relativeBias.read(),
      num_heads,
      length,
      relative_attention_num_buckets,
      relative_attention_max_distance,
    );
    return this.params.device.tensor(table, [num_heads, 2 * length - 1], 'f32');
  }

  dispose(): void {
    this.params.dispose();
  }
}

const norm = ({ layer_norm_epsilon: eps }: T5Config) => ({ eps });

class Block extends Module {
  readonly layer: readonly [SelfAttentionLayer, FeedForwardLayer];

  constructor(p: Params, config: T5Config) {
    super(p);
    this.layer = [new SelfAttentionLayer(p.at('layer.0'), config), new FeedForwardLayer(p.at('layer.1'), config)];
  }

  /** x [length, d_model] -> [length, d_model]. */
  forward(x: Tensor, context: AttentionContext): Tensor {
    const [attention, feedForward] = this.layer;
    return feedForward.forward(attention.forward(x, context));
  }
}

class SelfAttentionLayer extends Module {
  readonly layer_norm: RmsNorm;
  readonly SelfAttention: SelfAttention;

  constructor(p: Params, config: T5Config) {
    super(p);
    this.layer_norm = new RmsNorm(p.at('layer_norm'), config.d_model, norm(config));
    this.SelfAttention = new SelfAttention(p.at('SelfAttention'), config);
  }

  forward(x: Tensor, context: AttentionContext): Tensor {
    return add(x, this.SelfAttention.forward(this.layer_norm.forward(x), context));
  }
}

class SelfAttention extends Module {
  readonly #config: T5Config;
  readonly q: Linear;
  readonly k: Linear;
  readonly v: Linear;
  readonly o: Linear;

  constructor(p: Params, config: T5Config) {
    super(p);
    const inner = config.num_heads * config.d_kv;
    this.#config = config;
    this.q = Linear.at(p.at('q'), inner, config.d_model, { bias: false });
    this.k = Linear.at(p.at('k'), inner, config.d_model, { bias: false });
    this.v = Linear.at(p.at('v'), inner, config.d_model, { bias: false });
    this.o = Linear.at(p.at('o'), config.d_model, inner, { bias: false });
  }

  forward(x: Tensor, { relativeBias, keyMask }: AttentionContext): Tensor {
    const { num_heads, d_kv } = this.#config;
    const length = x.shape[0]!;
    const heads = (projection: Linear) => projection.forward(x).reshape([length, num_heads, d_kv]);
    const out = attention(heads(this.q), heads(this.k), heads(this.v), {
      blocks: [{ q: [0, length], k: [0, length] }],
      scale: 1, // T5 folds the scaling into its initialisation
      keyMask,
      relativeBias,
    });
    return this.o.forward(out.reshape([length, num_heads * d_kv]));
  }
}

class FeedForwardLayer extends Module {
  readonly layer_norm: RmsNorm;
  readonly DenseReluDense: GatedDense;

  constructor(p: Params, config: T5Config) {
    super(p);
    this.DenseReluDense = new GatedDense(p.at('DenseReluDense'), config);
    this.layer_norm = new RmsNorm(p.at('layer_norm'), config.d_model, norm(config));
  }

  forward(h: Tensor): Tensor {
    return add(h, this.DenseReluDense.forward(this.layer_norm.forward(h)));
  }
}

/** wo(gelu(wi_0 x) * wi_1 x). */
class GatedDense extends Module {
  readonly wi_0: Linear;
  readonly wi_1: Linear;
  readonly wo: Linear;

  constructor(p: Params, { d_model, d_ff }: T5Config) {
    super(p);
    this.wi_0 = Linear.at(p.at('wi_0'), d_ff, d_model, { bias: false });
    this.wi_1 = Linear.at(p.at('wi_1'), d_ff, d_model, { bias: false });
    this.wo = Linear.at(p.at('wo'), d_model, d_ff, { bias: false });
  }

  forward(x: Tensor): Tensor {
    return this.wo.forward(mul(geluTanh(this.wi_0.forward(x)), this.wi_1.forward(x)));
  }
}

/**
 * The encoder of a T5 file. Its embedding is tied: files hold `shared.weight`, `encoder.embed_tokens.weight` or both for
 * the same storage. A whole T5 model's decoder and head are left out.
 */
export const t5Network = (config: T5Config): NetworkDefinition<T5Encoder> => ({
  build: (p) => new T5Encoder(p, config),
  names: () => ({
    rename(name, all) {
      if (name.startsWith('decoder.') || name.startsWith('lm_head.')) return undefined;
      if (name === 'encoder.embed_tokens.weight') return all.has('shared.weight') ? undefined : 'shared.weight';
      return name;
    },
  }),
  blocks: [BLOCKS],
});
