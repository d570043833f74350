// The options of a request one by one: their names, types and ranges.
import type { Magi1Config, SpecialTokenSwitches } from '../config/index.ts';
import { option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';
import { describe } from '../describe.ts';
import { MAX_SCALE, limitFault } from './limits.ts';
import type { GenerationOptions } from './request.ts';
import type { OutputType } from './settings.ts';

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

export type TokenOption = keyof typeof TOKEN_OPTIONS;
const TOKEN_OPTION_NAMES = Object.keys(TOKEN_OPTIONS) as TokenOption[];

export const GENERATION_OPTIONS: readonly (keyof GenerationOptions)[] = [
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

/** `NAME: WHAT expected, got VALUE`. */
export function expected(name: string, what: string, value: unknown): Wording {
  return worded`${option(name)}: ${what} expected, got ${describe(value)}`;
}

/** Names that are none of the known ones. */
export function unknownNames(given: object, known: readonly string[]): Wording[] {
  return Object.keys(given)
    .filter((name) => !known.includes(name))
    .map((name) => worded`unknown option ${name} (known: ${known.join(', ')})`);
}

/** Signal, listeners and the like, wherever they are taken. */
export function callFaults(options: object): Wording[] {
  const { signal, onProgress } = options as { signal?: unknown; onProgress?: unknown };
  return [
    ...(signal === undefined || signal instanceof AbortSignal ? [] : [expected('signal', 'an AbortSignal', signal)]),
    ...(onProgress === undefined || typeof onProgress === 'function'
      ? []
      : [expected('onProgress', 'a function', onProgress)]),
  ];
}

export function lengthFault(value: unknown, { model_config: model }: Magi1Config): Wording | undefined {
  const longest = model.caption_max_length;
  if (value === undefined) return undefined;
  if (Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= longest) return undefined;
  return expected('maxSequenceLength', `a whole number from 1 to ${longest} (caption_max_length)`, value);
}

/** Switches that a request sets by the documented pipelines' names. */
export function tokenOptions(request: GenerationOptions): Partial<SpecialTokenSwitches> {
  const given = TOKEN_OPTION_NAMES.filter((name) => request[name] !== undefined);
  return Object.fromEntries(given.map((name) => [TOKEN_OPTIONS[name], request[name]]));
}

/** The option by which a request switches a token on; undefined where it does not. */
export function tokenOptionOf(request: GenerationOptions, key: keyof SpecialTokenSwitches): string | undefined {
  const name = TOKEN_OPTION_NAMES.find((each) => TOKEN_OPTIONS[each] === key && request[each] === true);
  return name ?? (request.specialTokens?.[key] === true ? 'specialTokens' : undefined);
}

export function wrongTypes(
  request: GenerationOptions,
  { config, switches }: { readonly config: Magi1Config; readonly switches: SpecialTokenSwitches },
): Wording[] {
  const faults: (Wording | undefined)[] = [];
  const expect = (name: keyof GenerationOptions, what: string, fits: (value: unknown) => boolean) => {
    const value: unknown = request[name];
    if (value !== undefined && !fits(value)) faults.push(expected(name, what, value));
  };
  for (const name of ['height', 'width', 'numFrames', 'numInferenceSteps', 'numVideosPerPrompt'] as const) {
    const value: unknown = request[name];
    if (value === undefined) continue;
    // Numbers too large to be safe whole numbers are too large, whatever else they are.
    const whole = Number.isInteger(value) && (value as number) > 0;
    faults.push(whole ? limitFault(name, value as number) : expected(name, 'a whole number above 0', value));
  }
  expect('seed', 'a whole number', Number.isSafeInteger);
  expect('latents', 'a Float32Array', (value) => value instanceof Float32Array);
  expect('outputType', `one of ${OUTPUT_TYPES.join(', ')}`, (value) => OUTPUT_TYPES.includes(value as OutputType));
  for (const name of ['onStep', 'callbackOnStepEnd', 'onChunk'] as const)
    expect(name, 'a function', (value) => typeof value === 'function');
  expect(
    'guidanceScale',
    `a number from 0 to ${MAX_SCALE}, or null for the checkpoint's own,`,
    (value) => value === null || (Number.isFinite(value) && (value as number) >= 0 && (value as number) <= MAX_SCALE),
  );
  faults.push(lengthFault(request.maxSequenceLength, config));
  expect(
    'attentionKwargs',
    `an object with scale, a number from -${MAX_SCALE} to ${MAX_SCALE},`,
    (value) =>
      typeof value === 'object' &&
      value !== null &&
      Object.entries(value).every(
        ([key, scale]) => key === 'scale' && (scale === undefined || Math.abs(scale as number) <= MAX_SCALE),
      ) &&
      ['number', 'undefined'].includes(typeof (value as { scale?: unknown }).scale),
  );
  for (const name of TOKEN_OPTION_NAMES) expect(name, 'true or false', (value) => typeof value === 'boolean');
  expect('specialTokens', `an object of ${Object.keys(switches).join(', ')} to true or false`, (value) =>
    typeof value === 'object' && value !== null
      ? Object.entries(value).every(([key, on]) => Object.hasOwn(switches, key) && typeof on === 'boolean')
      : false,
  );
  for (const name of TOKEN_OPTION_NAMES) {
    const other = request.specialTokens?.[TOKEN_OPTIONS[name]];
    if (request[name] !== undefined && other !== undefined && other !== request[name])
      faults.push(worded`${option(name)} and specialTokens.${TOKEN_OPTIONS[name]} contradict each other`);
  }
  faults.push(...callFaults(request), ...distillationFaults(request, config));
  return faults.filter((fault) => fault !== undefined);
}

function distillationFaults(
  request: GenerationOptions,
  { engine_config: engine, runtime_config: runtime }: Magi1Config,
): Wording[] {
  const { enableDistillation: wanted, distillNearlyCleanChunkThreshold: threshold } = request;
  const faults: Wording[] = [];
  const distillation = option('enableDistillation');
  if (wanted !== undefined && typeof wanted !== 'boolean')
    faults.push(expected('enableDistillation', 'true or false', wanted));
  else if (wanted === true && !engine.distill)
    faults.push(
      worded`${distillation}: this is a base checkpoint (engine_config.distill is false), whose steps cannot be shortened this way; open a distilled checkpoint instead`,
    );
  else if (wanted === false && engine.distill)
    faults.push(
      worded`${distillation}: this is a distilled checkpoint (engine_config.distill is true), which gives garbage with the base settings; open a base checkpoint instead`,
    );
  if (threshold !== undefined) {
    if (!Number.isFinite(threshold)) faults.push(expected('distillNearlyCleanChunkThreshold', 'a number', threshold));
    else if (runtime.cfg_number !== 1)
      faults.push(
        worded`${option('distillNearlyCleanChunkThreshold')}: it acts on checkpoints that run in one pass (distilled, fp8), this is a base one; leave it out`,
      );
  }
  return faults;
}

/** What is wrong with the numbers that decide the plan, those of the config included. */
export function planFaults(
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
  const faults = given.map(([name, value, fallback, field]) =>
    value === undefined ? limitFault(name, fallback, field) : limitFault(name, value),
  );
  return [...faults, limitFault('prefixFrames', prefixFrames)].filter((fault) => fault !== undefined);
}
