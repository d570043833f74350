// @magi1/core: MAGI-1 pipelines, configs, media, verification.
export { Magi1ImageToVideoPipeline, Magi1Pipeline, Magi1VideoToVideoPipeline } from './pipelines/pipeline.ts';
export type { ImageToVideoOptions, TextToVideoOptions, VideoToVideoOptions } from './pipelines/pipeline.ts';
export type { PipelineOptions } from './pipelines/pipeline-options.ts';
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
} from './pipelines/request.ts';
export type { MemoryNeed } from './pipelines/memory.ts';
export type { CallOptions, Progress, ProgressListener, StageName } from './pipelines/progress.ts';
export { readConfigFile, readModelFolder } from './pipelines/model-folder.ts';
export type { ModelFolder, ModelFolderOptions } from './pipelines/model-folder.ts';
export { inspectModel } from './pipelines/inspect.ts';
export type { ModelSummary, PartSummary } from './pipelines/inspect.ts';
export type { Trained } from './pipelines/trained.ts';
export type { WeightDTypes } from './pipelines/model.ts';
export { formatBytes } from './pipelines/format-bytes.ts';
export * from './config/index.ts';
export * from './media/index.ts';
export { exportToVideo } from './media/export-to-video.ts';
export type { ExportOptions, FramesToExport } from './media/export-to-video.ts';
export type { FuseLoraOptions, LoadLoraOptions, LoraInfo, LoraSource, LoraSpec } from './lora/index.ts';
export { cleanPrompt } from './text/clean/clean-caption.ts';
export { NotFiniteError } from './not-finite.ts';
export type { NotFinitePlace, RunStage } from './not-finite.ts';
export { seededNoise } from './sampler/index.ts';
export type { SamplingStep } from './sampler/index.ts';
export type { StepState } from './sampler/sample.ts';
export { findGoldens, runCase, verify } from './verify/run.ts';
export type { CaseResult, Goldens, VerifyOptions, VerifyResult } from './verify/run.ts';
export { POCKET_MODEL } from './pocket.ts';
export { VERSION } from './version.ts';
export { RequestError } from './wording.ts';
export type { OptionName, OptionNamer, Wording } from './wording.ts';
export { nodeFolder } from '@magi1/loaders';
export type { ByteSource, Folder, FolderOptions } from '@magi1/loaders';
export { Device, Magi1Error, listWebGpuAdapters } from '@magi1/tensor';
export type { DeviceOptions } from '@magi1/tensor';
