// One transformer block: attention, then the MLP; each branch is gated, normed and added. Scopes free what each step has
// made for itself before the next begins.
import { copyRows, gatedResidual, geluErf, narrow, silu, swiglu, tanh } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import type { ModelConfig } from '../config/index.ts';
import { LayerNorm, Linear, Module, forTiles, lengthOf } from '../nn/index.ts';
import type { Params } from '../nn/index.ts';
import { SelfAttention } from './attention.ts';
import { outputRows, outputTiles } from './block-context.ts';
import type { BlockContext, OutputTile, TokenRange } from './block-context.ts';
import { conditioningWidth } from './embedders.ts';

export class TransformerBlock extends Module {
  readonly ada_modulate_layer: AdaModulate;
  readonly self_attention: SelfAttention;
  readonly self_attn_post_norm: GatedNorm;
  readonly mlp: Mlp;
  readonly mlp_post_norm: GatedNorm;

  constructor(p: Params, model: ModelConfig, index: number, quantized: boolean) {
    super(p);
    this.ada_modulate_layer = new AdaModulate(p.at('ada_modulate_layer'), model);
    this.self_attention = new SelfAttention(p.at('self_attention'), model, index, quantized);
    this.self_attn_post_norm = new GatedNorm(p.at('self_attn_post_norm'), model);
    this.mlp = new Mlp(p.at('mlp'), model, quantized);
    this.mlp_post_norm = new GatedNorm(p.at('mlp_post_norm'), model);
  }

  /** h [tokens, width] -> [output tokens, width]. */
  forward(h: Tensor, context: BlockContext): Tensor {
    const { condition, tokensPerChunk, tileTokens } = context;
    const gates = scope(() => this.gates(condition));
    if (h.shape[0]! > tileTokens) return scope(() => this.tiled(h, context, gates));
    const attended = scope(() => {
      const branch = this.self_attention.forward(h, context);
      return this.self_attn_post_norm.forward(outputRows(h, context), branch, gates[0], tokensPerChunk);
    });
    return this.mlp_post_norm.forward(attended, this.mlp.forward(attended), gates[1], tokensPerChunk);
  }

  /** The same, in several tiles. A tile reads no other one's rows of h, so the output may take h's place. */
  tiled(h: Tensor, context: BlockContext, gates: readonly [Tensor, Tensor]): Tensor {
    const { self_attention: attention, self_attn_post_norm, mlp, mlp_post_norm } = this;
    const normed = (rows: TokenRange) => attention.linear_qkv.layer_norm.forward(h.slice(...rows));
    const sources = attention.sources(normed, context);
    const rows = outputRows(h, context);
    const y = context.overwrite ? rows.reshape(rows.shape) : h.device.empty(rows.shape, 'f32');
    const kindOf = ({ rows, chunks }: OutputTile) => `${chunks[0]} ${lengthOf(rows)}`;
    forTiles(h.device, outputTiles(context), kindOf, (tile) => {
      scope(() => {
        const x = h.slice(...tile.rows);
        const tokens = lengthOf(tile.rows);
        const [attentionGate, mlpGate] = gates.map((gate) => gate.slice(...tile.chunks));
        const attended = scope(() => {
          const branch = scope(() => attention.attend(normed(tile.rows), sources, tile, context));
          return self_attn_post_norm.forward(x, branch, attentionGate!, tokens);
        });
        const rows = mlp_post_norm.forward(attended, mlp.forward(attended), mlpGate!, tokens);
        copyRows(y, rows, tile.rows[0] - context.skipped);
      });
    });
    attention.store(sources, context);
    return y;
  }

  /** Of the attention and the MLP branch, [output chunks, width] each. */
  gates(condition: Tensor): [Tensor, Tensor] {
    const gate = this.ada_modulate_layer.forward(condition);
    const width = gate.shape[1]! / 2;
    return [narrow(gate, 1, 0, width), narrow(gate, 1, width, width)];
  }
}

/** The gates of a block's branches, side by side: condition [chunks, conditioning width] -> [chunks, 2 x width]. */
export class AdaModulate extends Module {
  readonly proj: Linear;

  constructor(p: Params, model: ModelConfig) {
    super(p);
    const outputs = Math.trunc(2 * model.hidden_size * model.cond_gating_ratio);
    this.proj = Linear.at(p.at('proj.0'), outputs, conditioningWidth(model));
  }

  forward(condition: Tensor): Tensor {
    return tanh(this.proj.forward(silu(condition)));
  }
}

/** GELU or SwiGLU between two linear layers, behind a norm. */
export class Mlp extends Module {
  readonly #gated: boolean;
  readonly layer_norm: LayerNorm;
  readonly linear_fc1: Linear;
  readonly linear_fc2: Linear;

  constructor(p: Params, model: ModelConfig, quantized: boolean) {
    super(p);
    const { hidden_size: width, ffn_hidden_size: hidden, gated_linear_unit } = model;
    this.#gated = gated_linear_unit;
    this.layer_norm = new LayerNorm(p.at('layer_norm'), width, { eps: model.layernorm_epsilon });
    const fp8 = (kind: 'tensor' | 'channel') => ({ bias: false, fp8: quantized ? kind : undefined });
    this.linear_fc1 = Linear.at(p.at('linear_fc1'), gated_linear_unit ? 2 * hidden : hidden, width, fp8('tensor'));
    this.linear_fc2 = Linear.at(p.at('linear_fc2'), width, hidden, fp8('channel'));
  }

  /** h [tokens, width] -> the same shape. */
  forward(h: Tensor): Tensor {
    return scope(() => {
      const hidden = scope(() => this.linear_fc1.forward(this.layer_norm.forward(h)));
      const activated = this.#gated ? swiglu(hidden) : geluErf(hidden);
      hidden.dispose();
      return this.linear_fc2.forward(activated);
    });
  }
}

/** h + norm(gate x branch): the gate comes before the norm. */
export class GatedNorm extends Module {
  readonly weight: Tensor;
  readonly bias: Tensor;
  readonly #model: ModelConfig;

  constructor(p: Params, model: ModelConfig) {
    super(p);
    this.weight = p.vector('weight', [model.hidden_size]);
    this.bias = p.vector('bias', [model.hidden_size]);
    this.#model = model;
  }

  /** h and branch [tokens, width]. @param gate [chunks, width], a row for `tokensPerRow` tokens each */
  forward(h: Tensor, branch: Tensor, gate: Tensor, tokensPerRow: number): Tensor {
    const { layernorm_epsilon: eps, apply_layernorm_1p: onePlusWeight } = this.#model;
    return gatedResidual(h, branch, gate, { weight: this.weight, bias: this.bias, eps, onePlusWeight, tokensPerRow });
  }
}
