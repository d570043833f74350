// Checks a request in full before any work, completes it from the checkpoint's config, and plans the run.
import { Magi1Error } from '@magi1/tensor';
import type { Magi1Config, SpecialTokenSwitches } from '../config/index.ts';
import { largestMagnitude, magnitudeFault } from '../not-finite.ts';
import { planSampling, samplingOptions, tokensPerChunk, withTextGuidance } from '../sampler/index.ts';
import type { SamplingOptions, SamplingPlan } from '../sampler/index.ts';
import { captionTokenKeys } from '../text/special-tokens.ts';
import { ropeTables } from '../transformer/rope.ts';
import { RequestError, option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';
import { describe } from '../describe.ts';
import { decodedFrames } from './frame-counts.ts';
import { MAX_PLANNED_STEPS, MAX_VIDEOS } from './limits.ts';
import { mediaDefaults } from './mode.ts';
import type { Mode } from './mode.ts';
import { GENERATION_OPTIONS, planFaults, tokenOptions, unknownNames, wrongTypes } from './option-faults.ts';
import type { Prefix } from './prefix.ts';
import type { GenerationOptions } from './request.ts';
import type { Settings } from './settings.ts';
import { countPrompts, positivePrompts, resolveTexts, textFaults } from './texts.ts';
import type { Texts } from './texts.ts';
import { unknownWords, untrainedSize } from './trained.ts';
import type { Trained } from './trained.ts';

export interface CheckedRequest {
  readonly settings: Settings;
  readonly plan: SamplingPlan;
  readonly texts: Texts;
  readonly prefix: Prefix;
  /** Runs that the request asks for. */
  readonly videos: number;
  /** Warnings, shown once. */
  readonly notes: readonly string[];
}

/** What the checks need to know of a model. */
export interface RequestContext {
  readonly config: Magi1Config;
  /** Switches of the environment. */
  readonly switches: SpecialTokenSwitches;
  readonly trained: Trained | null;
  /** Whether a config file of the original is run, in its way. */
  readonly asOriginal: boolean;
}

/** Checks names, types and sizes and plans the run; one error names everything that is wrong. */
export function checkRequest<Request extends GenerationOptions>(
  request: Request,
  mode: Mode<Request>,
  context: RequestContext,
): CheckedRequest {
  if (typeof request !== 'object' || request === null)
    throw new Magi1Error(`request: an object of options expected, got ${describe(request)}`);
  const { config, trained } = context;
  const { model_config: model, runtime_config: runtime } = config;
  const inputs = mode.faults(request, runtime.fps);
  const known = [...Object.keys(inputs), ...GENERATION_OPTIONS];
  const faults = [
    ...unknownNames(request, known),
    ...Object.values(inputs).filter((fault) => fault !== undefined),
    ...textFaults(request, { width: model.caption_channels, maxLength: model.caption_max_length }),
    ...wrongTypes(request, context),
  ];
  const videos = faults.length > 0 ? 0 : countPrompts(request) * (request.numVideosPerPrompt ?? 1);
  faults.push(...batchFaults(videos, request, runtime.seed));
  if (faults.length > 0) throw new RequestError(...faults);
  const prefix = mode.prefix(request, runtime.fps, mediaDefaults(context.asOriginal));
  const { settings, plan } = planRequest(request, prefix, context);
  const texts = resolveTexts(request, chunkStarts(plan, config), runtime.fps);
  const latents = latentsFault(request, plan, settings, videos, model);
  if (latents !== undefined) throw new RequestError(latents);
  return {
    settings,
    plan,
    texts,
    prefix,
    videos,
    notes: [
      ...prefix.notes,
      ...texts.notes,
      ...withoutEffect(request, config),
      ...lostFrames(config),
      ...(trained === null ? [] : untrainedSize(trained, settings, runtime)),
      ...(trained === null ? [] : unknownWords(trained, positivePrompts(request))),
    ],
  };
}

/** Sizes and steps of a request whose types are right; `{}` stands for the config's own. */
export function planRequest(
  request: GenerationOptions,
  prefix: Prefix,
  { config, switches }: RequestContext,
): { settings: Settings; plan: SamplingPlan } {
  const { runtime_config: runtime, model_config: model } = config;
  const height = request.height ?? runtime.video_size_h;
  const width = request.width ?? runtime.video_size_w;
  const numFrames = request.numFrames ?? runtime.num_frames;
  const numSteps = request.numInferenceSteps ?? runtime.num_steps;
  const specialTokens = { ...switches, ...request.specialTokens, ...tokenOptions(request) };
  const faults = planFaults(request, config, prefix.frames);
  if (faults.length > 0) throw new RequestError(...faults);
  const attempt = <T>(check: () => T): T | undefined => {
    try {
      return check();
    } catch (error) {
      if (!(error instanceof Magi1Error)) throw error;
      faults.push(error instanceof RequestError ? error.wording : worded`${error.message}`);
      return undefined;
    }
  };
  const tokens = attempt(() => tokensPerChunk(height, width, runtime.chunk_width, model));
  const side = 8 * model.patch_size;
  if (tokens !== undefined) attempt(() => ropeTables([0], height / side, width / side, new Float32Array(1)));
  if (Math.floor(runtime.fps / 2) < runtime.temporal_downsample_factor)
    faults.push(
      worded`fps: ${2 * runtime.temporal_downsample_factor} or more expected, got ${runtime.fps}: the VAE works in tiles of half a second, which must hold a latent frame`,
    );
  const plan = attempt(() => {
    const emptyText = hasEmptyText(request, specialTokens);
    const wanted = { numFrames, numSteps, prefixLatentFrames: prefix.latentFrames, emptyText };
    const options = withOwnSettings(samplingOptions(config, wanted), request);
    checkPlanSize(options);
    return planSampling(options);
  });
  if (plan === undefined || faults.length > 0) throw new RequestError(...faults);
  const starts = chunkStarts(plan, config);
  return {
    plan,
    settings: {
      height,
      width,
      numFrames,
      numInferenceSteps: numSteps,
      seed: request.seed ?? runtime.seed,
      frames: starts.at(-1)!,
      chunks: starts.length - 1,
      latentFrames: deliveries(plan).reduce((sum, frames) => sum + frames, 0),
      fps: runtime.fps,
      prefixFrames: prefix.frames,
      prefixLatentFrames: prefix.latentFrames,
      guidanceScale: request.guidanceScale ?? null,
      maxSequenceLength: request.maxSequenceLength ?? model.caption_max_length,
      outputType: request.outputType ?? 'uint8',
      specialTokens,
    },
  };
}

/** The requests of a batch, one run each. */
export function singleRequests<Request extends GenerationOptions>(
  request: Request,
  { settings, videos }: CheckedRequest,
): Request[] {
  const perPrompt = request.numVideosPerPrompt ?? 1;
  const at = <T>(value: T | readonly T[] | undefined, index: number): T | undefined =>
    Array.isArray(value) ? (value as readonly T[])[index] : (value as T | undefined);
  const size = request.latents === undefined ? 0 : request.latents.length / videos;
  return Array.from({ length: videos }, (_, video) => {
    const i = Math.floor(video / perPrompt);
    return {
      ...request,
      prompt: at(request.prompt, i),
      promptEmbeds: at(request.promptEmbeds, i),
      negativePrompt: at(request.negativePrompt, i),
      negativePromptEmbeds: at(request.negativePromptEmbeds, i),
      numVideosPerPrompt: 1,
      seed: settings.seed + video,
      latents: request.latents?.subarray(video * size, (video + 1) * size),
    };
  });
}

/** Steps of the window over the chunks: a plan holds every one of them. */
function checkPlanSize({ chunks, numSteps, windowSize }: SamplingOptions): void {
  const steps = ((chunks + windowSize - 1) * numSteps) / windowSize;
  if (steps > MAX_PLANNED_STEPS)
    throw new RequestError(
      worded`${option('numFrames')} and ${option('numInferenceSteps')}: ${chunks} chunks of ${numSteps} steps are ${Math.ceil(steps)} steps of the window of ${windowSize}, at most ${MAX_PLANNED_STEPS} expected`,
    );
}

/** What is wrong with the number of runs, and with the seed of the last one. */
function batchFaults(videos: number, { prompt, seed }: GenerationOptions, configSeed: number): Wording[] {
  if (videos > MAX_VIDEOS)
    return [
      worded`${option(Array.isArray(prompt) ? 'prompt' : 'promptEmbeds')} and ${option('numVideosPerPrompt')}: at most ${MAX_VIDEOS} videos expected, got ${videos}`,
    ];
  const last = (seed ?? configSeed) + (videos - 1);
  if (videos > 0 && !Number.isSafeInteger(last))
    return [
      worded`${option('seed')}: the last of ${videos} videos would have ${last}, a whole number up to ${Number.MAX_SAFE_INTEGER} expected`,
    ];
  return [];
}

/** Latent frames of each chunk as they are delivered. */
function deliveries(plan: SamplingPlan): number[] {
  return plan.steps.flatMap(({ finished }) => (finished === null ? [] : [finished.frames[1] - finished.frames[0]]));
}

/** First frame of each chunk that comes out, and the number of frames in all. */
function chunkStarts(plan: SamplingPlan, { runtime_config: runtime }: Magi1Config): number[] {
  const starts = [0];
  for (const latents of deliveries(plan))
    starts.push(starts.at(-1)! + decodedFrames(latents, runtime.fps, runtime.temporal_downsample_factor));
  return starts;
}

/** No row of text at all, special tokens neither; an empty prompt is a text of one token. */
function hasEmptyText({ promptEmbeds, chunkPrompts }: GenerationOptions, switches: SpecialTokenSwitches): boolean {
  if (promptEmbeds === undefined || (chunkPrompts?.length ?? 0) > 0) return false;
  const all = Array.isArray(promptEmbeds) ? promptEmbeds : [promptEmbeds];
  const rows = (all as { length: number; mask?: ArrayLike<number> }[]).map(({ length, mask }) =>
    mask === undefined ? length : Array.from(mask).reduce((sum, on) => sum + on, 0),
  );
  return rows[0] === 0 && captionTokenKeys(switches).length === 0;
}

function withOwnSettings(options: SamplingOptions, request: GenerationOptions): SamplingOptions {
  const { guidanceScale, distillNearlyCleanChunkThreshold } = request;
  return {
    ...options,
    guidance: typeof guidanceScale === 'number' ? withTextGuidance(options.guidance, guidanceScale) : options.guidance,
    nearlyCleanThreshold: distillNearlyCleanChunkThreshold ?? options.nearlyCleanThreshold,
  };
}

function latentsFault(
  { latents }: GenerationOptions,
  plan: SamplingPlan,
  { height, width }: Settings,
  videos: number,
  model: Magi1Config['model_config'],
): Wording | undefined {
  if (latents === undefined) return undefined;
  const channels = model.half_channel_vae ? model.in_channels / 2 : model.in_channels;
  const shape = [videos, channels, plan.latentFrames, height / 8, width / 8];
  const expected = shape.reduce((product, dim) => product * dim, 1);
  if (latents.length !== expected)
    return worded`${option('latents')}: ${expected} values expected, [${shape.join(', ')}], got ${latents.length}`;
  const fault = magnitudeFault(largestMagnitude(latents));
  return fault === undefined ? undefined : worded`${option('latents')}: the values ${fault}`;
}

function withoutEffect(request: GenerationOptions, { runtime_config: runtime }: Magi1Config): string[] {
  if (runtime.cfg_number !== 1) return [];
  const given = [
    ...((request.guidanceScale ?? undefined) === undefined ? [] : ['the guidance scale']),
    ...((request.negativePrompt ?? request.negativePromptEmbeds) === undefined ? [] : ['the negative prompt']),
  ];
  return given.length === 0
    ? []
    : [`without effect on this checkpoint, which runs in one pass without guidance: ${given.join(', ')}`];
}

/** The tiles of some frame rates end with a single latent frame, which decodes to a single frame. */
function lostFrames({ runtime_config: { chunk_width: width, fps, temporal_downsample_factor: factor } }: Magi1Config) {
  const frames = decodedFrames(width, fps, factor);
  if (frames === width * factor) return [];
  return [
    `at fps ${fps} a chunk gives ${frames} frames instead of ${width * factor}: the VAE works in tiles of half a second, and a tile of a single latent frame decodes to one frame`,
  ];
}
