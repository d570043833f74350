// What a run was asked for, completed: plain data.
import type { SpecialTokenSwitches } from '../config/index.ts';

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
  readonly specialTokens: SpecialTokenSwitches;
}
