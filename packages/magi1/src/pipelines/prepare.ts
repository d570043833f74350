// A request parsed once: checked in full before any work, completed from the checkpoint's config, planned, its picture or
// clip read. What comes of it is a run, which is shared by everything that says what it will make or makes it.
import { cacheCanBe } from '@magi1/kernels';
import { Magi1Error, describeValue, isOptions } from '@magi1/tensor';
import { LATENT_STRIDE, latentChannels, paramsDType } from '../config/index.ts';
import type { Magi1Config, SpecialTokenSwitches } from '../config/index.ts';
import { unknownWords, untrainedSize } from '../config/trained.ts';
import type { RgbFrames } from '../media/rgb-frames.ts';
import { largestMagnitude, magnitudeFault } from '../not-finite.ts';
import { planSampling, samplingOptions, tokensPerChunk, withTextGuidance } from '../sampler/index.ts';
import type { SamplingOptions, SamplingPlan } from '../sampler/index.ts';
import type { TextRows, Texts } from '../text/conditioning.ts';
import { captionTokenKeys } from '../text/special-tokens.ts';
import { ropeTables } from '../transformer/rope.ts';
import { planTiles, tileExtent } from '../vae/tile-plan.ts';
import { defaultTiles } from '../vae/tiling.ts';
import { RequestError, option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';
import { countPrompts, requestFaults, tokenOptions } from './check-options.ts';
import { decoded, mediaDefaults, positivePrompts, resolveTexts } from './inputs.ts';
import type { Mode, Prefix } from './inputs.ts';
import type { ModelFolder } from './model-files.ts';
import { limitFault, validRows } from './option-checks.ts';
import type { ClipCounts, GenerationOptions, Settings, TextEmbeds } from './request.ts';

/** Runs of one batch. */
const MAX_VIDEOS = 100_000;
/** Steps of the window over the chunks; each is an object of the plan. */
const MAX_PLANNED_STEPS = 200_000;

/** Sizes and steps of a request. */
interface Planned {
  readonly settings: Settings;
  readonly sampling: SamplingPlan;
}

/** What a request comes to by the model's config; a picture or clip that is not read yet is taken to suffice. */
export interface CheckedRequest<Request extends GenerationOptions = GenerationOptions> extends Planned {
  readonly source: ModelFolder;
  readonly request: Request;
  /** Prompts, or their T5 features. */
  readonly texts: Texts<string | TextRows>;
  readonly prefix: Prefix;
  readonly videos: number;
  readonly notes: readonly string[];
}

/** What a request would make. */
export interface RunPlan {
  /** Sizes, steps, frames and chunks. */
  readonly settings: Settings;
  /** Videos that the request asks for. */
  readonly videos: number;
  /** What becomes of the frames of a clip that has been read. */
  readonly clip: ClipCounts | null;
  /** Warnings, shown once. */
  readonly notes: readonly string[];
}

/** A request that was parsed by the pipeline that runs it: everything is checked and decided, its picture or clip read. */
export class Run<Request extends GenerationOptions = GenerationOptions> implements RunPlan, CheckedRequest<Request> {
  readonly source: ModelFolder;
  /** As it was given. */
  readonly request: Request;
  readonly settings: Settings;
  /** Every step of the sampler. */
  readonly sampling: SamplingPlan;
  readonly texts: Texts<string | TextRows>;
  readonly prefix: Prefix;
  readonly videos: number;
  readonly notes: readonly string[];

  constructor(checked: CheckedRequest<Request>) {
    this.source = checked.source;
    this.request = checked.request;
    this.settings = checked.settings;
    this.sampling = checked.sampling;
    this.texts = checked.texts;
    this.prefix = checked.prefix;
    this.videos = checked.videos;
    this.notes = checked.notes;
    Object.freeze(this);
  }

  get clip(): ClipCounts | null {
    return this.prefix.clip ?? null;
  }
  /** The frames that it starts from, at its size; null where it starts from a prompt alone. */
  get pictures(): RgbFrames | null {
    return this.prefix.pictures ?? null;
  }
}

/** The runs of a batch, one for each video; they share what has been prepared. */
export function* singleRuns<Request extends GenerationOptions>(
  checked: CheckedRequest<Request>,
): Generator<CheckedRequest<Request>, void, undefined> {
  const { source, request, prefix, videos, settings } = checked;
  if (videos === 1) return yield checked;
  const perPrompt = request.numVideosPerPrompt ?? 1;
  const size = request.latents === undefined ? 0 : request.latents.length / videos;
  for (let video = 0; video < videos; video++) {
    const i = Math.floor(video / perPrompt);
    const seed = settings.seed + video;
    const single: Request = {
      ...request,
      prompt: at(request.prompt, i),
      promptEmbeds: at(request.promptEmbeds, i),
      negativePrompt: at(request.negativePrompt, i),
      negativePromptEmbeds: at(request.negativePromptEmbeds, i),
      numVideosPerPrompt: 1,
      seed,
      latents: request.latents?.subarray(video * size, (video + 1) * size),
    };
    const { options } = checked.sampling;
    const emptyText = hasEmptyText(single, settings.specialTokens);
    const sampling = emptyText === options.emptyText ? checked.sampling : planSampling({ ...options, emptyText });
    yield completed(source, single, prefix, 1, { settings: { ...settings, seed }, sampling });
  }
}

function at<T>(value: T | readonly T[] | undefined, index: number): T | undefined {
  return Array.isArray(value) ? (value as readonly T[])[index] : (value as T | undefined);
}

/** Checks names, types and sizes and plans the run; one error names everything that is wrong. */
export function checkRequest<Request extends GenerationOptions>(
  given: Request,
  mode: Mode<Request>,
  source: ModelFolder,
): CheckedRequest<Request> {
  if (!isOptions(given))
    throw new RequestError(worded`request: an object of options expected, got ${describeValue(given)}`);
  if ('request' in given && 'sampling' in given)
    throw new RequestError(
      worded`request: this is a prepared run or a copy of one; give the run itself to the pipeline that prepared it, or its request with what you change: { ...run.request, seed: 2 }`,
    );
  const request = copied(given);
  const { config, asOriginal } = source;
  const { fps, seed } = config.runtime_config;
  const faults = requestFaults(request, mode.name, config);
  const videos = faults.length > 0 ? 0 : countPrompts(request) * (request.numVideosPerPrompt ?? 1);
  faults.push(...batchFaults(videos, request, seed));
  if (faults.length > 0) throw new RequestError(...faults);
  const prefix = mode.prefix(request, decoded(mode.input(request)), fps, mediaDefaults(asOriginal));
  return completed(source, request, prefix, videos, planRequest(request, prefix, source));
}

/** Lists and plain objects inside one another, down to the mask of a prompt for a chunk. */
const DEPTH = 4;

/**
 * Every option is read once: what a caller changes later, or what would be something else the next time, does not count.
 * Objects of a class are taken as they are, arrays of numbers and functions among them.
 */
function copied<T>(value: T, depth = DEPTH): T {
  if (typeof value !== 'object' || value === null || depth < 0) return value;
  if (!Array.isArray(value) && ![Object.prototype, null].includes(Object.getPrototypeOf(value) as object | null))
    return value;
  const copy = (Array.isArray(value) ? Array.from(value as unknown[]) : { ...value }) as Record<string, unknown>;
  for (const [name, part] of Object.entries(copy)) copy[name] = copied(part, depth - 1);
  return Object.freeze(copy) as T;
}

/** The same with its picture or clip read, where that has not been done. */
export async function readInput<Request extends GenerationOptions>(
  checked: CheckedRequest<Request>,
  mode: Mode<Request>,
  signal: AbortSignal | undefined,
): Promise<CheckedRequest<Request>> {
  const { source, request, settings, prefix: assumed, videos } = checked;
  const { height, width, fps } = settings;
  const { pictures: given } = assumed;
  if (assumed.frames === 0 || (given?.height === height && given.width === width)) return checked;
  const defaults = mediaDefaults(source.asOriginal);
  const pictures = await mode.read({ ...request, signal }, { height, width, fps }, defaults);
  const prefix = mode.prefix(request, pictures, fps, defaults);
  const planned = prefix.frames === assumed.frames ? checked : planRequest(request, prefix, source);
  return completed(source, request, prefix, videos, planned);
}

/** What follows from a plan: which text each chunk has, and what is to be said. */
function completed<Request extends GenerationOptions>(
  source: ModelFolder,
  request: Request,
  prefix: Prefix,
  videos: number,
  { settings, sampling }: Planned,
): CheckedRequest<Request> {
  const { config, trained } = source;
  const latents = latentsFault(request, sampling, settings, videos, config.model_config);
  if (latents !== undefined) throw new RequestError(latents);
  const { notes, ...texts } = resolveTexts(request, chunkStarts(sampling, config), settings.fps);
  return {
    source,
    request,
    settings: frozen(settings),
    sampling: frozen(sampling),
    texts: frozen(texts),
    prefix,
    videos,
    notes: [
      ...prefix.notes,
      ...notes,
      ...withoutEffect(request, config),
      ...lostFrames(config),
      ...(trained === null ? [] : untrainedSize(trained, settings, config.runtime_config)),
      ...(trained === null ? [] : unknownWords(trained, positivePrompts(request))),
    ],
  };
}

/** Frozen with all that it holds, but for arrays of numbers. */
function frozen<T>(value: T): T {
  if (typeof value !== 'object' || value === null || ArrayBuffer.isView(value) || Object.isFrozen(value)) return value;
  Object.values(value).forEach(frozen);
  return Object.freeze(value);
}

/** Sizes and steps of a request whose types are right; `{}` stands for the config's own. */
export function planRequest(request: GenerationOptions, prefix: Prefix, { config, environment }: ModelFolder): Planned {
  const { runtime_config: runtime, model_config: model } = config;
  const height = request.height ?? runtime.video_size_h;
  const width = request.width ?? runtime.video_size_w;
  const numFrames = request.numFrames ?? runtime.num_frames;
  const numSteps = request.numInferenceSteps ?? runtime.num_steps;
  const specialTokens = { ...environment.specialTokens, ...request.specialTokens, ...tokenOptions(request) };
  const faults = limitFaults(request, config, prefix.frames);
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
  const side = LATENT_STRIDE * model.patch_size;
  try {
    if (tokens !== undefined) ropeTables([], height / side, width / side, new Float32Array(1));
  } catch (error) {
    if (!(error instanceof Magi1Error)) throw error;
    faults.push(
      worded`${option('height')} and ${option('width')}: at least ${2 * side} pixels expected, got ${height} and ${width}: a side of one patch (${side} pixels) is only possible when the area is 256 patches`,
    );
  }
  if (Math.floor(runtime.fps / 2) < runtime.temporal_downsample_factor)
    faults.push(
      worded`fps: ${2 * runtime.temporal_downsample_factor} or more expected, got ${runtime.fps}: the VAE works in tiles of half a second, which must hold a latent frame`,
    );
  const sampling = attempt(() => {
    const emptyText = hasEmptyText(request, specialTokens);
    const wanted = { numFrames, numSteps, prefixLatentFrames: prefix.latentFrames, emptyText };
    const options = withOwnSettings(samplingOptions(config, wanted), request);
    checkPlanSize(options);
    return planSampling(options);
  });
  const cacheDType = request.cacheDType ?? paramsDType(config);
  const { num_query_groups: groups, kv_channels } = model;
  if (!cacheCanBe(cacheDType, groups, kv_channels))
    faults.push(
      worded`${option('cacheDType')}: ${cacheDType} takes groups of 64 elements, in rows of a multiple of four, which the ${groups} key heads of ${kv_channels} of this model are not: choose f16 or bf16`,
    );
  if (sampling === undefined || faults.length > 0) throw new RequestError(...faults);
  const starts = chunkStarts(sampling, config);
  return {
    sampling,
    settings: {
      height,
      width,
      numFrames,
      numInferenceSteps: numSteps,
      seed: request.seed ?? runtime.seed,
      frames: starts.at(-1)!,
      chunks: starts.length - 1,
      latentFrames: deliveries(sampling).reduce((sum, frames) => sum + frames, 0),
      fps: runtime.fps,
      prefixFrames: prefix.frames,
      prefixLatentFrames: prefix.latentFrames,
      guidanceScale: request.guidanceScale ?? null,
      maxSequenceLength: request.maxSequenceLength ?? model.caption_max_length,
      outputType: request.outputType ?? 'uint8',
      cacheDType,
      specialTokens,
    },
  };
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
  if (videos === 0) return []; // something else is wrong
  const last = (seed ?? configSeed) + (videos - 1);
  if (!Number.isSafeInteger(last))
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

/** Frames that a chunk of `latents` latent frames decodes to: a tile of one latent frame gives a single frame. */
function decodedFrames(latents: number, fps: number, patchLength: number): number {
  const { t: axis } = planTiles('decode', [latents, 1, 1], defaultTiles(fps), {
    patchLength,
    patchSize: LATENT_STRIDE,
  });
  return axis.starts.reduce((frames, _, i) => {
    const { length } = tileExtent(axis, i, latents);
    return frames + Math.min(axis.keep, length === 1 ? 1 : length * patchLength);
  }, 0);
}

/** No row of text at all, special tokens neither; an empty prompt is a text of one token. */
function hasEmptyText({ promptEmbeds, chunkPrompts }: GenerationOptions, switches: SpecialTokenSwitches): boolean {
  if (promptEmbeds === undefined || (chunkPrompts?.length ?? 0) > 0) return false;
  const first = at<TextEmbeds>(promptEmbeds, 0);
  return validRows(first!) === 0 && captionTokenKeys(switches).length === 0;
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
  const channels = latentChannels(model);
  const shape = [videos, channels, plan.latentFrames, height / LATENT_STRIDE, width / LATENT_STRIDE];
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

/** What is wrong with the numbers that decide the plan, those of the config included. */
function limitFaults(
  request: GenerationOptions,
  { runtime_config: runtime }: Magi1Config,
  prefixFrames: number,
): Wording[] {
  const given = [
    ['height', request.height, runtime.video_size_h, 'runtime_config.video_size_h'],
    ['width', request.width, runtime.video_size_w, 'runtime_config.video_size_w'],
    ['numFrames', request.numFrames, runtime.num_frames, 'runtime_config.num_frames'],
    ['numInferenceSteps', request.numInferenceSteps, runtime.num_steps, 'runtime_config.num_steps'],
  ] as const;
  const faults = given.flatMap(([name, value, fallback, field]) =>
    value === undefined ? limitFault(name, fallback, field) : limitFault(name, value),
  );
  return [...faults, ...limitFault('prefixFrames', prefixFrames)];
}
