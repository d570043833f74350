// The transformer that the ViTVAE's encoder and decoder share: class token, position embedding, blocks, norm.
import { add, attention, concat, geluErf, narrow, qkNorm, resizeTrilinear } from '@magi1/kernels';
import { elementCount, sameShape } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { LayerNorm, Linear, Module, runBlocks, runStage } from '../nn/index.ts';
import type { Params, RunOptions } from '../nn/index.ts';
import { nativeGrid } from './config.ts';
import type { VaeConfig } from './config.ts';

export const NORM = { eps: 1e-5 };
/** Added to the standard deviation, not under the root. */
const IN_ATTENTION_EPS = 1e-5;

/** A batch of token grids. Rows of a token tensor are ordered batch, then (class token,) t, h, w. */
export interface TokenGrid {
  readonly batch: number;
  readonly grid: readonly [t: number, h: number, w: number];
}

export class VaeTransformer extends Module {
  readonly config: VaeConfig;
  readonly #blockParams: Params;
  readonly cls_token: Tensor | undefined;
  readonly pos_embed: Tensor;
  readonly blocks: readonly Block[];
  readonly norm: LayerNorm;

  constructor(p: Params, config: VaeConfig) {
    super(p);
    const { embed_dim: width, with_cls_token, depth } = config;
    this.config = config;
    if (with_cls_token) this.cls_token = p.vector('cls_token', [1, 1, width]);
    this.pos_embed = p.vector('pos_embed', [1, elementCount(nativeGrid(config)) + (with_cls_token ? 1 : 0), width]);
    this.#blockParams = p.at('blocks');
    this.blocks = Array.from({ length: depth }, (_, i) => new Block(this.#blockParams.at(i), config));
    this.norm = new LayerNorm(p.at('norm'), width, NORM);
  }

  /** Patch features [batch * n, width] -> normalised features of the same shape; `tokens` is freed. */
  async forward(tokens: Tensor, shape: TokenGrid, options: RunOptions): Promise<Tensor> {
    let x = await runStage(tokens, (patches) => this.embed(patches, shape), options);
    x = await runBlocks(this.#blockParams, this.blocks, x, (block, h) => block.forward(h, shape.batch), options);
    x = await runStage(x, (h) => this.norm.forward(h), options);
    return this.cls_token === undefined ? x : runStage(x, (h) => dropClassToken(h, shape.batch), options);
  }

  /** Tokens with their class token, where there is one, and positions. */
  embed(patches: Tensor, { batch, grid }: TokenGrid): Tensor {
    const width = this.config.embed_dim;
    const position = this.#positions(grid);
    let x = patches.reshape([batch, -1, width]);
    if (this.cls_token !== undefined) x = concat([repeated(this.cls_token, batch, 0), x], 1);
    return add(x, position).reshape([-1, width]);
  }

  /** [1, n, width] for a grid: the stored one, or its grid part resized. */
  #positions(grid: TokenGrid['grid']): Tensor {
    const native = nativeGrid(this.config);
    if (sameShape(native, grid)) return this.pos_embed;
    const width = this.config.embed_dim;
    const rows = this.pos_embed.reshape([-1, width]);
    const skipped = this.cls_token === undefined ? 0 : 1;
    const resized = resizeTrilinear(rows.slice(skipped, rows.shape[0]!).reshape([...native, width]), { size: grid });
    const flat = resized.reshape([-1, width]);
    return (skipped > 0 ? concat([rows.slice(0, skipped), flat], 0) : flat).reshape([1, -1, width]);
  }
}

class Block extends Module {
  /** With ln_in_attn there is none. */
  readonly norm1: LayerNorm | undefined;
  readonly attn: Attention;
  readonly norm2: LayerNorm;
  readonly mlp: Mlp;

  constructor(p: Params, config: VaeConfig) {
    super(p);
    if (!config.ln_in_attn) this.norm1 = new LayerNorm(p.at('norm1'), config.embed_dim, NORM);
    this.attn = new Attention(p.at('attn'), config);
    this.norm2 = new LayerNorm(p.at('norm2'), config.embed_dim, NORM);
    this.mlp = new Mlp(p.at('mlp'), config);
  }

  /** x [batch * n, width], n counting the class token. */
  forward(x: Tensor, batch: number): Tensor {
    const h = add(x, this.attn.forward(this.norm1?.forward(x) ?? x, batch));
    return add(h, this.mlp.forward(this.norm2.forward(h)));
  }
}

/** Full attention within each of `batch` sequences. */
class Attention extends Module {
  readonly #config: VaeConfig;
  /** Its outputs are [3, heads, head_dim]. */
  readonly qkv: Linear;
  readonly proj: Linear;

  constructor(p: Params, config: VaeConfig) {
    super(p);
    const { embed_dim: width, qkv_bias: bias } = config;
    this.#config = config;
    this.qkv = Linear.at(p.at('qkv'), 3 * width, width, { bias });
    this.proj = Linear.at(p.at('proj'), width, width);
  }

  forward(x: Tensor, batch: number): Tensor {
    const { embed_dim: width, num_heads, ln_in_attn } = this.#config;
    const [rows, headDim] = [x.shape[0]!, width / num_heads];
    const [q, k, v] = [0, 1, 2].map((part) => {
      const heads = this.qkv.forward(x, [part * width, (part + 1) * width]).reshape([rows, num_heads, headDim]);
      return ln_in_attn ? qkNorm(heads, { kind: 'std', eps: IN_ATTENTION_EPS }) : heads;
    }) as [Tensor, Tensor, Tensor];
    const length = rows / batch;
    const blocks = Array.from({ length: batch }, (_, b) => {
      const range = [b * length, (b + 1) * length] as const;
      return { q: range, k: range };
    });
    const out = attention(q, k, v, { blocks, scale: 1 / Math.sqrt(headDim) });
    return this.proj.forward(out.reshape([rows, width]));
  }
}

class Mlp extends Module {
  readonly fc1: Linear;
  readonly fc2: Linear;

  constructor(p: Params, { embed_dim: width, mlp_ratio }: VaeConfig) {
    super(p);
    const hidden = Math.floor(width * mlp_ratio);
    this.fc1 = Linear.at(p.at('fc1'), hidden, width);
    this.fc2 = Linear.at(p.at('fc2'), width, hidden);
  }

  forward(x: Tensor): Tensor {
    return this.fc2.forward(geluErf(this.fc1.forward(x)));
  }
}

/** A tensor `count` times along an axis. */
export function repeated(x: Tensor, count: number, axis: number): Tensor {
  if (count === 1) return x;
  return concat(
    Array.from({ length: count }, () => x),
    axis,
  );
}

function dropClassToken(x: Tensor, batch: number): Tensor {
  if (batch === 1) return x.slice(1, x.shape[0]!);
  const perBatch = x.reshape([batch, -1, x.shape[1]!]);
  return narrow(perBatch, 1, 1, perBatch.shape[1]! - 1).reshape([-1, x.shape[1]!]);
}
