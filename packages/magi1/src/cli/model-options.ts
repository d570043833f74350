// Which model, LoRAs and device.
import type { DeviceOptions } from '@magi1/tensor';
import type { LoraSpec } from '../lora/index.ts';
import { OFFLOADS } from '../pipelines/offload.ts';
import type { Offload } from '../pipelines/offload.ts';
import { POCKET_MODEL } from '../pocket.ts';
import { UsageError, byteCount, choice, text, texts, wholeNumber } from './command.ts';
import type { Values } from './command.ts';

/** Where a model is: a folder, or a config file of the original. */
export type ModelOption =
  | { readonly model: string; readonly configFile: undefined }
  | { readonly model: undefined; readonly configFile: string };

export function deviceOptions(values: Values): DeviceOptions {
  const backend = choice(values, 'device', ['auto', 'webgpu', 'wasm', 'reference']) ?? 'auto';
  const adapter = text(values, 'adapter');
  const threads = wholeNumber(values, 'threads');
  const memoryBudget = byteCount(values, 'memory-budget');
  if (adapter !== undefined && (backend === 'wasm' || backend === 'reference'))
    throw new UsageError(`--adapter chooses a WebGPU adapter, but --device is ${backend}`);
  if (threads !== undefined && (backend === 'webgpu' || backend === 'reference'))
    throw new UsageError(`--threads is for the wasm device, but --device is ${backend}`);
  if (threads !== undefined && (threads < 1 || threads > 256))
    throw new UsageError(`--threads: a whole number from 1 to 256 expected, got ${threads}`);
  return {
    backend,
    ...(adapter === undefined ? {} : { adapter }),
    ...(threads === undefined ? {} : { threads }),
    ...(memoryBudget === undefined ? {} : { memoryBudget }),
  };
}

/** How much of the model is on the device at a time; what fits where nothing is said. */
export const offloadOption = (values: Values): Offload | undefined => choice(values, 'offload', OFFLOADS);

/** The pocket model where nothing is named. */
export function modelOption(values: Values): ModelOption {
  const model = text(values, 'model');
  const configFile = text(values, 'config-file');
  if (model !== undefined && configFile === undefined) return { model, configFile };
  if (model === undefined && configFile !== undefined) return { model, configFile };
  if (model === undefined) return { model: POCKET_MODEL, configFile: undefined };
  throw new UsageError('give --model or --config-file, not both');
}

/** `style.safetensors:0.7`: what follows the last colon is the weight if it is a number, so that C:\\x is a path. */
export function loraOptions(values: Values): LoraSpec[] {
  const names = new Set<string>();
  return texts(values, 'lora').map((given) => {
    const [, source = given, weight = '1'] = /^(.+):([+-]?(?:\d+\.?\d*|\.\d+)(?:e[+-]?\d+)?)$/i.exec(given) ?? [];
    if (source === '') throw new UsageError('--lora: PATH or PATH:WEIGHT expected, as in style.safetensors:0.7');
    const stem = source
      .replace(/[\\/]+$/, '')
      .replace(/^.*[\\/]/, '')
      .replace(/\.\w+$/, '');
    let name = stem;
    for (let i = 2; names.has(name); i++) name = `${stem} ${i}`;
    names.add(name);
    return { source, name, weight: Number(weight) };
  });
}
