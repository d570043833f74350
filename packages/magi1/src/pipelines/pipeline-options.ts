// The options that a pipeline is opened with, checked before anything is read.
import { Magi1Error } from '@magi1/tensor';
import type { Device, DeviceOptions } from '@magi1/tensor';
import { NO_SPECIAL_TOKENS } from '../config/index.ts';
import type { Environment } from '../config/index.ts';
import type { LoraSpec } from '../lora/index.ts';
import { RequestError, describe, option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';
import { callFaults } from './check-options.ts';
import { expected, unknownNames } from './option-checks.ts';
import type { WeightDTypes } from './model.ts';
import type { ProgressListener } from './progress.ts';

export interface PipelineOptions<Request> {
  /** An open device, which the caller disposes, or how to open one (`auto` by default), which the pipeline disposes. */
  readonly device?: Device | DeviceOptions | undefined;
  /** dtype of matrices on the device; as stored when left out. */
  readonly dtype?: WeightDTypes | undefined;
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
  'loras',
  'environment',
  'request',
  'signal',
  'onProgress',
];
const LORA_NAMES = ['source', 'name', 'weight'];

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** @throws RequestError naming every option that is unknown or of another kind; each device and part checks its own values */
export function checkPipelineOptions(where: unknown, options: unknown): void {
  if (!isPlace(where))
    throw new Magi1Error(`a path expected, got ${describe(where)}: the folder of a model, or a config file`);
  if (!isObject(options)) throw new Magi1Error(`options: an object expected, got ${describe(options)}`);
  const { device, environment, loras, request } = options as Record<string, unknown>;
  const faults = [
    ...unknownNames(options, NAMES),
    ...callFaults(options),
    ...(device === undefined || isObject(device)
      ? []
      : [expected('device', 'an open device, or an object that says how to open one,', device)]),
    ...(request === undefined || isObject(request) ? [] : [expected('request', 'an object of options', request)]),
    ...(environment === undefined || isEnvironment(environment)
      ? []
      : [expected('environment', 'what readEnvironment gives', environment)]),
    ...loraFaults(loras),
  ];
  if (faults.length > 0) throw new RequestError(...faults);
}

/** A path, a URL, or an object that opens files. */
function isPlace(value: unknown): boolean {
  if (typeof value === 'string') return value !== '';
  return value instanceof URL || (isObject(value) && ['list', 'open', 'at'].every((name) => name in value));
}

function isEnvironment(value: unknown): boolean {
  if (!isObject(value)) return false;
  const { specialTokens, specialTokenPath, prevChunksScale } = value as Record<string, unknown>;
  return (
    isObject(specialTokens) &&
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
    if (!isObject(lora)) return [worded`${name}: { source, name, weight } expected, got ${describe(lora)}`];
    const { source } = lora as { source?: unknown };
    if (!isPlace(source) && !(source instanceof Uint8Array))
      return [worded`${name}: source: a path or bytes expected, got ${describe(source)}`];
    return unknownNames(lora, LORA_NAMES).map((fault) => worded`${name}: ${fault}`);
  });
}
