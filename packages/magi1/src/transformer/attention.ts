// Self and cross attention side by side on one norm, joined by one projection.
import { attention, concat, narrow, rope } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import type { ModelConfig } from '../config/index.ts';
import { HeadNorm, LayerNorm, Linear, Module } from '../nn/index.ts';
import type { Params } from '../nn/index.ts';
import { outputRows } from './block-context.ts';
import type { BlockContext, TokenRange } from './block-context.ts';

/** In `linear_proj`'s input, self and cross attention alternate in this many slices of the heads, whatever their count. */
const PROJ_SLICES = 8;

export class SelfAttention extends Module {
  readonly #model: ModelConfig;
  readonly #layer: number;
  readonly linear_qkv: { readonly layer_norm: LayerNorm } & Readonly<Record<'q' | 'qx' | 'k' | 'v', Linear>>;
  readonly linear_kv_xattn: Linear;
  readonly linear_proj: Linear;
  readonly q_layernorm: HeadNorm;
  readonly k_layernorm: HeadNorm;
  readonly q_layernorm_xattn: HeadNorm;
  readonly k_layernorm_xattn: HeadNorm;

  /** @param layer of the key-value cache */
  constructor(p: Params, model: ModelConfig, layer: number, quantized: boolean) {
    super(p);
    this.#model = model;
    this.#layer = layer;
    const { hidden_size: width, kv_channels, layernorm_epsilon: eps, apply_layernorm_1p: onePlusWeight } = model;
    const [inner, shared] = [model.num_attention_heads * kv_channels, model.num_query_groups * kv_channels];
    const qkv = p.at('linear_qkv');
    const project = (name: string, outputs: number) =>
      Linear.at(qkv.at(name), outputs, width, { bias: false, fp8: quantized ? 'tensor' : undefined });
    this.linear_qkv = {
      layer_norm: new LayerNorm(qkv.at('layer_norm'), width, { eps }),
      q: project('q', inner),
      qx: project('qx', inner),
      k: project('k', shared),
      v: project('v', shared),
    };
    const text = Math.trunc(width * model.xattn_cond_hidden_ratio);
    this.linear_kv_xattn = Linear.at(p.at('linear_kv_xattn'), 2 * shared, text, { bias: false });
    const fp8 = quantized ? 'channel' : undefined;
    this.linear_proj = Linear.at(p.at('linear_proj'), width, 2 * inner, { bias: false, fp8 });
    const headNorm = (name: string) => new HeadNorm(p.at(name), kv_channels, { eps, onePlusWeight });
    this.q_layernorm = headNorm('q_layernorm');
    this.k_layernorm = headNorm('k_layernorm');
    this.q_layernorm_xattn = headNorm('q_layernorm_xattn');
    this.k_layernorm_xattn = headNorm('k_layernorm_xattn');
  }

  /** h [tokens, width] -> [output tokens, width]. */
  forward(h: Tensor, context: BlockContext): Tensor {
    return scope(() => this.linear_proj.forward(scope(() => this.both(h, context))));
  }

  /** What `linear_proj` reads: [output tokens, 2 x heads x head_dim]. */
  both(h: Tensor, context: BlockContext): Tensor {
    const n = this.linear_qkv.layer_norm.forward(h);
    const queries = outputRows(n, context);
    const self = scope(() => this.self(n, queries, context));
    const cross = scope(() => this.cross(queries, context));
    // "(n hn hd) -> (hn n hd)", n = self, cross: the two alternate in slices of the heads.
    const slices = (x: Tensor) => x.reshape([x.shape[0]!, PROJ_SLICES, -1]);
    return concat([slices(self), slices(cross)], 2).reshape([queries.shape[0]!, -1]);
  }

  self(n: Tensor, queries: Tensor, context: BlockContext): Tensor {
    const { cos, sin, tokensPerChunk } = context;
    const q = scope(() => this.q(queries, outputRows(cos, context), outputRows(sin, context)));
    const k = scope(() => this.k(n, cos, sin));
    const v = this.v(n);
    const { cache, cached: chunks } = context;
    const cached = cache?.ring(this.#layer, chunks.first, chunks.end);
    const y = attention(q, k, v, { blocks: perChunk(context.keys, tokensPerChunk), scale: this.#scale, cached });
    // Only now: what is written may take the place of what was read.
    for (const { position, chunk } of context.writes) {
      const rows = chunkRows(position, tokensPerChunk);
      cache!.write(this.#layer, chunk, k.slice(...rows), v.slice(...rows));
    }
    return y;
  }

  cross(queries: Tensor, { text, textRows, tokensPerChunk }: BlockContext): Tensor {
    const { num_query_groups: groups, kv_channels } = this.#model;
    const qx = scope(() => this.qx(queries));
    // Rows are laid out per group as [k | v].
    const kv = this.linear_kv_xattn.forward(text).reshape([-1, groups, 2 * kv_channels]);
    const kx = this.kx(kv);
    const vx = this.vx(kv);
    return attention(qx, kx, vx, { blocks: perChunk(textRows, tokensPerChunk), scale: this.#scale });
  }

  q(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
    return rope(this.q_layernorm.forward(this.#heads(this.linear_qkv.q.forward(x))), cos, sin);
  }
  k(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
    return rope(this.k_layernorm.forward(this.#heads(this.linear_qkv.k.forward(x))), cos, sin);
  }
  v(x: Tensor): Tensor {
    return this.#heads(this.linear_qkv.v.forward(x));
  }
  qx(x: Tensor): Tensor {
    return this.q_layernorm_xattn.forward(this.#heads(this.linear_qkv.qx.forward(x)));
  }
  kx(kv: Tensor): Tensor {
    return this.k_layernorm_xattn.forward(narrow(kv, 2, 0, this.#model.kv_channels));
  }
  vx(kv: Tensor): Tensor {
    return narrow(kv, 2, this.#model.kv_channels, this.#model.kv_channels);
  }

  get #scale(): number {
    return 1 / Math.sqrt(this.#model.kv_channels);
  }

  #heads(x: Tensor): Tensor {
    return x.reshape([x.shape[0]!, -1, this.#model.kv_channels]);
  }
}

/** Which keys the queries of each chunk see. */
function perChunk(keys: readonly TokenRange[], tokensPerChunk: number): { q: TokenRange; k: TokenRange }[] {
  return keys.map((range, chunk) => ({ q: chunkRows(chunk, tokensPerChunk), k: range }));
}

function chunkRows(chunk: number, tokensPerChunk: number): TokenRange {
  return [chunk * tokensPerChunk, (chunk + 1) * tokensPerChunk];
}
