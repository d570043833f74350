// One transformer block: self and cross attention side by side on one norm, then the MLP; each branch is gated, normed
// and added. Scopes free what each step has made for itself before the next begins: memory.ts counts on it.
import {
  attention,
  concat,
  gatedResidual,
  geluErf,
  layerNorm,
  narrow,
  qkNorm,
  rope,
  silu,
  swiglu,
  tanh,
} from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import type { ModelConfig } from '../config/index.ts';
import type { RunOptions } from '../run-options.ts';
import type { Weights } from '../weights.ts';
import type { KvCache } from './kv-cache.ts';
import { project } from './projection.ts';
import { PROJ_SLICES } from './weights.ts';

export type TokenRange = readonly [start: number, end: number];

/** What all blocks of one forward share. Tokens are ordered by chunk, equally many in each. */
export interface BlockContext {
  readonly tokensPerChunk: number;
  readonly cos: Tensor; // [tokens, R]
  readonly sin: Tensor;
  readonly condition: Tensor; // [chunks, condition width]
  readonly text: Tensor; // caption readings, packed [text rows, width]
  /** Per chunk: keys it sees on [cached | current], and rows of `text`. */
  readonly keys: readonly TokenRange[];
  readonly textRows: readonly TokenRange[];
  readonly cache: KvCache | undefined;
  /** Cached chunks in front of the key axis. */
  readonly cached: { readonly first: number; readonly end: number };
  /** Positions of this forward whose keys and values are kept, under which chunk. */
  readonly writes: readonly { readonly position: number; readonly chunk: number }[];
  readonly tap: RunOptions['tap'];
}

export class TransformerBlock {
  readonly #model: ModelConfig;
  readonly #weights: Weights;
  readonly #index: number;

  constructor(model: ModelConfig, weights: Weights, index: number) {
    this.#model = model;
    this.#weights = weights.at(`videodit_blocks.layers.${index}`);
    this.#index = index;
  }

  /**
   * h [tokens, width] -> the same for the tokens of chunks from `firstOutput` on; chunks before it only lend their keys
   * and values. The last block of a forward need not compute what nobody reads.
   */
  forward(h: Tensor, context: BlockContext, firstOutput = 0): Tensor {
    const skipped = firstOutput * context.tokensPerChunk;
    const rows = (x: Tensor) => (skipped === 0 ? x : x.slice(skipped, x.shape[0]!));
    const [attentionGate, mlpGate] = scope(() => this.gates(context, firstOutput));
    const attended = scope(() => {
      const branch = this.attention(h, context, firstOutput);
      return this.#addBranch(rows(h), branch, attentionGate, 'self_attn_post_norm', context);
    });
    this.#tap(context, 'after_attn', attended);
    const out = this.#addBranch(attended, this.mlp(attended, context), mlpGate, 'mlp_post_norm', context);
    this.#tap(context, 'out', out);
    return out;
  }

