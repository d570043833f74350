// Finds a WebGPU adapter and opens it: Dawn (npm `webgpu`) in Node, `navigator.gpu` in browsers.
import { Magi1Error } from '../errors.ts';
import type { WebGpuCapabilities } from './kernel.ts';

/** WebGPU's numeric flags: their global objects do not exist in Node. */
export const MAP_READ = 0x1;
export const COPY_SRC = 0x4;
export const COPY_DST = 0x8;
export const UNIFORM = 0x40;
export const STORAGE = 0x80;
export const QUERY_RESOLVE = 0x200;
export const STAGE_COMPUTE = 0x4;
export const MAP_MODE_READ = 0x1;

const WANTED_FEATURES = [
  'shader-f16',
  'subgroups',
  'timestamp-query',
  'chromium-experimental-subgroup-matrix',
] as const;

// Subgroup matrices are behind allow_unsafe_apis; quantised timestamps (100 us) would make profiles useless.
function dawnFlags(adapter: string | undefined): string[] {
  // SwiftShader compiles a null initialiser of workgroup memory element by element (16 KiB take seconds). Without the
  // extension Dawn zeroes it by a loop: the same zeros.
  const zeroByLoop = 'use_vulkan_zero_initialize_workgroup_memory_extension';
  const software = adapter !== undefined && SOFTWARE.test(adapter);
  return [
    'enable-dawn-features=allow_unsafe_apis',
    `disable-dawn-features=${['timestamp_quantization', ...(software ? [zeroByLoop] : [])].join(',')}`,
    ...(adapter === undefined ? [] : [`adapter=${adapter}`]),
  ];
}

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|\bcpu\b|basic render/i;

/** Chromium brings a software adapter whose driver the system does not list. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

function listingHint(names: readonly string[]): string {
  if (!isNode) return 'The browser chooses the adapter';
  const hint =
    '`magi1 info` lists adapters; on Linux VK_ADD_DRIVER_FILES=FILE.json adds a Vulkan driver to those of the system';
  const hidden =
    !names.some((name) => /swiftshader/i.test(name)) && process.getBuiltinModule('node:fs').existsSync(SWIFTSHADER);
  return hidden ? `${hint}, such as SwiftShader, which is installed as ${SWIFTSHADER}` : hint;
}

export interface FoundAdapter {
  readonly adapter: GPUAdapter;
  readonly name: string;
  /** Runs on the CPU. */
  readonly software: boolean;
}

interface DawnModule {
  create(flags: string[]): GPU;
}

const isNode = typeof process !== 'undefined' && typeof process.versions?.node === 'string';

// Dawn's objects die with the GPU object they came from, so these live as long as the process.
const instances = new Map<string, Promise<GPU | undefined>>();

/** One per adapter's name (Dawn chooses when there is none). */
function gpuObject(adapter?: string): Promise<GPU | undefined> {
  const key = adapter ?? '';
  let instance = instances.get(key);
  if (instance === undefined) {
    instance = createGpu(adapter);
    instances.set(key, instance);
  }
  return instance;
}

async function createGpu(adapter: string | undefined): Promise<GPU | undefined> {
  if (typeof navigator !== 'undefined' && 'gpu' in navigator) return navigator.gpu;
  if (!isNode) return undefined;
  // Not a literal: bundlers for browsers must not follow it.
  const dawn = 'webgpu';
  try {
    const module = (await import(/* @vite-ignore */ dawn)) as DawnModule;
    return module.create(dawnFlags(adapter));
  } catch (error) {
    throw new Magi1Error(`WebGPU: the npm package "webgpu" cannot be loaded: ${(error as Error).message}`);
  }
}

/** Names of the adapters that WebGPU can open here; in browsers at most the one the browser would choose. */
export async function listWebGpuAdapters(): Promise<string[]> {
  // Dawn lists adapters only in the error for a name that does not exist.
  const gpu = await gpuObject(isNode ? 'none of this name' : undefined);
  if (gpu === undefined) return [];
  try {
    const adapter = await gpu.requestAdapter();
    return adapter === null ? [] : [adapterName(adapter)];
  } catch (error) {
    return [...(error as Error).message.matchAll(/name: '(.*)'/g)].map((match) => match[1]!);
  }
}

