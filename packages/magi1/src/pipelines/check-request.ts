// Checks a request in full before any work, completes it from the checkpoint's config, and plans the run.
import { Magi1Error } from '@magi1/tensor';
import type { Magi1Config, SpecialTokenSwitches } from '../config/index.ts';
import { planSampling, samplingOptions, tokensPerChunk, withTextGuidance } from '../sampler/index.ts';
import type { SamplingOptions, SamplingPlan } from '../sampler/index.ts';
import { captionTokenKeys } from '../text-conditioning/index.ts';
import { ropeTables } from '../transformer/rope.ts';
import { describe } from './describe.ts';
import { decodedFrames } from './frame-counts.ts';
import type { Mode } from './mode.ts';
import type { Prefix } from './prefix.ts';
import type { GenerationOptions } from './request.ts';
import type { OutputType, Settings } from './settings.ts';
import { countPrompts, resolveTexts, textFaults } from './texts.ts';
import type { Texts } from './texts.ts';
import { untrainedSize } from './trained.ts';
import type { Trained } from './trained.ts';

export interface CheckedRequest {
  readonly settings: Settings;
  readonly plan: SamplingPlan;
  readonly texts: Texts;
  readonly prefix: Prefix;
  /** Runs that the request asks for. */
  readonly videos: number;
  /** What a user should be told once. */
  readonly notes: readonly string[];
}

/** What the checks need to know of a model. */
export interface RequestContext {
  readonly config: Magi1Config;
  /** Switches of the environment. */
  readonly switches: SpecialTokenSwitches;
  readonly trained: Trained | null;
}

const OUTPUT_TYPES: readonly OutputType[] = ['uint8', 'float', 'latents'];

/** The documented pipelines' names of the switches. */
const TOKEN_OPTIONS = {
  useHqToken: 'hq',
  useDuration: 'duration',
  useBorderness: 'borderness',
  useStaticFirstFrames: 'static',
  useDynamicFirstFrames: 'dynamic',
  use3dStyle: 'threeDModel',
  use2dAnimeStyle: 'twoDAnime',
  useNegativeTokens: 'negative',
} as const satisfies Partial<Record<keyof GenerationOptions, keyof SpecialTokenSwitches>>;

type TokenOption = keyof typeof TOKEN_OPTIONS;
const TOKEN_OPTION_NAMES = Object.keys(TOKEN_OPTIONS) as TokenOption[];

