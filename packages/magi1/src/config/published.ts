// Configs of the published models. From that of the 4.5B base model, other files take what they leave out.

/** The published checkpoints, as their folders are called. */
export const PUBLISHED_MODELS = [
  '4.5B_base',
  '4.5B_distill',
  '4.5B_distill_quant',
  '24B_base',
  '24B_distill',
  '24B_distill_quant',
] as const;

export type PublishedModel = (typeof PUBLISHED_MODELS)[number];

/** The original's config.json of a checkpoint, but for settings that have no effect here; made anew by every call. */
export function publishedConfig(model: PublishedModel = '4.5B_base'): ReturnType<typeof smallBase> {
  const config = smallBase();
  const { model_config: network, runtime_config: runtime, engine_config: engine } = config;
  engine.distill = model.includes('distill');
  engine.fp8_quant = model.endsWith('quant');
  runtime.load = `./downloads/${model}`;
  if (engine.distill) runtime.cfg_number = 1;
  if (!model.startsWith('24B')) return config;
  Object.assign(network, {
    num_layers: 48,
    hidden_size: 6144,
    ffn_hidden_size: 16384,
    num_attention_heads: 48,
    gated_linear_unit: true,
    half_channel_vae: true,
    in_channels: 32,
    out_channels: 32,
    x_rescale_factor: 0.1,
  });
  runtime.video_size_w = 1280;
  runtime.num_steps = engine.distill ? 16 : 32;
  return config;
}

function smallBase() {
  return {
    model_config: {
      model_name: 'videodit_ardf',
      num_layers: 34,
      hidden_size: 3072,
      ffn_hidden_size: 12288,
      num_attention_heads: 24,
      num_query_groups: 8,
      kv_channels: 128,
      layernorm_epsilon: 1e-6,
      apply_layernorm_1p: true,
      x_rescale_factor: 1,
      half_channel_vae: false,
      params_dtype: 'torch.bfloat16',
      patch_size: 2,
      t_patch_size: 1,
      in_channels: 16,
      out_channels: 16,
      cond_hidden_ratio: 0.25,
      caption_channels: 4096,
      caption_max_length: 800,
      xattn_cond_hidden_ratio: 1,
      cond_gating_ratio: 1,
      gated_linear_unit: false,
    },
    runtime_config: {
      cfg_number: 3,
      cfg_t_range: [0, 0.0217, 0.1, 0.3, 0.999],
      prev_chunk_scales: [1.5, 1.5, 1.5, 1, 1],
      text_scales: [7.5, 7.5, 7.5, 0, 0],
      noise2clean_kvrange: [5, 4, 3, 2],
      clean_chunk_kvrange: 1,
      clean_t: 0.9999,
      seed: 1234,
      num_frames: 96,
      video_size_h: 720,
      video_size_w: 720,
      num_steps: 64,
      window_size: 4,
      fps: 24,
      chunk_width: 6,
      load: './downloads/4.5B_base',
      t5_pretrained: './downloads/t5_pretrained',
      t5_device: 'cpu',
      vae_pretrained: './downloads/vae',
      scale_factor: 0.18215,
      temporal_downsample_factor: 4,
    },
    engine_config: {
      distributed_backend: 'nccl',
      distributed_timeout_minutes: 15,
      pp_size: 1,
      cp_size: 1,
      cp_strategy: 'cp_ulysses',
      ulysses_overlap_degree: 1,
      fp8_quant: false,
      distill_nearly_clean_chunk_threshold: 0.3,
      shortcut_mode: '8,16,16',
      distill: false,
      kv_offload: false,
      enable_cuda_graph: false,
    },
  };
}
