// What a caller asks for: checked in full before any work, and completed from the checkpoint's config.
import { Magi1Error } from '@magi1/tensor';
import type { Magi1Config, SpecialTokenSwitches } from '../config/index.ts';
import { planSampling, samplingOptions, tokensPerChunk } from '../sampler/index.ts';
import type { SamplingPlan, SamplingStep } from '../sampler/index.ts';
import type { StepState } from '../sampler/sample.ts';
import { ropeTables } from '../transformer/rope.ts';
import type { ProgressListener } from './progress.ts';

/** Sizes and settings of a run; the checkpoint's config gives what is left out. */
export interface GenerationOptions {
  /** Pixels, multiples of 16. */
  readonly height?: number | undefined;
  readonly width?: number | undefined;
  /** New frames wanted; made in whole chunks, so that more may come (see `Settings.frames`). */
  readonly numFrames?: number | undefined;
  readonly numInferenceSteps?: number | undefined;
  /** Any whole number; the same seed gives the same noise on every device. */
  readonly seed?: number | undefined;
  /** Initial noise instead of the seed's: [1, C, latent frames, height / 8, width / 8]. */
  readonly latents?: Float32Array | undefined;
  /** Switches of special tokens over those of the environment. */
  readonly specialTokens?: Partial<SpecialTokenSwitches> | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
  /** After every denoising step; the tensors are views, valid during the call. */
  readonly onStep?: ((step: SamplingStep, state: StepState) => void) | undefined;
}

export interface TextToVideoRequest extends GenerationOptions {
  /** May be empty: that is a caption of one token. */
  readonly prompt: string;
}

/** Plain data: everything that decides the result. */
export interface Settings {
  readonly height: number;
  readonly width: number;
  readonly numFrames: number;
  readonly numInferenceSteps: number;
  readonly seed: number;
  /** Frames that come out, and chunks they come in. */
  readonly frames: number;
  readonly chunks: number;
  readonly fps: number;
  readonly specialTokens: SpecialTokenSwitches;
}

export interface CheckedRequest {
  readonly settings: Settings;
  readonly plan: SamplingPlan;
}

const GENERATION_OPTIONS = [
  'height',
  'width',
  'numFrames',
  'numInferenceSteps',
  'seed',
  'latents',
  'specialTokens',
  'signal',
  'onProgress',
  'onStep',
];

/**
 * Checks names, types and sizes and plans the run; one error names everything that is wrong.
 * @param inputs names of the options that this pipeline takes beyond the common ones, with what is wrong with each
 */
export function checkRequest(
  request: GenerationOptions,
  inputs: Readonly<Record<string, string | undefined>>,
  config: Magi1Config,
  switches: SpecialTokenSwitches,
): CheckedRequest {
  if (typeof request !== 'object' || request === null)
    throw new Magi1Error(`request: an object of options expected, got ${describe(request)}`);
  const known = [...Object.keys(inputs), ...GENERATION_OPTIONS];
  const faults = Object.keys(request)
    .filter((name) => !known.includes(name))
    .map((name) => `${name} is no option here (${known.join(', ')})`);
  faults.push(...Object.values(inputs).filter((fault) => fault !== undefined), ...wrongTypes(request, switches));
  if (faults.length > 0) throw new Magi1Error(`request: ${faults.join('; ')}`);

  const { runtime_config: runtime, model_config: model } = config;
  const height = request.height ?? runtime.video_size_h;
  const width = request.width ?? runtime.video_size_w;
  const numFrames = request.numFrames ?? runtime.num_frames;
  const numInferenceSteps = request.numInferenceSteps ?? runtime.num_steps;
  const attempt = <T>(check: () => T): T | undefined => {
    try {
      return check();
    } catch (error) {
      if (!(error instanceof Magi1Error)) throw error;
      faults.push(error.message);
      return undefined;
    }
  };
  const tokens = attempt(() => tokensPerChunk(height, width, runtime.chunk_width, model));
  const side = 8 * model.patch_size;
  if (tokens !== undefined) attempt(() => ropeTables([0], height / side, width / side, new Float32Array(1)));
  const plan = attempt(() => planSampling(samplingOptions(config, { numFrames, numSteps: numInferenceSteps })));
  if (plan !== undefined && faults.length === 0 && request.latents !== undefined) {
    const channels = model.half_channel_vae ? model.in_channels / 2 : model.in_channels;
    const shape = [1, channels, plan.latentFrames, height / 8, width / 8];
    const expected = shape.reduce((product, dim) => product * dim, 1);
    if (request.latents.length !== expected)
      faults.push(`latents: ${expected} values expected, [${shape.join(', ')}], got ${request.latents.length}`);
  }
  if (plan === undefined || faults.length > 0) throw new Magi1Error(faults.join('; '));
  return {
    plan,
    settings: {
      height,
      width,
      numFrames,
      numInferenceSteps,
      seed: request.seed ?? runtime.seed,
      frames: plan.latentFrames * runtime.temporal_downsample_factor,
      chunks: plan.options.chunks - plan.chunkOffset,
      fps: runtime.fps,
      specialTokens: { ...switches, ...request.specialTokens },
    },
  };
}

function wrongTypes(request: GenerationOptions, switches: SpecialTokenSwitches): string[] {
  const faults: string[] = [];
  const expect = (name: keyof GenerationOptions, what: string, fits: (value: unknown) => boolean) => {
    const value: unknown = request[name];
    if (value !== undefined && !fits(value)) faults.push(`${name}: ${what} expected, got ${describe(value)}`);
  };
  for (const name of ['height', 'width', 'numFrames', 'numInferenceSteps'] as const)
    expect(name, 'a whole number above 0', (value) => Number.isSafeInteger(value) && (value as number) > 0);
  expect('seed', 'a whole number', Number.isSafeInteger);
  expect('latents', 'a Float32Array', (value) => value instanceof Float32Array);
  expect('signal', 'an AbortSignal', (value) => value instanceof AbortSignal);
  for (const name of ['onProgress', 'onStep'] as const)
    expect(name, 'a function', (value) => typeof value === 'function');
  expect('specialTokens', `an object of ${Object.keys(switches).join(', ')} to true or false`, (value) =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).every(([key, on]) => key in switches && typeof on === 'boolean')
      : false,
  );
  return faults;
}

/** A value as it shows in messages. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  if (typeof value === 'object') return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return value === undefined ? 'nothing' : `a ${typeof value}`;
}