const GENERATION_OPTIONS: readonly (keyof GenerationOptions)[] = [
  'prompt',
  'promptEmbeds',
  'negativePrompt',
  'negativePromptEmbeds',
  'chunkPrompts',
  'height',
  'width',
  'numFrames',
  'numInferenceSteps',
  'guidanceScale',
  'numVideosPerPrompt',
  'seed',
  'latents',
  'outputType',
  'maxSequenceLength',
  'specialTokens',
  ...TOKEN_OPTION_NAMES,
  'enableDistillation',
  'distillNearlyCleanChunkThreshold',
  'attentionKwargs',
  'signal',
  'onProgress',
  'onStep',
  'callbackOnStepEnd',
  'onChunk',
];

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
    ...Object.keys(request)
      .filter((name) => !known.includes(name))
      .map((name) => `${name} is no option here (${known.join(', ')})`),
    ...Object.values(inputs).filter((fault) => fault !== undefined),
    ...textFaults(request, { width: model.caption_channels, maxLength: model.caption_max_length }),
    ...wrongTypes(request, context),
  ];
  if (faults.length > 0) throw new Magi1Error(`request: ${faults.join('; ')}`);
  const prefix = mode.prefix(request, runtime.fps);
  if (typeof prefix === 'string') throw new Magi1Error(prefix);
  const { settings, plan } = planRequest(request, prefix, context);
  const texts = resolveTexts(request, chunkStarts(plan, config), runtime.fps);
  if (typeof texts === 'string') throw new Magi1Error(texts);
  const videos = countPrompts(request) * (request.numVideosPerPrompt ?? 1);
  const latents = latentsFault(request, plan, settings, videos, model);
  if (latents !== undefined) throw new Magi1Error(latents);
  return {
    settings,
    plan,
    texts,
    prefix,
    videos,
    notes: [
      ...prefix.notes,
      ...withoutEffect(request, config),
      ...lostFrames(config),
      ...(trained === null ? [] : untrainedSize(trained, settings)),
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
  const faults: string[] = [];
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
  if (Math.floor(runtime.fps / 2) < runtime.temporal_downsample_factor)
    faults.push(
      `fps: ${2 * runtime.temporal_downsample_factor} or more expected, got ${runtime.fps}: the VAE works in tiles of half a second, which must hold a latent frame`,
    );
  const plan = attempt(() => {
    const emptyText = hasEmptyText(request, specialTokens);
    const wanted = { numFrames, numSteps, prefixLatentFrames: prefix.latentFrames, emptyText };
    return planSampling(withOwnSettings(samplingOptions(config, wanted), request));
  });
  if (plan === undefined || faults.length > 0) throw new Magi1Error(faults.join('; '));
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
): string | undefined {
  if (latents === undefined) return undefined;
  const channels = model.half_channel_vae ? model.in_channels / 2 : model.in_channels;
  const shape = [videos, channels, plan.latentFrames, height / 8, width / 8];
  const expected = shape.reduce((product, dim) => product * dim, 1);
  return latents.length === expected
    ? undefined
    : `latents: ${expected} values expected, [${shape.join(', ')}], got ${latents.length}`;
}

function withoutEffect(request: GenerationOptions, { runtime_config: runtime }: Magi1Config): string[] {
  if (runtime.cfg_number !== 1) return [];
  const names = (['guidanceScale', 'negativePrompt', 'negativePromptEmbeds'] as const).filter(
    (name) => (request[name] ?? undefined) !== undefined,
  );
  return names.length === 0
    ? []
    : [`without effect on this checkpoint, which runs in one pass without guidance: ${names.join(', ')}`];
}

/** The tiles of some frame rates end with a single latent frame, which decodes to a single frame. */
function lostFrames({ runtime_config: { chunk_width: width, fps, temporal_downsample_factor: factor } }: Magi1Config) {
  const frames = decodedFrames(width, fps, factor);
  if (frames === width * factor) return [];
  return [
    `at fps ${fps} a chunk gives ${frames} frames instead of ${width * factor}: the VAE works in tiles of half a second, and a tile of a single latent frame decodes to one frame`,
  ];
}

function tokenOptions(request: GenerationOptions): Partial<SpecialTokenSwitches> {
  const given = TOKEN_OPTION_NAMES.filter((name) => request[name] !== undefined);
  return Object.fromEntries(given.map((name) => [TOKEN_OPTIONS[name], request[name]]));
}

function wrongTypes(request: GenerationOptions, { config, switches }: RequestContext): string[] {
  const faults: string[] = [];
  const expect = (name: keyof GenerationOptions, what: string, fits: (value: unknown) => boolean) => {
    const value: unknown = request[name];
    if (value !== undefined && !fits(value)) faults.push(`${name}: ${what} expected, got ${describe(value)}`);
  };
  for (const name of ['height', 'width', 'numFrames', 'numInferenceSteps', 'numVideosPerPrompt'] as const)
    expect(name, 'a whole number above 0', (value) => Number.isSafeInteger(value) && (value as number) > 0);
  expect('seed', 'a whole number', Number.isSafeInteger);
  expect('latents', 'a Float32Array', (value) => value instanceof Float32Array);
  expect('signal', 'an AbortSignal', (value) => value instanceof AbortSignal);
  expect('outputType', `one of ${OUTPUT_TYPES.join(', ')}`, (value) => OUTPUT_TYPES.includes(value as OutputType));
  for (const name of ['onProgress', 'onStep', 'callbackOnStepEnd', 'onChunk'] as const)
    expect(name, 'a function', (value) => typeof value === 'function');
  expect(
    'guidanceScale',
    "a number from 0 up, or null for the checkpoint's own,",
    (value) => value === null || (Number.isFinite(value) && (value as number) >= 0),
  );
  const longest = config.model_config.caption_max_length;
  expect(
    'maxSequenceLength',
    `a whole number from 1 to ${longest} (caption_max_length)`,
    (value) => Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= longest,
  );
  expect(
    'attentionKwargs',
    'an object with scale, a finite number,',
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Object.entries(value).every(([key, scale]) => key === 'scale' && (scale === undefined || Number.isFinite(scale))),
  );
  for (const name of TOKEN_OPTION_NAMES) expect(name, 'true or false', (value) => typeof value === 'boolean');
  expect('specialTokens', `an object of ${Object.keys(switches).join(', ')} to true or false`, (value) =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).every(([key, on]) => key in switches && typeof on === 'boolean')
      : false,
  );
  for (const name of TOKEN_OPTION_NAMES) {
    const other = request.specialTokens?.[TOKEN_OPTIONS[name]];
    if (request[name] !== undefined && other !== undefined && other !== request[name])
      faults.push(`${name} and specialTokens.${TOKEN_OPTIONS[name]} contradict each other`);
  }
  faults.push(...distillationFaults(request, config));
  return faults;
}

function distillationFaults(
  request: GenerationOptions,
  { engine_config: engine, runtime_config: runtime }: Magi1Config,
): string[] {
  const { enableDistillation: wanted, distillNearlyCleanChunkThreshold: threshold } = request;
  const faults: string[] = [];
  if (wanted !== undefined && typeof wanted !== 'boolean')
    faults.push(`enableDistillation: true or false expected, got ${describe(wanted)}`);
  else if (wanted === true && !engine.distill)
    faults.push(
      'enableDistillation: this is a base checkpoint (engine_config.distill is false), whose steps cannot be shortened this way; open a distilled checkpoint instead',
    );
  else if (wanted === false && engine.distill)
    faults.push(
      'enableDistillation: this is a distilled checkpoint (engine_config.distill is true), which gives garbage with the base settings; open a base checkpoint instead',
    );
  if (threshold !== undefined) {
    if (!Number.isFinite(threshold))
      faults.push(`distillNearlyCleanChunkThreshold: a number expected, got ${describe(threshold)}`);
    else if (runtime.cfg_number !== 1)
      faults.push(
        'distillNearlyCleanChunkThreshold: it acts on checkpoints that run in one pass (distilled, fp8), this is a base one; leave it out',
      );
  }
  return faults;
}
