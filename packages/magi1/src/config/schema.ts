// The checkpoint's config.json as types: model_config, runtime_config, engine_config, names as in the file.
import { z } from 'zod';

const count = z.int().min(1);
const positive = z.number().positive();

const modelConfig = z.object({
  model_name: z.string(),
  num_layers: count,
  hidden_size: count,
  ffn_hidden_size: count,
  num_attention_heads: count,
  num_query_groups: count,
  kv_channels: z.int().min(8),
  layernorm_epsilon: positive,
  apply_layernorm_1p: z.boolean(),
  x_rescale_factor: positive,
  half_channel_vae: z.boolean(),
  params_dtype: z.enum(['torch.bfloat16', 'torch.float16', 'torch.float32']),
  patch_size: count,
  t_patch_size: count,
  in_channels: count,
  out_channels: count,
  cond_hidden_ratio: positive,
  caption_channels: count,
  caption_max_length: count,
  xattn_cond_hidden_ratio: positive,
  cond_gating_ratio: positive,
  gated_linear_unit: z.boolean(),
});

const runtimeConfig = z.object({
  cfg_number: z.union([z.literal(1), z.literal(3)]),
  cfg_t_range: z.array(z.number()).min(1),
  prev_chunk_scales: z.array(z.number()).min(1),
  text_scales: z.array(z.number()).min(1),
  noise2clean_kvrange: z.array(count),
  clean_chunk_kvrange: z.union([z.literal(-1), count]),
  clean_t: z.number().gt(0).max(1),
  seed: z.int(),
  num_frames: count,
  video_size_h: count,
  video_size_w: count,
  num_steps: count,
  window_size: count,
  fps: positive,
  chunk_width: count,
  load: z.string(),
  t5_pretrained: z.string(),
  t5_device: z.string(),
  vae_pretrained: z.string(),
  scale_factor: positive,
  temporal_downsample_factor: count,
});

const engineConfig = z.object({
  distributed_backend: z.string(),
  distributed_timeout_minutes: z.number(),
  pp_size: count,
  cp_size: count,
  cp_strategy: z.string(),
  ulysses_overlap_degree: count,
  fp8_quant: z.boolean(),
  distill_nearly_clean_chunk_threshold: z.number(),
  shortcut_mode: z.string(),
  distill: z.boolean(),
  kv_offload: z.boolean(),
  enable_cuda_graph: z.boolean(),
});

export const configSchema = z.object({
  model_config: modelConfig,
  runtime_config: runtimeConfig,
  engine_config: engineConfig,
});

export type ModelConfig = Readonly<z.infer<typeof modelConfig>>;
export type RuntimeConfig = Readonly<z.infer<typeof runtimeConfig>>;
export type EngineConfig = Readonly<z.infer<typeof engineConfig>>;

export type SectionName = 'model_config' | 'runtime_config' | 'engine_config';

/** Every field of every section, for finding the missing and the unknown ones. */
export const SECTION_FIELDS: Readonly<Record<SectionName, readonly string[]>> = {
  model_config: Object.keys(modelConfig.shape),
  runtime_config: Object.keys(runtimeConfig.shape),
  engine_config: Object.keys(engineConfig.shape),
};
