// The checkpoint's config.json as types: model_config, runtime_config, engine_config, names as in the file.
import { z } from 'zod';

/**
 * A whole number up to a bound far beyond any model: what follows from a config, such as its list of weights, is made
 * before any file can contradict it.
 */
const upTo = (most: number) => z.int().min(1).max(most);
const count = z.int().min(1);
const MOST_CHUNKS = 1_000_000;
const width = upTo(1 << 16);
const ranges = (item: z.ZodType<number>) => z.array(item).min(1).max(1000);
const positive = z.number().positive();

const modelConfig = z.object({
  model_name: z.string(),
  num_layers: upTo(512),
  hidden_size: width,
  ffn_hidden_size: upTo(1 << 20),
  num_attention_heads: upTo(1024),
  num_query_groups: upTo(1024),
  kv_channels: z.int().min(8).max(4096),
  layernorm_epsilon: positive,
  apply_layernorm_1p: z.boolean(),
  x_rescale_factor: positive,
  half_channel_vae: z.boolean(),
  params_dtype: z.enum(['torch.bfloat16', 'torch.float16', 'torch.float32']),
  patch_size: upTo(256),
  t_patch_size: upTo(256),
  in_channels: width,
  out_channels: width,
  cond_hidden_ratio: positive,
  caption_channels: width,
  caption_max_length: width,
  xattn_cond_hidden_ratio: positive,
  cond_gating_ratio: positive,
  gated_linear_unit: z.boolean(),
});

const runtimeConfig = z.object({
  cfg_number: z.union([z.literal(1), z.literal(3)]),
  cfg_t_range: ranges(z.number()),
  prev_chunk_scales: ranges(z.number()),
  text_scales: ranges(z.number()),
  noise2clean_kvrange: z.array(upTo(MOST_CHUNKS)).max(1000),
  clean_chunk_kvrange: z.union([z.literal(-1), upTo(MOST_CHUNKS)]),
  clean_t: z.number().gt(0).max(1),
  seed: z.int(),
  num_frames: upTo(10_000_000),
  video_size_h: width,
  video_size_w: width,
  num_steps: upTo(10_000),
  window_size: upTo(MOST_CHUNKS),
  fps: positive,
  chunk_width: upTo(1024),
  load: z.string(),
  t5_pretrained: z.string(),
  t5_device: z.string(),
  vae_pretrained: z.string(),
  scale_factor: positive,
  temporal_downsample_factor: upTo(256),
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
