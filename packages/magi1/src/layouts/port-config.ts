// Configs that the ports write beside each network, as the original's config.json would say it. What a port leaves out
// comes from the original's base configs of the 4.5B and the 24B model.
import { ConfigError } from '../config/index.ts';
import { publishedConfig } from '../config/published.ts';

type Json = Readonly<Record<string, unknown>>;

const BASE = publishedConfig();

/** Settings that go with the architecture and not with a file: the original's base configs of the two models. */
const PUBLISHED = {
  '4.5B': { x_rescale_factor: 1, half_channel_vae: false, video_size_w: 720, steps: 64, distilledSteps: 64 },
  '24B': { x_rescale_factor: 0.1, half_channel_vae: true, video_size_w: 1280, steps: 32, distilledSteps: 16 },
} as const;

/**
 * A transformer's config.json -> the original's three sections, for `parseConfig` to check; one that has them already is
 * returned as it is.
 * @throws ConfigError naming the settings without which no transformer is known
 */
export function originalConfig(json: unknown, source: string): unknown {
  if (!isRecord(json) || 'model_config' in json) return json;
  const get = (...names: readonly string[]): unknown => names.map((name) => json[name]).find((value) => value != null);
  const number = (...names: readonly string[]): number => get(...names) as number;
  const missing = REQUIRED.filter((name) => get(name) === undefined);
  if (missing.length > 0)
    throw new ConfigError(
      `${source}: neither the original's format (model_config ...) nor a port's: ${missing.join(', ')} missing`,
    );
  const layers = number('num_layers');
  const heads = number('num_attention_heads');
  const headDim = number('attention_head_dim');
  const width = get('hidden_size') ?? heads * headDim;
  const { model_config: base } = BASE;
  const gated = get('gated_linear_unit') ?? base.gated_linear_unit;
  const published = PUBLISHED[gated === true ? '24B' : '4.5B'];
  const duplicated = get('half_channel_vae', 'duplicate_channels') ?? published.half_channel_vae;
  // One port counts the latent's channels, the other those that the network sees after duplication.
  const channels = (name: string) =>
    duplicated === true && number(name) === base.in_channels ? 2 * number(name) : get(name);
  const patch = get('patch_size');
  const [t_patch_size, patch_size] = Array.isArray(patch)
    ? (patch as unknown[])
    : [get('t_patch_size') ?? base.t_patch_size, patch];
  const distill = get('distilled', 'enable_distillation') ?? false;
  return {
    model_config: {
      ...base,
      num_layers: layers,
      hidden_size: width,
      ffn_hidden_size: get('ffn_dim'),
      num_attention_heads: heads,
      num_query_groups: get('num_key_value_heads', 'num_kv_heads', 'num_query_groups') ?? base.num_query_groups,
      kv_channels: headDim,
      layernorm_epsilon: get('norm_eps', 'eps') ?? base.layernorm_epsilon,
      apply_layernorm_1p: get('zero_centered_gamma') ?? base.apply_layernorm_1p,
      x_rescale_factor: get('x_rescale_factor') ?? published.x_rescale_factor,
      half_channel_vae: duplicated,
      patch_size,
      t_patch_size,
      in_channels: channels('in_channels'),
      out_channels: channels('out_channels'),
      ...(get('condition_dim') === undefined ? {} : { cond_hidden_ratio: number('condition_dim') / (width as number) }),
      caption_channels: get('caption_channels', 'cross_attention_dim') ?? base.caption_channels,
      caption_max_length: get('caption_max_length') ?? base.caption_max_length,
      gated_linear_unit: gated,
    },
    runtime_config: {
      ...BASE.runtime_config,
      cfg_number: distill === true ? 1 : 3,
      video_size_w: published.video_size_w,
      num_steps: distill === true ? published.distilledSteps : published.steps,
      load: 'transformer',
      t5_pretrained: 'text_encoder',
      vae_pretrained: 'vae',
    },
    engine_config: { ...BASE.engine_config, distill },
  };
}

const REQUIRED = [
  'num_layers',
  'num_attention_heads',
  'attention_head_dim',
  'ffn_dim',
  'in_channels',
  'out_channels',
  'patch_size',
];

/** A VAE's config.json -> the original's, with a ddconfig. The ports have one architecture: its switches are fixed. */
export function originalVaeConfig(json: unknown): unknown {
  if (!isRecord(json) || 'ddconfig' in json) return json;
  const [length, size] = Array.isArray(json.patch_size)
    ? (json.patch_size as unknown[])
    : [json.patch_length, json.patch_size];
  const heads = json.num_attention_heads;
  const width = json.embed_dim ?? (heads as number) * (json.attention_head_dim as number);
  if (!('z_dim' in json) && !('latent_channels' in json)) return json;
  return {
    _class_name: 'ViTVAE',
    ddconfig: {
      conv_last_layer: true,
      depth: json.num_layers,
      double_z: true,
      embed_dim: width,
      in_chans: json.in_channels ?? 3,
      ln_in_attn: true,
      mlp_ratio: json.mlp_ratio ?? (json.ffn_dim === undefined ? 4 : (json.ffn_dim as number) / (width as number)),
      num_heads: heads,
      patch_length: length,
      patch_size: size,
      qkv_bias: true,
      video_length: json.sample_frames ?? json.num_frames,
      video_size: json.sample_size ?? json.height,
      with_cls_token: true,
      z_chans: json.latent_channels ?? json.z_dim,
    },
  };
}

function isRecord(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
