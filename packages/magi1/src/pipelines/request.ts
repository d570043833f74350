// What a caller may ask for. Names follow the documented pipelines in camelCase; docs/options.md has the whole table.
import type { SpecialTokenSwitches } from '../config/index.ts';
import type { SamplingStep } from '../sampler/index.ts';
import type { StepState } from '../sampler/sample.ts';
import type { TextRows } from '../text/conditioning.ts';
import type { MediaInput } from '../media/rgb-frames.ts';
import type { Fit, Scaler } from '../media/scale.ts';
import type { VideoEnd } from '../media/types.ts';
import type { ProgressListener } from './progress.ts';
import type { FrameValues, VideoChunk } from './result.ts';
import type { OutputType } from './settings.ts';

/** T5 features [length, caption_channels], as `encodePrompt` gives them. */
export interface TextEmbeds extends TextRows {
  /** 1 for rows that count, which must come first, then 0; all rows where it is left out. */
  readonly mask?: ArrayLike<number> | undefined;
}

/** A prompt that takes over at a chunk: give its text or its embeddings, and the chunk or the second it starts at. */
export interface ChunkPrompt {
  readonly prompt?: string | undefined;
  readonly promptEmbeds?: TextEmbeds | undefined;
  /** Among the chunks that are made, from 0. */
  readonly chunk?: number | undefined;
  /** Of the video that comes out; the chunk that shows it is the first with this prompt. */
  readonly second?: number | undefined;
}

/** Sizes and settings of a run; the checkpoint's config gives what is left out. */
export interface GenerationOptions {
  /** What the video shows; may be empty. A list is a batch. */
  readonly prompt?: string | readonly string[] | undefined;
  /** In place of `prompt`: the text encoder is left out. A list is a batch. */
  readonly promptEmbeds?: TextEmbeds | readonly TextEmbeds[] | undefined;
  /** Takes the place of the learned null text for noisy chunks; no effect on distilled models. */
  readonly negativePrompt?: string | readonly string[] | undefined;
  readonly negativePromptEmbeds?: TextEmbeds | readonly TextEmbeds[] | undefined;
  /** Prompts for later chunks. One in the first chunk stands for `prompt`, and is refused beside it. */
  readonly chunkPrompts?: readonly ChunkPrompt[] | undefined;
  /** Pixels, multiples of 16. */
  readonly height?: number | undefined;
  readonly width?: number | undefined;
  /** New frames wanted; made in whole chunks, so that more may come (see `Settings.frames`). */
  readonly numFrames?: number | undefined;
  readonly numInferenceSteps?: number | undefined;
  /** Text guidance wherever the checkpoint guides by text; null or left out: the checkpoint's own. */
  readonly guidanceScale?: number | null | undefined;
  /** Runs per prompt; a batch is a sequence of runs (see `batch`). */
  readonly numVideosPerPrompt?: number | undefined;
  /** Any whole number; the same seed gives the same noise on every device. Video i of a batch takes seed + i. */
  readonly seed?: number | undefined;
  /** Initial noise instead of the seed's: [videos, C, latent frames, height / 8, width / 8], prefix included. */
  readonly latents?: Float32Array | undefined;
  readonly outputType?: OutputType | undefined;
  /** Tokens that a text is cut to, caption_max_length (800) at most. */
  readonly maxSequenceLength?: number | undefined;
  /** Switches of special tokens over those of the environment. */
  readonly specialTokens?: Partial<SpecialTokenSwitches> | undefined;
  /** The same switches by the names of the documented pipelines. */
  readonly useHqToken?: boolean | undefined;
  readonly useDuration?: boolean | undefined;
  readonly useBorderness?: boolean | undefined;
  readonly useStaticFirstFrames?: boolean | undefined;
  readonly useDynamicFirstFrames?: boolean | undefined;
  readonly use3dStyle?: boolean | undefined;
  readonly use2dAnimeStyle?: boolean | undefined;
  readonly useNegativeTokens?: boolean | undefined;
  /** Says what the checkpoint must be; another kind is refused. The checkpoint's config decides. */
  readonly enableDistillation?: boolean | undefined;
  /** Of a distilled checkpoint: time from which a chunk is blended with a run of itself alone. */
  readonly distillNearlyCleanChunkThreshold?: number | undefined;
  /** `scale` multiplies the weights of the LoRAs that are not fused, for this run. */
  readonly attentionKwargs?: { readonly scale?: number | undefined } | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Not awaited; the run ends with what a promise of it rejects with. */
  readonly onProgress?: ProgressListener | undefined;
  /** After every denoising step; awaited, and the tensors are views that are valid until then. */
  readonly onStep?: StepListener | undefined;
  /** The documented pipelines' name of `onStep`. */
  readonly callbackOnStepEnd?: StepListener | undefined;
  /** After every chunk, before it is yielded; awaited. */
  readonly onChunk?: ((chunk: VideoChunk<FrameValues>) => void | Promise<void>) | undefined;
}

/** What it returns is awaited where it is a promise. */
export type StepListener = (step: SamplingStep, state: StepState) => unknown;

export type TextToVideoRequest = GenerationOptions;

/** How a picture or clip is brought to the size of the video. */
export interface ScalingOptions {
  /** `stretch`, where left out: whatever its shape. `pad` and `crop` keep its shape, with black bars or cut sides. */
  readonly fit?: Fit | undefined;
  /** `accurate`, or `original` with the original's bytes, which is the default of pipelines from a config file. */
  readonly scaler?: Scaler | undefined;
}

export interface ImageToVideoRequest extends GenerationOptions, ScalingOptions {
  /** The picture that the video starts with, scaled to its size. */
  readonly image: MediaInput;
}

export interface VideoToVideoRequest extends GenerationOptions, ScalingOptions {
  /** The clip that the video continues, read at the config's fps and scaled to its size. */
  readonly video: MediaInput;
  /** Most frames that are taken of the clip; 32, as in the original, where left out. */
  readonly prefixFrames?: number | undefined;
  /** Which of its frames are continued: those at its `end`, or at its `start` as in the original, which is the default of pipelines from a config file. */
  readonly videoFrom?: VideoEnd | undefined;
}
