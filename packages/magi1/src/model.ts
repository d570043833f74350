// @magi1/core/model: the networks, the sampler's plan and loop, and what networks are written with.
export {
  CheckedWeights,
  Conv3d,
  Embedding,
  Fp8Linear,
  HeadNorm,
  HostValues,
  LayerNorm,
  Linear,
  Module,
  Params,
  RmsNorm,
  deviceDType,
  isQuantizable,
  keepView,
  observe,
  runStage,
} from './nn/index.ts';
export type {
  LinearOptions,
  LowRankUpdate,
  NetworkDefinition,
  NormOptions,
  Observer,
  OutputRange,
  ParamSpec,
  ParamSpecs,
  RunOptions,
  StreamingOptions,
  WeightEntry,
  WeightNames,
  WeightPart,
  WeightSource,
} from './nn/index.ts';
export { VideoDiT, transformerNetwork } from './transformer/video-dit.ts';
export type { DitBlock, DitBlockClass, DitChunk, DitConfig, DitForward } from './transformer/video-dit.ts';
export { AdaModulate, GatedNorm, Mlp, TransformerBlock } from './transformer/block.ts';
export { SelfAttention } from './transformer/attention.ts';
export { outputRows } from './transformer/block-context.ts';
export type { BlockContext, TokenRange } from './transformer/block-context.ts';
export { CaptionEmbedder, TimeEmbedder, conditioningWidth } from './transformer/embedders.ts';
export { PUBLISHED_MODELS, publishedConfig } from './config/published.ts';
export type { EngineConfig, ModelConfig, RuntimeConfig } from './config/schema.ts';
export { KvCache } from './transformer/kv-cache.ts';
export type { KvCacheShape } from './transformer/kv-cache.ts';
export { ViTVae, vaeNetwork } from './vae/vit-vae.ts';
export { parseVaeConfig } from './vae/config.ts';
export type { VaeConfig } from './vae/config.ts';
export { defaultTiles, tiledDecode, tiledEncode } from './vae/tiling.ts';
export type { TileSettings } from './vae/tile-plan.ts';
export { T5Encoder, t5Network } from './t5/encoder.ts';
export { parseT5Config } from './t5/config.ts';
export type { T5Config } from './t5/config.ts';
export { planSampling } from './sampler/schedule.ts';
export type { SamplingOptions, SamplingPlan, SamplingStep } from './sampler/schedule.ts';
export { samplingOptions } from './sampler/options.ts';
export type { SamplingConfig, SamplingRequest } from './sampler/options.ts';
export { sample } from './sampler/sample.ts';
export type { FinishedLatents, SampleInput, StepState } from './sampler/sample.ts';
export { seededNoise } from './sampler/noise.ts';
