// The transformer that the ViTVAE's encoder and decoder share: class token, position embedding, blocks, norm.
import { add, attention, concat, geluErf, layerNorm, linear, narrow, qkNorm, resizeTrilinear } from '@magi1/kernels';
import { sameShape } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { runStage } from '../run-options.ts';
import type { RunOptions } from '../run-options.ts';
import type { Weights } from '../weights.ts';
import { nativeGrid } from './config.ts';
import type { VaeConfig } from './config.ts';

const NORM_EPS = 1e-5;
/** Added to the standard deviation, not under the root. */
const IN_ATTENTION_EPS = 1e-5;

/** A batch of token grids. Rows of a token tensor are ordered batch, then (class token,) t, h, w. */
export interface TokenGrid {
  readonly batch: number;
  readonly grid: readonly [t: number, h: number, w: number];
}

export class VaeTransformer {
  readonly #config: VaeConfig;
  readonly #weights: Weights;

  constructor(config: VaeConfig, weights: Weights) {
    this.#config = config;
    this.#weights = weights;
  }

  /** Patch features [batch * n, width] -> normalised features of the same shape; `tokens` is freed. */
  async forward(tokens: Tensor, shape: TokenGrid, options: RunOptions): Promise<Tensor> {
    let x = await runStage(tokens, (patches) => this.#embed(patches, shape), options);
    options.tap?.('blocks_input', x);
    for (let i = 0; i < this.#config.depth; i++) {
      x = await runStage(x, (h) => this.block(i, h, shape.batch), options);
      options.tap?.(`blocks.${i}`, x);
    }
    x = await runStage(x, (h) => this.#norm('norm', h), options);
    options.tap?.('norm', x);
    return this.#config.with_cls_token ? runStage(x, (h) => this.#dropClassToken(h, shape.batch), options) : x;
  }

  /** x [batch * n, width], n counting the class token. */
  block(index: number, x: Tensor, batch: number): Tensor {
    const h = add(x, this.attention(index, x, batch));
    return add(h, this.mlp(index, h));
  }

  /** attn(norm1(h)): full attention within each of `batch` sequences. With ln_in_attn there is no norm1. */
  attention(index: number, h: Tensor, batch: number): Tensor {
    const x = this.#config.ln_in_attn ? h : this.#norm(`blocks.${index}.norm1`, h);
    const { embed_dim, num_heads, ln_in_attn } = this.#config;
    const weights = this.#weights.at(`blocks.${index}.attn`);
    const [rows, headDim] = [x.shape[0]!, embed_dim / num_heads];
    // qkv rows are [3, heads, head_dim]: three Linears over row ranges of one weight.
    const [q, k, v] = [0, 1, 2].map((part) => {
      const bias = weights.find('qkv.bias')?.slice(part * embed_dim, (part + 1) * embed_dim);
      const weight = weights.get('qkv.weight').slice(part * embed_dim, (part + 1) * embed_dim);
      const heads = linear(x, weight, bias ? { bias } : {}).reshape([rows, num_heads, headDim]);
      return ln_in_attn ? qkNorm(heads, { kind: 'std', eps: IN_ATTENTION_EPS }) : heads;
    }) as [Tensor, Tensor, Tensor];
    const length = rows / batch;
    const blocks = Array.from({ length: batch }, (_, b) => {
      const range = [b * length, (b + 1) * length] as const;
      return { q: range, k: range };
    });
    const out = attention(q, k, v, { blocks, scale: 1 / Math.sqrt(headDim) }).reshape([rows, embed_dim]);
    return linear(out, weights.get('proj.weight'), { bias: weights.get('proj.bias') });
  }

  /** mlp(norm2(h)). */
  mlp(index: number, h: Tensor): Tensor {
    const x = this.#norm(`blocks.${index}.norm2`, h);
    const weights = this.#weights.at(`blocks.${index}.mlp`);
    const hidden = geluErf(linear(x, weights.get('fc1.weight'), { bias: weights.get('fc1.bias') }));
    return linear(hidden, weights.get('fc2.weight'), { bias: weights.get('fc2.bias') });
  }

  #norm(name: string, x: Tensor): Tensor {
    const weights = this.#weights.at(name);
    return layerNorm(x, { weight: weights.get('weight'), bias: weights.get('bias'), eps: NORM_EPS });
  }

  #embed(patches: Tensor, { batch, grid }: TokenGrid): Tensor {
    const width = this.#config.embed_dim;
    const position = this.#positionEmbedding(grid);
    let x = patches.reshape([batch, -1, width]);
    const classToken = this.#weights.find('cls_token');
    if (classToken !== undefined) {
      const perBatch =
        batch === 1
          ? classToken
          : concat(
              Array.from({ length: batch }, () => classToken),
              0,
            );
      x = concat([perBatch, x], 1);
    }
    return add(x, position).reshape([-1, width]);
  }

  /** [1, n, width] for a grid: the stored one, or its grid part resized. */
  #positionEmbedding(grid: TokenGrid['grid']): Tensor {
    const stored = this.#weights.get('pos_embed');
    const native = nativeGrid(this.#config);
    if (sameShape(native, grid)) return stored;
    const width = this.#config.embed_dim;
    const rows = stored.reshape([-1, width]);
    const skipped = this.#config.with_cls_token ? 1 : 0;
    const resized = resizeTrilinear(rows.slice(skipped, rows.shape[0]!).reshape([...native, width]), { size: grid });
    const flat = resized.reshape([-1, width]);
    return (skipped > 0 ? concat([rows.slice(0, skipped), flat], 0) : flat).reshape([1, -1, width]);
  }

  #dropClassToken(x: Tensor, batch: number): Tensor {
    const width = this.#config.embed_dim;
    const perBatch = x.reshape([batch, -1, width]);
    const length = perBatch.shape[1]!;
    if (batch === 1) return x.slice(1, length);
    return narrow(perBatch, 1, 1, length - 1).reshape([-1, width]);
  }
}
