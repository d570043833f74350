// Self and cross attention side by side on one norm, joined by one projection.
import { attention, concat, narrow, rope } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import type { ModelConfig } from '../config/index.ts';
import { HeadNorm, LayerNorm, Linear, Module, overTiles, rowTiles } from '../nn/index.ts';
import type { Params } from '../nn/index.ts';
import { outputRows, outputTiles, rowsOf } from './block-context.ts';
import type { BlockContext, OutputTile, TokenRange } from './block-context.ts';
import type { CachedRing } from './kv-cache.ts';

/** In `linear_proj`'s input, self and cross attention alternate in this many slices of the heads, whatever their count. */
const PROJ_SLICES = 8;

/** Keys and values [tokens or text rows, groups, head_dim], after norm and rope. */
export interface AttentionSources {
  readonly k: Tensor;
  readonly v: Tensor;
  /** In front of them. */
  readonly cached: CachedRing | undefined;
  readonly kx: Tensor;
  readonly vx: Tensor;
}

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

  /** h [tokens, width] -> [output tokens, width], all at once. */
  forward(h: Tensor, context: BlockContext): Tensor {
    return scope(() => {
      const n = this.linear_qkv.layer_norm.forward(h);
      const untiled = { ...context, tileTokens: Infinity };
      const sources = this.sources(() => n, untiled);
      const branch = this.attend(outputRows(n, context), sources, outputTiles(untiled)[0]!, context);
      this.store(sources, context);
      return branch;
    });
  }

  /** What queries attend to: keys and values of all tokens and of the text. `normed` gives rows of the normed input. */
  sources(normed: (rows: TokenRange) => Tensor, context: BlockContext): AttentionSources {
    const { cos, sin, cache, cached, tileTokens, text } = context;
    const { num_query_groups: groups, kv_channels } = this.#model;
    const shape = [groups, kv_channels];
    const tiles = rowTiles([0, cos.shape[0]!], tileTokens);
    const [k, v] = overTiles(cos.device, tiles, [shape, shape], (rows) => {
      const n = normed(rows);
      return [scope(() => this.k(n, rowsOf(cos, rows), rowsOf(sin, rows))), this.v(n)];
    });
    const [kx, vx] = scope(() => {
      // Rows are laid out per group as [k | v].
      const kv = this.linear_kv_xattn.forward(text).reshape([-1, groups, 2 * kv_channels]);
      return [this.kx(kv), this.vx(kv)];
    });
    return { k: k!, v: v!, cached: cache?.ring(this.#layer, cached.first, cached.end), kx: kx, vx: vx };
  }

  /** Normed tokens of a tile [rows, width] -> [rows, width]. */
  attend(n: Tensor, sources: AttentionSources, tile: OutputTile, context: BlockContext): Tensor {
    return scope(() => this.linear_proj.forward(scope(() => this.both(n, sources, tile, context))));
  }

  /** What `linear_proj` reads: [rows, 2 x heads x head_dim]. */
  both(n: Tensor, sources: AttentionSources, tile: OutputTile, context: BlockContext): Tensor {
    const self = scope(() => this.self(n, sources, tile, context));
    const cross = scope(() => this.cross(n, sources, tile, context));
    // "(n hn hd) -> (hn n hd)", n = self, cross: the two alternate in slices of the heads.
    const slices = (x: Tensor) => x.reshape([x.shape[0]!, PROJ_SLICES, -1]);
    return concat([slices(self), slices(cross)], 2).reshape([n.shape[0]!, -1]);
  }

  self(n: Tensor, { k, v, cached }: AttentionSources, tile: OutputTile, { cos, sin, keys }: BlockContext): Tensor {
    const q = scope(() => this.q(n, rowsOf(cos, tile.rows), rowsOf(sin, tile.rows)));
    return attention(q, k, v, { blocks: perChunk(keys, tile), scale: this.#scale, cached });
  }

  cross(n: Tensor, { kx, vx }: AttentionSources, tile: OutputTile, { textRows }: BlockContext): Tensor {
    const qx = scope(() => this.qx(n));
    return attention(qx, kx, vx, { blocks: perChunk(textRows, tile), scale: this.#scale });
  }

  /** Keys and values of chunks that are to be kept go to the cache: last, as they may take the place of what was read. */
  store({ k, v }: AttentionSources, { cache, writes, tokensPerChunk }: BlockContext): void {
    for (const { position, chunk } of writes) {
      const rows = [position * tokensPerChunk, (position + 1) * tokensPerChunk] as const;
      cache!.write(this.#layer, chunk, k.slice(...rows), v.slice(...rows));
    }
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

/** Which keys the queries of each of a tile's chunks see, of the ranges of all chunks. */
function perChunk(keys: readonly TokenRange[], { rows, chunks }: OutputTile): { q: TokenRange; k: TokenRange }[] {
  const each = (rows[1] - rows[0]) / (chunks[1] - chunks[0]);
  return keys.slice(...chunks).map((range, i) => ({ q: [i * each, (i + 1) * each], k: range }));
}
