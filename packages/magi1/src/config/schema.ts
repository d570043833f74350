// The checkpoint's config.json as types: model_config, runtime_config, engine_config, names as in the file.
import { either, list, number, oneOf, positive, text, trueOrFalse, whole, wholeNumber } from './fields.ts';
import type { Described, Field, Fields } from './fields.ts';

/**
 * A whole number up to a bound far beyond any model: what follows from a config, such as its list of weights, is made
 * before any file can contradict it.
 */
const upTo = (most: number) => whole(1, most);
const count = whole(1);
const MOST_CHUNKS = 1_000_000;
const width = upTo(1 << 16);
const ranges = (item: Field<number>) => list(item, 1, 1000);
/** Of a noise schedule. */
const time: Field<number> = {
  expected: 'a number above 0, up to 1,',
  fits: (value): value is number => positive.fits(value) && value <= 1,
};

const modelConfig = {
  model_name: text,
  num_layers: upTo(512),
  hidden_size: width,
  ffn_hidden_size: upTo(1 << 20),
  num_attention_heads: upTo(1024),
  num_query_groups: upTo(1024),
  kv_channels: whole(8, 4096),
  layernorm_epsilon: positive,
  apply_layernorm_1p: trueOrFalse,
  x_rescale_factor: positive,
  half_channel_vae: trueOrFalse,
  params_dtype: oneOf('torch.bfloat16', 'torch.float16', 'torch.float32'),
  patch_size: upTo(256),
  t_patch_size: upTo(256),
  in_channels: width,
  out_channels: width,
  cond_hidden_ratio: positive,
  caption_channels: width,
  caption_max_length: width,
  xattn_cond_hidden_ratio: positive,
  cond_gating_ratio: positive,
  gated_linear_unit: trueOrFalse,
} as const satisfies Fields;

const runtimeConfig = {
  cfg_number: oneOf(1, 3),
  cfg_t_range: ranges(number),
  prev_chunk_scales: ranges(number),
  text_scales: ranges(number),
  noise2clean_kvrange: list(upTo(MOST_CHUNKS), 0, 1000),
  clean_chunk_kvrange: either(oneOf(-1), upTo(MOST_CHUNKS)),
  clean_t: time,
  seed: wholeNumber,
  num_frames: upTo(10_000_000),
  video_size_h: width,
  video_size_w: width,
  num_steps: upTo(10_000),
  window_size: upTo(MOST_CHUNKS),
  fps: positive,
  chunk_width: upTo(1024),
  load: text,
  t5_pretrained: text,
  t5_device: text,
  vae_pretrained: text,
  scale_factor: positive,
  temporal_downsample_factor: upTo(256),
} as const satisfies Fields;

const engineConfig = {
  distributed_backend: text,
  distributed_timeout_minutes: number,
  pp_size: count,
  cp_size: count,
  cp_strategy: text,
  ulysses_overlap_degree: count,
  fp8_quant: trueOrFalse,
  distill_nearly_clean_chunk_threshold: number,
  shortcut_mode: text,
  distill: trueOrFalse,
  kv_offload: trueOrFalse,
  enable_cuda_graph: trueOrFalse,
} as const satisfies Fields;

export type ModelConfig = Described<typeof modelConfig>;
export type RuntimeConfig = Described<typeof runtimeConfig>;
export type EngineConfig = Described<typeof engineConfig>;

export type SectionName = 'model_config' | 'runtime_config' | 'engine_config';

/** Every section with its fields. */
export const SECTIONS = {
  model_config: modelConfig,
  runtime_config: runtimeConfig,
  engine_config: engineConfig,
} as const satisfies Readonly<Record<SectionName, Fields>>;
