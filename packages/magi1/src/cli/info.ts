// magi1 info: what this machine offers, and what a model folder holds.
import { createRequire } from 'node:module';
import { Device, listWebGpuAdapters } from '@magi1/tensor';
import { findFfmpeg } from '../media/index.ts';
import { formatBytes } from '../wording.ts';
import type { ModelSummary } from '../pipelines/inspect.ts';
import { OFFLOAD_WORDS } from '../pipelines/offload.ts';
import { VERSION } from '../version.ts';
import { DEVICE_OPTIONS, MEMORY_OPTIONS } from './command.ts';
import type { Command, Values } from './command.ts';
import { unusedDrivers } from './drivers.ts';
import type { UnusedDriver } from './drivers.ts';
import { deviceOptions, modelOption } from './model-options.ts';
import { PLANNED_OPTIONS, plannedOptions } from './planned-options.ts';
import { printable, printableLines } from './printable.ts';

export const info: Command = {
  name: 'info',
  summary: 'Shows adapters, the device that would be chosen, versions, and what a model holds and needs.',
  usage: 'magi1 info [--model DIR | --config-file FILE] [options]',
  positionals: 0,
  options: {
    model: { value: 'DIR', help: 'model folder to look at; default the bundled pocket model' },
    'config-file': { value: 'FILE', help: 'the same by a config of the original' },
    ...PLANNED_OPTIONS,
    ...DEVICE_OPTIONS,
    ...MEMORY_OPTIONS,
    json: { help: 'as JSON' },
  },
  run,
};

interface AdapterFacts {
  readonly name: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  /** Why it cannot be opened. */
  readonly error?: string;
}

async function run(values: Values): Promise<number> {
  const options = deviceOptions(values);
  const ffmpeg = await findFfmpeg();
  const adapters = await describeAdapters();
  await using device = await Device.open(options);
  const model = await readModel(values, device);
  const facts = {
    versions: {
      magi1: VERSION,
      node: process.versions.node,
      webgpu: webgpuVersion(),
      ffmpeg: 'unusable' in ffmpeg ? null : ffmpeg.version,
      platform: `${process.platform} ${process.arch}`,
    },
    adapters,
    unusedDrivers: unusedDrivers(adapters.map(({ name }) => name)),
    chosen: { backend: device.backend, ...device.info },
    model,
  };
  if (values.json === true) {
    process.stdout.write(`${printableLines(JSON.stringify(facts, null, 2))}\n`);
    return 0;
  }
  const { versions, chosen } = facts;
  const mp4 = 'unusable' in ffmpeg ? `built-in encoder (${ffmpeg.unusable})` : `ffmpeg ${ffmpeg.version}`;
  const lines = [
    `magi1 ${versions.magi1}, Node ${versions.node}, webgpu ${versions.webgpu ?? 'not installed'}, ${versions.platform}; mp4 by ${mp4}`,
    `device ${chosen.backend}: ${chosen.name} (${chosen.reason})`,
    ...details(chosen),
    adapters.length === 0 ? 'WebGPU adapters: none' : 'WebGPU adapters:',
    ...adapters.flatMap(({ name, error, ...rest }) => [
      `  ${name}${error === undefined ? '' : `: ${error}`}`,
      ...(error === undefined ? details(rest).map((line) => `  ${line}`) : []),
    ]),
    ...driverLines(adapters.length, facts.unusedDrivers),
    ...modelLines(model),
  ];
  process.stdout.write(`${lines.map(printable).join('\n')}\n`);
  return 0;
}

/** How others than the adapters listed come in; nothing on platforms whose drivers are not Vulkan's. */
function driverLines(adapters: number, unused: readonly UnusedDriver[]): string[] {
  const chosen = ['VK_DRIVER_FILES', 'VK_ICD_FILENAMES'].find((name) => process.env[name] !== undefined);
  const added = unused.map(
    ({ name, file }) =>
      `  ${name} is installed too: ${chosen === undefined ? `VK_ADD_DRIVER_FILES=${file} adds it` : `name ${file} in ${chosen} as well`}`,
  );
  if (adapters > 0 || process.platform !== 'linux') return added;
  return [...added, "  VK_DRIVER_FILES=FILE.json names a Vulkan driver's manifest where the loader does not find it"];
}

