// Options checked before anything is done: those of a request, by the table and all together, and those that a pipeline is
// opened with.
import { isFolder } from '@magi1/loaders';
import { describeValue, isOptions } from '@magi1/tensor';
import type { Device, DeviceOptions } from '@magi1/tensor';
import { NO_SPECIAL_TOKENS } from '../config/index.ts';
import type { Environment, Magi1Config, SpecialTokenSwitches } from '../config/index.ts';
import type { LoraSpec } from '../lora/index.ts';
import { RequestError, option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';
import { OFFLOADS } from './offload.ts';
import type { Offload } from './offload.ts';
import { expected, hasOption, unknownNames } from './option-checks.ts';
import { OPTIONS, OPTION_ENTRIES } from './options.ts';
import type { ProgressListener } from './progress.ts';
import type { ChunkPrompt, GenerationOptions, ModeName, WeightDTypes } from './request.ts';

/** What is wrong with the options that are given, one by one. */
export function valueFaults(request: object, mode: ModeName, config: Magi1Config): Wording[] {
  const known = OPTION_ENTRIES.filter(([, entry]) => hasOption(mode, entry));
  const faults = known.flatMap(([name, { check }]) => {
    const value = (request as Record<string, unknown>)[name];
    return value === undefined ? [] : check(value, name, config);
  });
  return [
    ...unknownNames(
      request,
      known.map(([name]) => name),
    ),
    ...faults,
  ];
}

/** Everything that is wrong with a request, as far as its plan need not be known. */
export function requestFaults(request: GenerationOptions, mode: ModeName, config: Magi1Config): Wording[] {
  const faults = valueFaults(request, mode, config);
  const missing = OPTION_ENTRIES.flatMap(([name, entry]) => {
    const { required } = entry;
    const given = (request as Record<string, unknown>)[name] !== undefined;
    return required === undefined || given || !hasOption(mode, entry) ? [] : [expected(name, required, undefined)];
  });
  return [...faults, ...missing, ...togetherFaults(request, faults.length === 0)];
}

/** Of signal and listener, wherever they are taken. */
export function callFaults({ signal, onProgress }: { signal?: unknown; onProgress?: unknown }): Wording[] {
  return [
    ...(signal === undefined ? [] : OPTIONS.signal.check(signal, 'signal')),
    ...(onProgress === undefined ? [] : OPTIONS.onProgress.check(onProgress, 'onProgress')),
  ];
}

export const CALL_OPTIONS = ['signal', 'onProgress'];

/**
 * The options of a call that is no run.
 * @param faults what is wrong otherwise
 * @throws RequestError naming all that is wrong
 */
export function checkCall(
  call: string,
  options: unknown,
  known: readonly string[],
  faults: readonly Wording[] = [],
): void {
  const all = isOptions(options)
    ? [...faults, ...unknownNames(options, known), ...callFaults(options)]
    : [...faults, worded`an object of options expected, got ${describeValue(options)}`];
  if (all.length > 0) throw new RequestError(...all.map((fault) => worded`${call}: ${fault}`));
}

const TOKEN_OPTIONS = OPTION_ENTRIES.flatMap(([name, { token: key }]) =>
  key === undefined ? [] : [{ name: name as keyof GenerationOptions, key }],
);

/** Switches that a request sets by the documented pipelines' names. */
export function tokenOptions(request: GenerationOptions): Partial<SpecialTokenSwitches> {
  const given = TOKEN_OPTIONS.filter(({ name }) => request[name] !== undefined);
  return Object.fromEntries(given.map(({ name, key }) => [key, request[name]]));
}

/** The option by which a request switches a token on; undefined where it does not. */
export function tokenOptionOf(request: GenerationOptions, token: keyof SpecialTokenSwitches): string | undefined {
  const own = TOKEN_OPTIONS.find(({ name, key }) => key === token && request[name] === true);
  return own?.name ?? (request.specialTokens?.[token] === true ? 'specialTokens' : undefined);
}

/** Prompts of a batch; 1 where there is no list. */
export function countPrompts({ prompt, promptEmbeds }: GenerationOptions): number {
  const given: unknown = prompt ?? promptEmbeds;
  return Array.isArray(given) ? given.length : 1;
}

/** What options say together. */
function togetherFaults(request: GenerationOptions, eachIsRight: boolean): Wording[] {
  const { prompt, promptEmbeds, negativePrompt, negativePromptEmbeds, chunkPrompts: parts } = request;
  const faults: Wording[] = [];
  if (prompt !== undefined && promptEmbeds !== undefined)
    faults.push(worded`${option('prompt')} and ${option('promptEmbeds')}: give one of them, not both`);
  if (negativePrompt !== undefined && negativePromptEmbeds !== undefined)
    faults.push(worded`${option('negativePrompt')} and ${option('negativePromptEmbeds')}: give one of them, not both`);
  if (request.redoFromChunk !== undefined && request.resume === undefined)
    faults.push(worded`${option('redoFromChunk')}: it needs ${option('resume')}, whose chunks it keeps`);
  const fromStart =
    Array.isArray(parts) && (parts as (ChunkPrompt | null)[]).some((part) => part?.chunk === 0 || part?.second === 0);
  if (prompt === undefined && promptEmbeds === undefined && !fromStart)
    faults.push(worded`${option('prompt')}: text expected, got nothing (nor ${option('promptEmbeds')})`);
  const negative = negativePrompt ?? negativePromptEmbeds;
  if (eachIsRight && faults.length === 0 && Array.isArray(negative) && negative.length !== countPrompts(request))
    faults.push(
      worded`${option(negativePrompt === undefined ? 'negativePromptEmbeds' : 'negativePrompt')}: ${negative.length} given for ${countPrompts(request)} prompts; give one, or one for each prompt`,
    );
  for (const { name, key } of TOKEN_OPTIONS) {
    const other = request.specialTokens?.[key];
    if (request[name] !== undefined && other !== undefined && other !== request[name])
      faults.push(worded`${option(name)} and specialTokens.${key} contradict each other`);
  }
  return faults;
}

export interface PipelineOptions<Request> {
  /** An open device, which the caller disposes, or how to open one (`auto` by default), which the pipeline disposes. */
  readonly device?: Device | DeviceOptions | undefined;
  /** dtype of matrices on the device; as stored when left out. */
  readonly dtype?: WeightDTypes | undefined;
  /**
   * How much of the model is on the device at a time: 'none', 'text', 'group' or 'disk', each of which holds less than the
   * one before; what fits when left out. No result depends on it.
   */
  readonly offload?: Offload | undefined;
  /** LoRAs for the transformer, as `loadLora` takes them; read and checked before weights are loaded. */
  readonly loras?: readonly LoraSpec[] | undefined;
  /** Switches that the original reads from the environment. */
  readonly environment?: Environment | undefined;
  /** The first request, where it is known: it is checked, with the memory it needs, before anything is loaded. */
  readonly request?: Request | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

const NAMES: readonly (keyof PipelineOptions<never>)[] = [
  'device',
  'dtype',
  'offload',
  'loras',
  'environment',
  'request',
  'signal',
  'onProgress',
];
const LORA_NAMES = ['source', 'name', 'weight'];

/** @throws RequestError naming every option that is unknown or of another kind; each device and part checks its own values */
export function checkPipelineOptions(options: unknown): void {
  if (!isOptions(options)) throw new RequestError(worded`options: an object expected, got ${describeValue(options)}`);
  const { device, dtype, environment, loras, offload, request } = options as Record<string, unknown>;
  const faults = [
    ...unknownNames(options, NAMES),
    ...callFaults(options),
    ...(device === undefined || isOptions(device)
      ? []
      : [expected('device', 'an open device, or an object that says how to open one,', device)]),
    ...(request === undefined || isOptions(request) ? [] : [expected('request', 'an object of options', request)]),
    ...environmentFaults(environment),
    ...dtypeFaults(dtype),
    ...offloadFaults(offload),
    ...loraFaults(loras),
  ];
  if (faults.length > 0) throw new RequestError(...faults);
}

/** What a folder is read with. @throws RequestError */
export function checkReading(options: unknown): void {
  if (!isOptions(options)) throw new RequestError(worded`options: an object expected, got ${describeValue(options)}`);
  const { environment, signal } = options as Record<string, unknown>;
  const faults = [...environmentFaults(environment), ...callFaults({ signal })];
  if (faults.length > 0) throw new RequestError(...faults);
}

const NETWORKS = ['transformer', 'textEncoder', 'vae'];
const DTYPES: readonly unknown[] = ['f32', 'f16', 'bf16', 'q8', 'q4', undefined];

export function dtypeFaults(dtype: unknown): Wording[] {
  const what = 'f32, f16, bf16, q8 or q4';
  if (!isOptions(dtype)) return DTYPES.includes(dtype) ? [] : [expected('dtype', what, dtype)];
  const wrong = Object.entries(dtype).filter(([, value]) => !DTYPES.includes(value));
  return [
    ...unknownNames(dtype, NETWORKS).map((fault) => worded`${option('dtype')}: ${fault}`),
    ...wrong.map(([name, value]) => worded`${option('dtype')}: ${name}: ${what} expected, got ${describeValue(value)}`),
  ];
}

export const offloadFaults = (offload: unknown): Wording[] =>
  offload === undefined || (OFFLOADS as readonly unknown[]).includes(offload)
    ? []
    : [expected('offload', `one of ${OFFLOADS.join(', ')}`, offload)];

const environmentFaults = (environment: unknown): Wording[] =>
  environment === undefined || isEnvironment(environment)
    ? []
    : [expected('environment', 'what readEnvironment gives', environment)];

function isEnvironment(value: unknown): boolean {
  if (!isOptions(value)) return false;
  const { specialTokens, specialTokenPath, prevChunksScale } = value as Record<string, unknown>;
  return (
    isOptions(specialTokens) &&
    Object.keys(NO_SPECIAL_TOKENS).every(
      (key) => typeof (specialTokens as Record<string, unknown>)[key] === 'boolean',
    ) &&
    (specialTokenPath === null || typeof specialTokenPath === 'string' || specialTokenPath instanceof URL) &&
    Number.isFinite(prevChunksScale)
  );
}

function loraFaults(loras: unknown): Wording[] {
  if (loras === undefined) return [];
  if (!Array.isArray(loras)) return [expected('loras', 'a list', loras)];
  return Array.from(loras as unknown[]).flatMap((lora, i): Wording[] => {
    const name = option('loras', i);
    if (!isOptions(lora)) return [worded`${name}: { source, name, weight } expected, got ${describeValue(lora)}`];
    const { source } = lora as { source?: unknown };
    const isPath = (typeof source === 'string' && source !== '') || source instanceof URL;
    if (!isPath && !isFolder(source) && !(source instanceof Uint8Array))
      return [worded`${name}: source: a path, URL, Folder or bytes expected, got ${describeValue(source)}`];
    return unknownNames(lora, LORA_NAMES).map((fault) => worded`${name}: ${fault}`);
  });
}
