// @magi1/core: pipelines, reading and writing video, errors. Networks and sampler are behind @magi1/core/model, goldens
// behind @magi1/core/verify.
export { Magi1ImageToVideoPipeline, Magi1Pipeline, Magi1VideoToVideoPipeline } from './pipelines/pipeline.ts';
export type { ImageToVideoOptions, TextToVideoOptions, VideoToVideoOptions } from './pipelines/pipeline.ts';
export type { PipelineOptions } from './pipelines/check-options.ts';
export type { Run, RunPlan } from './pipelines/prepare.ts';
export type { Latents } from './pipelines/frames.ts';
export type {
  ChunkPrompt,
  EncodedPrompt,
  Facts,
  FrameValues,
  FramesOf,
  GeneratedVideo,
  GenerationOptions,
  ImageToVideoRequest,
  OutputType,
  Settings,
  StepListener,
  TextEmbeds,
  TextToVideoRequest,
  VideoChunk,
  VideoToVideoRequest,
  WeightDTypes,
} from './pipelines/request.ts';
export type { MemoryNeed } from './pipelines/memory-plan.ts';
export { OFFLOADS } from './pipelines/offload.ts';
export type { Offload } from './pipelines/offload.ts';
export type { CallOptions, Progress, ProgressListener, StageName } from './pipelines/progress.ts';
export { readConfigFile, readModelFolder } from './pipelines/model-files.ts';
export type { ModelFolder, ModelFolderOptions } from './pipelines/model-files.ts';
export { inspectModel } from './pipelines/inspect.ts';
export type { ModelSummary, PartSummary } from './pipelines/inspect.ts';
export type { Trained } from './config/trained.ts';
export { formatBytes } from './wording.ts';
export { ConfigError, parseConfig, parseConfigText } from './config/parse.ts';
export type { Magi1Config } from './config/parse.ts';
export type { EngineConfig, ModelConfig, RuntimeConfig } from './config/schema.ts';
export { readEnvironment } from './config/environment.ts';
export type { Environment, SpecialTokenSwitches } from './config/environment.ts';
export {
  OutputTakenError,
  findFfmpeg,
  loadImage,
  loadVideo,
  openMp4Writer,
  openPngWriter,
  openVideoWriter,
  reserveOutput,
  scaleFrames,
  usablePrefixFrames,
  videoFrames,
  writeContactSheet,
} from './media/index.ts';
export type {
  ContactSheetOptions,
  EndedEarly,
  Ffmpeg,
  Fit,
  ImageDecoder,
  ImageOptions,
  LoadedFrames,
  MediaInput,
  Mp4Encoder,
  Output,
  OutputOptions,
  RgbFrames,
  Scaler,
  UsablePrefix,
  VideoEnd,
  VideoFile,
  VideoFrameOptions,
  VideoInputOptions,
  VideoMetadata,
  VideoOptions,
  VideoWriter,
} from './media/index.ts';
export { exportToVideo } from './media/export-to-video.ts';
export type { ExportOptions, FramesToExport } from './media/export-to-video.ts';
export type { FuseLoraOptions, LoadLoraOptions, LoraInfo, LoraSource, LoraSpec } from './lora/index.ts';
export { PUBLISHED_MODELS, downloadModel, planDownload, planQuantizedDownload } from './hub/index.ts';
export type {
  DownloadFile,
  DownloadOptions,
  DownloadPlan,
  DownloadProgress,
  DownloadedModel,
  PlanDownloadOptions,
  PlanQuantizedDownloadOptions,
  PublishedModel,
} from './hub/index.ts';
export { planQuantize, quantizeModel } from './quantize/index.ts';
export type {
  NetworkName,
  PlanQuantizeOptions,
  QuantizeOptions,
  QuantizePlan,
  QuantizedModel,
  QuantizedPart,
} from './quantize/index.ts';
export { cleanPrompt } from './text/clean/clean-caption.ts';
export { NotFiniteError } from './not-finite.ts';
export type { NotFinitePlace, RunStage } from './not-finite.ts';
export type { SamplingStep } from './sampler/schedule.ts';
export type { SamplerState, StepState } from './sampler/sample.ts';
export { decodeRunState, encodeRunState } from './pipelines/run-state-file.ts';
export type { RunIdentity, RunState } from './pipelines/kept.ts';
export { POCKET_MODEL } from './pocket.ts';
export { VERSION } from './version.ts';
export { RequestError } from './wording.ts';
export type { OptionName, OptionNamer, Wording } from './wording.ts';
export { httpFolder, nodeFolder } from '@magi1/loaders';
export type { ByteSource, Folder, FolderOptions, HttpFolderOptions, HttpOptions, HttpRetry } from '@magi1/loaders';
export { Device, Magi1Error, listWebGpuAdapters } from '@magi1/tensor';
export type { DeviceOptions } from '@magi1/tensor';
