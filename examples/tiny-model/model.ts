// A causal transformer of today's shape, written on nn and kernels alone: RMS norms, rotary positions, grouped queries,
// SwiGLU. Fields are the checkpoint's names.
import { Embedding, Linear, Module, RmsNorm } from '@magi1/core/model';
import type { Params } from '@magi1/core/model';
import { add, attention, rope, swiglu } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import type { TinyConfig } from './config.ts';

class Layer extends Module {
  readonly input_layernorm: RmsNorm;
  readonly self_attn: Readonly<Record<'q_proj' | 'k_proj' | 'v_proj' | 'o_proj', Linear>>;
  readonly post_attention_layernorm: RmsNorm;
  readonly mlp: Readonly<Record<'gate_up_proj' | 'down_proj', Linear>>;

  constructor(p: Params, { hidden_size: width, rms_norm_eps: eps, ...config }: TinyConfig) {
    super(p);
    const linear = (path: string, outputs: number, inputs: number) =>
      Linear.at(p.at(path), outputs, inputs, { bias: false });
    const [queries, keys] = [config.num_attention_heads, config.num_key_value_heads].map((n) => n * config.head_dim);
    this.input_layernorm = new RmsNorm(p.at('input_layernorm'), width, { eps });
    this.self_attn = {
      q_proj: linear('self_attn.q_proj', queries!, width),
      k_proj: linear('self_attn.k_proj', keys!, width),
      v_proj: linear('self_attn.v_proj', keys!, width),
      o_proj: linear('self_attn.o_proj', width, queries!),
    };
    this.post_attention_layernorm = new RmsNorm(p.at('post_attention_layernorm'), width, { eps });
    this.mlp = {
      gate_up_proj: linear('mlp.gate_up_proj', 2 * config.intermediate_size, width),
      down_proj: linear('mlp.down_proj', width, config.intermediate_size),
    };
  }

  /** x [tokens, hidden_size]; cos and sin [tokens, head_dim / 2] of the angles by which positions turn. */
  forward(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
    const seen = add(x, this.#attend(this.input_layernorm.forward(x), cos, sin));
    const { gate_up_proj, down_proj } = this.mlp;
    return add(seen, down_proj.forward(swiglu(gate_up_proj.forward(this.post_attention_layernorm.forward(seen)))));
  }

  #attend(x: Tensor, cos: Tensor, sin: Tensor): Tensor {
    const [tokens, headDim] = [x.shape[0]!, 2 * cos.shape[1]!];
    const { q_proj, k_proj, v_proj, o_proj } = this.self_attn;
    const [q, k, v] = [q_proj, k_proj, v_proj].map((layer) => layer.forward(x).reshape([tokens, -1, headDim]));
    // Every token sees itself and those before it.
    const blocks = Array.from({ length: tokens }, (_, i) => ({ q: [i, i + 1], k: [0, i + 1] }) as const);
    const y = attention(rope(q!, cos, sin), rope(k!, cos, sin), v!, { blocks, scale: headDim ** -0.5 });
    return o_proj.forward(y.reshape([tokens, -1]));
  }
}

export class TinyModel extends Module {
  readonly embed_tokens: Embedding;
  readonly layers: readonly Layer[];
  readonly norm: RmsNorm;
  readonly lm_head: Linear;
  readonly #config: TinyConfig;
  readonly #device: Device;

  constructor(p: Params, config: TinyConfig) {
    super(p);
    const { vocab_size, hidden_size, num_hidden_layers, rms_norm_eps: eps } = config;
    [this.#config, this.#device] = [config, p.device];
    this.embed_tokens = new Embedding(p.at('embed_tokens'), vocab_size, hidden_size);
    this.layers = Array.from({ length: num_hidden_layers }, (_, i) => new Layer(p.at(`layers.${i}`), config));
    this.norm = new RmsNorm(p.at('norm'), hidden_size, { eps });
    this.lm_head = Linear.at(p.at('lm_head'), vocab_size, hidden_size, { bias: false });
  }

  /** Tokens to logits [tokens, vocab_size], which the caller disposes. */
  forward(tokens: readonly number[]): Tensor {
    return scope(() => {
      const [cos, sin] = [this.#angles(tokens.length, Math.cos), this.#angles(tokens.length, Math.sin)];
      let x = this.embed_tokens.forward(this.#device.tensor(tokens, [tokens.length], 'i32'));
      for (const layer of this.layers) x = layer.forward(x, cos, sin);
      return this.lm_head.forward(this.norm.forward(x));
    });
  }

  #angles(tokens: number, of: (angle: number) => number): Tensor {
    const { head_dim, rope_theta } = this.#config;
    const half = head_dim / 2;
    const angle = (i: number) => Math.floor(i / half) * rope_theta ** (-(i % half) / half);
    const values = Float32Array.from({ length: tokens * half }, (_, i) => of(angle(i)));
    return this.#device.tensor(values, [tokens, half], 'f32');
  }
}