/** The adapter whose name contains `wanted` (any case), or the most powerful one. Throws Magi1Error when there is none. */
export async function findAdapter(wanted?: string): Promise<FoundAdapter> {
  const adapter = wanted === undefined ? await request() : await requestNamed(wanted);
  if (adapter !== undefined) return describe(adapter);
  const names = await listWebGpuAdapters();
  const available = names.length > 0 ? `available: ${names.join(', ')}` : 'no adapter is available';
  throw new Magi1Error(
    wanted === undefined
      ? `WebGPU: no adapter found (${available}). ${listingHint(names)}`
      : `WebGPU: no adapter is named like "${wanted}" (${available}). ${listingHint(names)}`,
  );
}

async function requestNamed(wanted: string): Promise<GPUAdapter | undefined> {
  const matches = (name: string) => name.toLowerCase().includes(wanted.toLowerCase());
  if (isNode) {
    const name = (await listWebGpuAdapters()).find(matches);
    return name === undefined ? undefined : request(name);
  }
  const adapter = await request();
  return adapter !== undefined && matches(adapterName(adapter)) ? adapter : undefined;
}

async function request(name?: string): Promise<GPUAdapter | undefined> {
  const gpu = await gpuObject(name);
  return (await gpu?.requestAdapter({ powerPreference: 'high-performance' })) ?? undefined;
}

/** The same adapter with the flags of its name: one that nobody named was found without them. */
async function byName(found: GPUAdapter): Promise<GPUAdapter> {
  // What Dawn calls the device is its name as an identifier.
  const identifier = (name: string) => name.toLowerCase().replaceAll(/[^a-z0-9]+/g, '-');
  const name = (await listWebGpuAdapters()).find((name) => identifier(name) === found.info.device);
  return (name === undefined ? undefined : await request(name)) ?? found;
}

function adapterName(adapter: GPUAdapter): string {
  const { vendor, architecture, description, device } = adapter.info;
  return description || [vendor, architecture, device].filter((part) => part !== '').join(' ') || 'unnamed adapter';
}

function describe(adapter: GPUAdapter): FoundAdapter {
  return { adapter, name: adapterName(adapter), software: isSoftware(adapter.info) };
}

function isSoftware(info: GPUAdapterInfo): boolean {
  if (info.isFallbackAdapter) return true;
  const text = [info.vendor, info.architecture, info.device, info.description].join(' ');
  return SOFTWARE.test(text);
}

/** Opens the adapter with its largest limits and every feature that kernels or profiles can use. */
export async function openAdapter({ adapter: found, name }: FoundAdapter): Promise<GPUDevice> {
  const adapter = isNode && isSoftware(found.info) ? await byName(found) : found;
  const requiredLimits: Record<string, number> = {};
  for (const [key, value] of limitEntries(adapter.limits)) requiredLimits[key] = value;
  const requiredFeatures = WANTED_FEATURES.filter((feature) => adapter.features.has(feature)) as GPUFeatureName[];
  try {
    return await adapter.requestDevice({ requiredFeatures, requiredLimits });
  } catch (error) {
    throw new Magi1Error(`WebGPU: adapter ${name} cannot be opened: ${(error as Error).message}`);
  }
}

/** Limits are getters of a prototype: this makes plain pairs of those that are numbers. */
export function limitEntries(limits: GPUSupportedLimits): [string, number][] {
  const entries: [string, number][] = [];
  for (const key in limits) {
    const value: unknown = limits[key as keyof GPUSupportedLimits];
    if (typeof value === 'number') entries.push([key, value]);
  }
  return entries;
}

export function capabilitiesOf(gpu: GPUDevice, info: GPUAdapterInfo, software: boolean): WebGpuCapabilities {
  const subgroups = gpu.features.has('subgroups');
  return {
    shaderF16: gpu.features.has('shader-f16'),
    subgroups,
    subgroupMinSize: subgroups ? (info.subgroupMinSize ?? 0) : 0,
    subgroupMaxSize: subgroups ? (info.subgroupMaxSize ?? 0) : 0,
    maxWorkgroupsPerDimension: gpu.limits.maxComputeWorkgroupsPerDimension,
    maxBindingBytes: Math.min(gpu.limits.maxStorageBufferBindingSize, gpu.limits.maxBufferSize),
    maxInvocations: gpu.limits.maxComputeInvocationsPerWorkgroup,
    maxWorkgroupBytes: gpu.limits.maxComputeWorkgroupStorageSize,
    software,
  };
}
