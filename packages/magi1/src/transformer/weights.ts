// Names and shapes of the transformer's weights, as in the original's state dict.
import type { EngineConfig, ModelConfig } from '../config/index.ts';
import { SpecBuilder } from '../weights.ts';
import type { WeightSpecs } from '../weights.ts';

/** Features of the time sinusoid. */
export const TIME_FEATURES = 256;
/** In `linear_proj`'s input, self and cross attention alternate in this many slices of the heads, whatever their count. */
export const PROJ_SLICES = 8;

/** Columns of the rope tables: 3 axes x bands. */
export function ropeBands({ kv_channels }: ModelConfig): number {
  return Math.floor(kv_channels / 8);
}

export function conditioningWidth({ hidden_size, cond_hidden_ratio }: ModelConfig): number {
  return Math.trunc(hidden_size * cond_hidden_ratio);
}

/** With `fp8_quant` all blocks but the first and the last are quantised. */
export function ditWeightSpecs(model: ModelConfig, { fp8_quant }: Pick<EngineConfig, 'fp8_quant'>): WeightSpecs {
  const { hidden_size: width, patch_size, t_patch_size, kv_channels, caption_channels } = model;
  const condition = conditioningWidth(model);
  const builder = new SpecBuilder();
  builder.matrix('x_embedder.weight', width, model.in_channels, t_patch_size, patch_size, patch_size);
  builder.linear('t_embedder.mlp.0', condition, TIME_FEATURES);
  builder.linear('t_embedder.mlp.2', condition, condition);
  builder.vector('y_embedder.null_caption_embedding', model.caption_max_length, caption_channels);
  builder.linear('y_embedder.y_proj_xattn.0', Math.trunc(width * model.xattn_cond_hidden_ratio), caption_channels);
  builder.linear('y_embedder.y_proj_adaln.0', condition, caption_channels);
  builder.vector('rope.bands', ropeBands(model));
  for (let i = 0; i < model.num_layers; i++) {
    const layer = `videodit_blocks.layers.${i}`;
    builder.linear(`${layer}.ada_modulate_layer.proj.0`, Math.trunc(2 * width * model.cond_gating_ratio), condition);
    const quantized = fp8_quant && i > 0 && i < model.num_layers - 1;
    attention(builder, `${layer}.self_attention`, model, quantized);
    builder.norm(`${layer}.self_attn_post_norm`, width);
    builder.norm(`${layer}.mlp.layer_norm`, width);
    const hidden = model.ffn_hidden_size * (model.gated_linear_unit ? 2 : 1);
    blockLinear(builder, `${layer}.mlp.linear_fc1`, [hidden, width], quantized && 'perTensor');
    blockLinear(builder, `${layer}.mlp.linear_fc2`, [width, model.ffn_hidden_size], quantized && 'perChannel');
    builder.norm(`${layer}.mlp_post_norm`, width);
  }
  builder.norm('videodit_blocks.final_layernorm', width);
  builder.linear('final_linear.linear', t_patch_size * patch_size * patch_size * model.out_channels, width, false);
  // Every norm over a head shares the head's size.
  for (let i = 0; i < model.num_layers; i++) {
    for (const name of ['q', 'k', 'q_xattn', 'k_xattn']) {
      builder.norm(`videodit_blocks.layers.${i}.self_attention.${headNorm(name)}`, kv_channels);
    }
  }
  return builder.specs;
}

/** `q` -> `q_layernorm`, `q_xattn` -> `q_layernorm_xattn`. */
function headNorm(name: string): string {
  return name.endsWith('_xattn') ? `${name[0]!}_layernorm_xattn` : `${name}_layernorm`;
}

/**
 * A linear layer without bias, perhaps quantised: per tensor, with one scale written for every input feature, or per
 * channel, where each input feature has its own `smooth_scale`.
 */
function blockLinear(
  builder: SpecBuilder,
  name: string,
  [output, input]: readonly [number, number],
  quantized: 'perTensor' | 'perChannel' | false,
): void {
  if (quantized === false) {
    builder.linear(name, output, input, false);
    return;
  }
  builder.quantized(`${name}.weight`, 1, output, input);
  builder.vector(`${name}.weight_scale`, 1);
  builder.vector(`${name}.input_scale`, quantized === 'perTensor' ? input : 1);
  if (quantized === 'perChannel') builder.vector(`${name}.smooth_scale`, 1, input);
}

function attention(builder: SpecBuilder, prefix: string, model: ModelConfig, quantized: boolean): void {
  const { hidden_size: width, num_attention_heads: heads, num_query_groups: groups, kv_channels } = model;
  const [inner, shared] = [heads * kv_channels, groups * kv_channels];
  builder.norm(`${prefix}.linear_qkv.layer_norm`, width);
  for (const [name, output] of [
    ['q', inner],
    ['qx', inner],
    ['k', shared],
    ['v', shared],
  ] as const) {
    blockLinear(builder, `${prefix}.linear_qkv.${name}`, [output, width], quantized && 'perTensor');
  }
  const text = Math.trunc(width * model.xattn_cond_hidden_ratio);
  builder.linear(`${prefix}.linear_kv_xattn`, 2 * shared, text, false);
  blockLinear(builder, `${prefix}.linear_proj`, [width, 2 * inner], quantized && 'perChannel');
}
