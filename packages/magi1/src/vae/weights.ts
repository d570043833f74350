// Names and shapes of the ViTVAE's weights.
import { SpecBuilder } from '../weights.ts';
import type { WeightSpecs } from '../weights.ts';
import { nativeGrid, unpatchedChannels } from './config.ts';
import type { VaeConfig } from './config.ts';

export function vaeWeightSpecs(config: VaeConfig): WeightSpecs {
  const { embed_dim, z_chans, patch_length, patch_size } = config;
  const builder = new SpecBuilder();

  builder.matrix('encoder.patch_embed.proj.weight', embed_dim, 3, patch_length, patch_size, patch_size);
  builder.vector('encoder.patch_embed.proj.bias', embed_dim);
  transformer(builder, 'encoder', config);
  builder.linear('encoder.last_layer', 2 * z_chans, embed_dim);

  builder.linear('decoder.proj_in', embed_dim, z_chans);
  transformer(builder, 'decoder', config);
  const channels = unpatchedChannels(config);
  if (config.use_final_proj) {
    const features = channels * patch_length * patch_size * patch_size;
    builder.linear('decoder.final_proj', features, embed_dim);
    builder.norm('decoder.final_norm', features);
  }
  builder.vector('decoder.last_layer.weight', 3, channels, 3, 3, 3);
  builder.vector('decoder.last_layer.bias', 3);
  return builder.specs;
}

function transformer(builder: SpecBuilder, side: string, config: VaeConfig): void {
  const { embed_dim } = config;
  const hidden = Math.floor(embed_dim * config.mlp_ratio);
  const tokens = nativeGrid(config).reduce((n, extent) => n * extent, 1) + (config.with_cls_token ? 1 : 0);
  builder.vector(`${side}.pos_embed`, 1, tokens, embed_dim);
  if (config.with_cls_token) builder.vector(`${side}.cls_token`, 1, 1, embed_dim);
  for (let i = 0; i < config.depth; i++) {
    const block = `${side}.blocks.${i}`;
    if (!config.ln_in_attn) builder.norm(`${block}.norm1`, embed_dim);
    builder.linear(`${block}.attn.qkv`, 3 * embed_dim, embed_dim, config.qkv_bias);
    builder.linear(`${block}.attn.proj`, embed_dim, embed_dim);
    builder.norm(`${block}.norm2`, embed_dim);
    builder.linear(`${block}.mlp.fc1`, hidden, embed_dim);
    builder.linear(`${block}.mlp.fc2`, embed_dim, hidden);
  }
  builder.norm(`${side}.norm`, embed_dim);
}
