// What a caller may ask for, and what a run gives: types only. Names follow the documented pipelines in camelCase;
// options.ts says what each option must be, docs/options.md what it does.
import type { Offload } from './offload.ts';
import type { CacheDType } from '@magi1/kernels';
import type { DType } from '@magi1/tensor';
import type { SpecialTokenSwitches } from '../config/index.ts';
import type { LoraInfo } from '../lora/index.ts';
import type { MediaInput } from '../media/rgb-frames.ts';
import type { Fit, Scaler } from '../media/scale.ts';
import type { VideoEnd } from '../media/types.ts';
import type { SamplingStep } from '../sampler/index.ts';
import type { StepState } from '../sampler/sample.ts';
import type { TextRows } from '../text/conditioning.ts';
import type { ProgressListener } from './progress.ts';
import type { RunState } from './kept.ts';

/** Text, image or video to video. */
export type ModeName = 't2v' | 'i2v' | 'v2v';

/**
 * dtype of matrices on the device, as stored where left out. One dtype stands for transformer and text encoder, q8 and q4 for
 * the VAE as well; docs/quantization.md says which weights stay in 16 bit then.
 */
export type WeightDTypes = DType | { readonly transformer?: DType; readonly textEncoder?: DType; readonly vae?: DType };

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
  /** How keys and values of finished chunks are kept; as `params_dtype` of the config says when left out. */
  readonly cacheDType?: CacheDType | undefined;
  /** What was kept of a run that was not finished: it goes on from there, with the same result. */
  readonly resume?: RunState | undefined;
  /** With `resume`: chunks from this one on are made anew, with another seed or prompt; those before it stay. */
  readonly redoFromChunk?: number | undefined;
  /** Called now and then with what `resume` takes; awaited. */
  readonly onState?: ((state: RunState) => unknown) | undefined;
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
  /** Holds the clip's frames before the continued ones as well, up to 1 GiB, so that `clipFrames` need not decode it again. */
  readonly keepClip?: boolean | undefined;
}

/** uint8: RGB levels. float: RGB from 0 to 1. latents: what the sampler gives, before the decoder. */
export type OutputType = 'uint8' | 'float' | 'latents';

/** Plain data: everything that decides the result, texts and pictures aside. */
export interface Settings {
  readonly height: number;
  readonly width: number;
  readonly numFrames: number;
  readonly numInferenceSteps: number;
  readonly seed: number;
  /** Frames that come out, and chunks they come in. */
  readonly frames: number;
  readonly chunks: number;
  /** Latent frames that come out. */
  readonly latentFrames: number;
  readonly fps: number;
  /** Frames that are given, and latent frames they become. */
  readonly prefixFrames: number;
  readonly prefixLatentFrames: number;
  /** null: the checkpoint's own schedule. */
  readonly guidanceScale: number | null;
  readonly maxSequenceLength: number;
  readonly outputType: OutputType;
  readonly cacheDType: CacheDType;
  readonly specialTokens: SpecialTokenSwitches;
}

/** What becomes of the frames of a clip. */
export interface ClipCounts {
  /** Which end of it is continued. */
  readonly from: VideoEnd;
  /** At the run's frame rate; of a clip that is continued from its start no more are read than are wanted. */
  readonly framesRead: number;
  readonly framesContinued: number;
  readonly framesDropped: number;
}

/** Values of frames: uint8, or float32 where outputType asks for 'float' or 'latents'. */
export type FrameValues = Uint8Array | Float32Array;

/** The type of values that the outputType of a request gives, or of a run that was prepared for one. */
export type FramesOf<Asked> = Asked extends { readonly request: infer Request }
  ? FramesOf<Request>
  : Asked extends { readonly outputType: Exclude<OutputType, 'uint8'> }
    ? Float32Array
    : Uint8Array;

/** The frames of one chunk, as soon as they are there. */
export interface VideoChunk<Values extends FrameValues = Uint8Array> {
  /** Order of delivery, from 0. */
  readonly index: number;
  /** Frames, or latent frames. */
  readonly frameCount: number;
  /** Place of its first frame in the video. */
  readonly firstFrame: number;
  /** By outputType: RGB [frameCount, height, width, 3], or latents [C, frameCount, height / 8, width / 8]. */
  readonly frames: Values;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
}

/** What ran, and how it went. */
export interface Facts {
  readonly mode: string;
  /** null where embeddings were given instead. */
  readonly prompt: string | null;
  readonly cleanedPrompt: string | null;
  /** Prompts that take over at later chunks, null where embeddings were given. */
  readonly chunkPrompts: readonly { readonly chunk: number; readonly prompt: string | null }[];
  /** null where there is none, or embeddings were given. */
  readonly negativePrompt: string | null;
  /** Valid rows of the caption, special tokens left out. */
  readonly textTokens: number;
  readonly settings: Settings;
  /** What became of the frames of a clip, and how many new ones follow; null where none is continued. */
  readonly clip: (ClipCounts & { readonly newFrames: number }) | null;
  readonly model: { readonly config: string; readonly name: string };
  readonly loras: readonly LoraInfo[];
  readonly versions: { readonly magi1: string; readonly node?: string };
  readonly device: { readonly backend: string; readonly name: string; readonly reason: string };
  /** How much of the model was on the device at a time. */
  readonly offload: Offload;
  /** Wall time of each stage; loading is 0 where the networks were there already. */
  readonly seconds: {
    readonly loading: number;
    readonly text: number;
    /** Of the image or clip into latents. */
    readonly encoding: number;
    readonly denoising: number;
    readonly decoding: number;
    readonly total: number;
  };
  /** Highest use of device memory during the run, weights included. */
  readonly peakDeviceBytes: number;
  /** Most memory that the process has held so far, whatever for; undefined where it cannot be known. */
  readonly peakProcessBytes?: number;
  /** Passes of one chunk through the transformer: run, and what they would be if no pass were left out. */
  readonly chunkForwards: { readonly run: number; readonly full: number };
  /** Warnings, shown once. */
  readonly notes: readonly string[];
}

export interface GeneratedVideo<Values extends FrameValues = Uint8Array> {
  /** By outputType: RGB [numFrames, height, width, 3], or latents [C, numFrames, height / 8, width / 8]. */
  readonly frames: Values;
  /** Frames, or latent frames. */
  readonly numFrames: number;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly facts: Facts;
}

export interface EncodedPrompt extends TextRows {
  readonly cleaned: string;
  /** The prompt was longer than the longest caption. */
  readonly truncated: boolean;
}