  /** linear_proj of self and cross attention: h [tokens, width] -> [output tokens, width]. */
  attention(h: Tensor, context: BlockContext, firstOutput = 0): Tensor {
    return scope(() => {
      const joined = scope(() => this.#bothAttentions(h, context, firstOutput));
      const out = project(joined, this.#weights.at('self_attention.linear_proj'));
      this.#tap(context, 'attn_proj', out);
      return out;
    });
  }

  /** tanh gates of the attention and MLP branches, [output chunks, width] each. */
  gates({ condition, tap }: BlockContext, firstOutput = 0): [Tensor, Tensor] {
    const weights = this.#weights.at('ada_modulate_layer.proj.0');
    const chunks = condition.slice(firstOutput, condition.shape[0]!);
    const ada = project(silu(chunks), weights);
    tap?.(`layer${this.#index}.ada`, ada);
    const gate = tanh(ada);
    tap?.(`layer${this.#index}.gate`, gate);
    const width = this.#model.hidden_size;
    return [narrow(gate, 1, 0, width), narrow(gate, 1, width, width)];
  }

  /** mlp.layer_norm, fc1, GELU or SwiGLU, fc2. */
  mlp(h: Tensor, context: BlockContext): Tensor {
    const weights = this.#weights.at('mlp');
    return scope(() => {
      const hidden = scope(() => project(this.#layerNorm(h, weights.at('layer_norm')), weights.at('linear_fc1')));
      const activated = this.#model.gated_linear_unit ? swiglu(hidden) : geluErf(hidden);
      hidden.dispose();
      const out = project(activated, weights.at('linear_fc2'));
      this.#tap(context, 'mlp', out);
      return out;
    });
  }

  /** Self and cross attention of one norm, as linear_proj reads them: [output tokens, 2 x heads x head_dim]. */
  #bothAttentions(h: Tensor, context: BlockContext, firstOutput: number): Tensor {
    const n = this.#layerNorm(h, this.#weights.at('self_attention.linear_qkv.layer_norm'));
    this.#tap(context, 'qkv_ln', n);
    const skipped = firstOutput * context.tokensPerChunk;
    const queries = skipped === 0 ? n : n.slice(skipped, n.shape[0]!);
    const self = scope(() => this.#selfAttention(n, queries, context, firstOutput));
    const cross = scope(() => this.#crossAttention(queries, context, firstOutput));
    // "(n hn hd) -> (hn n hd)", n = self, cross: the two alternate in slices of the heads.
    const slices = (x: Tensor) => x.reshape([x.shape[0]!, PROJ_SLICES, -1]);
    return concat([slices(self), slices(cross)], 2).reshape([queries.shape[0]!, -1]);
  }

  #selfAttention(n: Tensor, queries: Tensor, context: BlockContext, firstOutput: number): Tensor {
    const weights = this.#weights.at('self_attention.linear_qkv');
    const { num_attention_heads: heads, num_query_groups: groups } = this.#model;
    const { tokensPerChunk, cache, cached } = context;
    const skipped = firstOutput * tokensPerChunk;
    const tables = (first: number) => [context.cos, context.sin].map((table) => table.slice(first, table.shape[0]!));
    const [cosQ, sinQ] = tables(skipped) as [Tensor, Tensor];
    const q = scope(() =>
      rope(this.#headNorm(this.#heads(project(queries, weights.at('q')), heads), 'q_layernorm'), cosQ, sinQ),
    );
    const k = scope(() =>
      rope(this.#headNorm(this.#heads(project(n, weights.at('k')), groups), 'k_layernorm'), context.cos, context.sin),
    );
    const v = this.#heads(project(n, weights.at('v')), groups);
    this.#tap(context, 'q', q);
    this.#tap(context, 'k', k);
    this.#tap(context, 'v', v);
    const all = cache ? cache.joined(this.#index, cached.first, cached.end, k, v) : { k, v };
    this.#tap(context, 'keys', all.k);
    this.#tap(context, 'values', all.v);
    for (const { position, chunk } of context.writes) {
      const range = [position * tokensPerChunk, (position + 1) * tokensPerChunk] as const;
      cache!.write(this.#index, chunk, k.slice(...range), v.slice(...range));
    }
    const blocks = context.keys.slice(firstOutput).map((keys, i) => ({ q: chunkRows(i, tokensPerChunk), k: keys }));
    const out = attention(q, all.k, all.v, { blocks, scale: this.#scale });
    this.#tap(context, 'core_attn', out);
    return out;
  }

  #crossAttention(queries: Tensor, context: BlockContext, firstOutput: number): Tensor {
    const weights = this.#weights.at('self_attention');
    const { num_attention_heads: heads, num_query_groups: groups, kv_channels } = this.#model;
    const qx = scope(() =>
      this.#headNorm(this.#heads(project(queries, weights.at('linear_qkv.qx')), heads), 'q_layernorm_xattn'),
    );
    // Rows are laid out per group as [k | v].
    const kv = project(context.text, weights.at('linear_kv_xattn')).reshape([-1, groups, 2 * kv_channels]);
    const kx = this.#headNorm(narrow(kv, 2, 0, kv_channels), 'k_layernorm_xattn');
    const vx = narrow(kv, 2, kv_channels, kv_channels);
    this.#tap(context, 'qx', qx);
    this.#tap(context, 'kx', kx);
    this.#tap(context, 'vx', vx);
    const rows = context.textRows.slice(firstOutput);
    const blocks = rows.map((text, i) => ({ q: chunkRows(i, context.tokensPerChunk), k: text }));
    const out = attention(qx, kx, vx, { blocks, scale: this.#scale });
    this.#tap(context, 'cross_attn', out);
    return out;
  }

  get #scale(): number {
    return 1 / Math.sqrt(this.#model.kv_channels);
  }

  #heads(x: Tensor, heads: number): Tensor {
    return x.reshape([x.shape[0]!, heads, this.#model.kv_channels]);
  }

  #layerNorm(x: Tensor, weights: Weights): Tensor {
    const [weight, bias] = [weights.get('weight'), weights.get('bias')];
    return layerNorm(x, { weight, bias, eps: this.#model.layernorm_epsilon });
  }

  #headNorm(x: Tensor, name: string): Tensor {
    const weights = this.#weights.at(`self_attention.${name}`);
    const kind = this.#model.apply_layernorm_1p ? 'onePlusWeight' : 'weight';
    return qkNorm(x, {
      kind,
      weight: weights.get('weight'),
      bias: weights.get('bias'),
      eps: this.#model.layernorm_epsilon,
    });
  }

  /** h + post_norm(gate x branch): the gate comes before the norm. */
  #addBranch(h: Tensor, branch: Tensor, gate: Tensor, norm: string, { tokensPerChunk }: BlockContext): Tensor {
    const weights = this.#weights.at(norm);
    return gatedResidual(h, branch, gate, {
      weight: weights.get('weight'),
      bias: weights.get('bias'),
      eps: this.#model.layernorm_epsilon,
      onePlusWeight: this.#model.apply_layernorm_1p,
      tokensPerRow: tokensPerChunk,
    });
  }

  #tap({ tap }: BlockContext, name: string, tensor: Tensor): void {
    tap?.(`layer${this.#index}.${name}`, tensor);
  }
}

function chunkRows(chunk: number, tokensPerChunk: number): TokenRange {
  return [chunk * tokensPerChunk, (chunk + 1) * tokensPerChunk];
}
