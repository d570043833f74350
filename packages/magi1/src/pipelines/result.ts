// What a run gives: chunks as they are finished, the whole video, and the facts of the run.
import type { TextRows } from '../text/conditioning.ts';
import type { LoraInfo } from '../lora/index.ts';
import type { ClipCounts } from './prefix.ts';
import type { OutputType, Settings } from './settings.ts';

/** Values of frames: uint8, or float32 where outputType asks for 'float' or 'latents'. */
export type FrameValues = Uint8Array | Float32Array;

/** The type of values that a request's outputType gives. */
export type FramesOf<Request> = Request extends { readonly outputType: Exclude<OutputType, 'uint8'> }
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