/** Of the package that brings Dawn; null where it is not installed. */
function webgpuVersion(): string | null {
  const ofTensor = createRequire(createRequire(import.meta.url).resolve('@magi1/tensor'));
  try {
    return (ofTensor('webgpu/package.json') as { version: string }).version;
  } catch {
    return null;
  }
}

async function readModel(values: Values, device: Device): Promise<ModelSummary> {
  const { model, configFile } = modelOption(values);
  const options = plannedOptions(values);
  const { readConfigFile, readModelFolder } = await import('../pipelines/model-files.ts');
  const { inspectModel } = await import('../pipelines/inspect.ts');
  const folder = model === undefined ? await readConfigFile(configFile) : await readModelFolder(model);
  return inspectModel(folder, device, options);
}

async function describeAdapters(): Promise<AdapterFacts[]> {
  const names = await listWebGpuAdapters().catch(() => []);
  const found: AdapterFacts[] = [];
  for (const name of names) {
    try {
      await using device = await Device.open({ backend: 'webgpu', adapter: name });
      found.push({ name, features: device.info.features, limits: device.info.limits });
    } catch (error) {
      found.push({ name, features: [], limits: {}, error: (error as Error).message });
    }
  }
  return found;
}

const SHOWN_LIMITS = [
  'maxBufferSize',
  'maxStorageBufferBindingSize',
  'maxStorageBuffersPerShaderStage',
  'maxComputeInvocationsPerWorkgroup',
  'maxComputeWorkgroupStorageSize',
  'threads',
  'heapBytes',
];

function details({ features, limits }: Pick<AdapterFacts, 'features' | 'limits'>): string[] {
  const shown = SHOWN_LIMITS.filter((name) => limits[name] !== undefined).map((name) => {
    const value = limits[name]!;
    return `${name} ${/Size$|Bytes$/.test(name) ? formatBytes(value) : value}`;
  });
  return [
    ...(features.length > 0 ? [`  features: ${features.join(', ')}`] : []),
    ...(shown.length > 0 ? [`  limits: ${shown.join(', ')}`] : []),
  ];
}

function modelLines({ config, name, trained, missing, parts, settings, fit, largest, notes }: ModelSummary): string[] {
  const { width, height, frames, numInferenceSteps } = settings;
  return [
    `model ${name}: ${config}`,
    ...(trained === null ? [] : [`  it knows ${trained.knows}`]),
    ...(missing === null
      ? []
      : [
          `  missing: ${missing}`,
          '  what follows is what its config speaks of, with the text encoder and VAE of the published models (sand-ai/MAGI-1 on Hugging Face: ckpt/magi, ckpt/t5, ckpt/vae)',
        ]),
    ...parts.map(({ name: part, tensors, parameters, dtypes, deviceBytes }) => {
      const stored = Object.entries(dtypes).map(([dtype, count]) => `${dtype} ${count.toLocaleString('en')}`);
      return `  ${part}: ${parameters.toLocaleString('en')} parameters in ${tensors} tensors (${stored.join(', ')}), ${formatBytes(deviceBytes)} on the device`;
    }),
    `  run: ${width}x${height}, ${frames} frames, ${numInferenceSteps} steps`,
    ...memoryLines(fit),
    `  ${fit.offload === undefined ? 'does not fit (magi1 plan says what would)' : `fits, ${OFFLOAD_WORDS[fit.offload]}`}; ` +
      (largest === null
        ? 'no size fits'
        : `the largest size with as many frames: ${largest.width}x${largest.height}${largest.most ? ' or more' : ''}`),
    ...notes.map((note) => `  note: ${note}`),
  ];
}

function memoryLines({ need, fault }: ModelSummary['fit']): string[] {
  if (need === undefined) return [`  memory: cannot run on this device: ${fault!}`];
  const activations = Math.max(need.denoising, need.decoding);
  return [
    `  memory: about ${formatBytes(need.peaks.none)} on the device, ${formatBytes(need.peaks.text)} with --offload text, ${formatBytes(need.peaks.group)} with group or disk ` +
      `(key-value cache ${formatBytes(need.keyValueCache)}, activations ${formatBytes(activations)})`,
  ];
}
