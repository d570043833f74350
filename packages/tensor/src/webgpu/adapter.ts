// Finds a WebGPU adapter and opens it: Dawn (npm `webgpu`) in Node, `navigator.gpu` in browsers.
import { Magi1Error } from '../errors.ts';
import { isNode } from '../is-node.ts';
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
function dawnFlags(adapter: string | undefined, zeroByLoop: boolean): string[] {
  const off = [
    'timestamp_quantization',
    ...(zeroByLoop ? ['use_vulkan_zero_initialize_workgroup_memory_extension'] : []),
  ];
  return [
    'enable-dawn-features=allow_unsafe_apis',
    `disable-dawn-features=${off.join(',')}`,
    ...(adapter === undefined ? [] : [`adapter=${adapter}`]),
  ];
}

// SwiftShader compiles a null initialiser of workgroup memory element by element (16 KiB take seconds). Without the
// extension Dawn zeroes it by a loop: the same zeros. Others are faster with it.
const ZERO_BY_LOOP = /swiftshader/i;

const SOFTWARE = /swiftshader|llvmpipe|lavapipe|software|\bcpu\b|basic render/i;

/** Chromium brings a software adapter whose driver the system does not list. */
const SWIFTSHADER = '/usr/lib/chromium/vk_swiftshader_icd.json';

function listingHint(names: readonly string[]): string {
  if (!isNode()) return 'The browser chooses the adapter';
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
  /** The part of its name by which Dawn was asked for it. */
  readonly asked?: string | undefined;
}

interface DawnModule {
  create(flags: string[]): GPU;
}

const browserGpu = (): GPU | undefined =>
  typeof navigator !== 'undefined' && 'gpu' in navigator ? navigator.gpu : undefined;

// Dawn's objects die with the GPU object they came from, so these live as long as the process. One is bound to one
// adapter, and each searches the drivers anew: where Mesa's lavapipe is among them, Dawn writes two warnings to stderr
// every time, which no flag turns off. So there are as few as can be.
const instances = new Map<string, Promise<GPU>>();

/** Dawn's adapters, once they have been listed; the one that it takes when none is named comes first. */
let listed: readonly string[] | undefined;

/** undefined: neither a browser with WebGPU nor Node. */
async function gpuObject(adapter: string | undefined, zeroByLoop: boolean): Promise<GPU | undefined> {
  if (!usesDawn()) return browserGpu();
  const flags = dawnFlags(adapter, zeroByLoop);
  const key = flags.join(' ');
  let instance = instances.get(key);
  if (instance === undefined) {
    instance = createDawn(flags);
    instances.set(key, instance);
  }
  return instance;
}

const usesDawn = (): boolean => isNode() && browserGpu() === undefined;

async function createDawn(flags: string[]): Promise<GPU> {
  // Not a literal: bundlers for browsers must not follow it.
  const dawn = 'webgpu';
  try {
    const module = (await import(/* @vite-ignore */ dawn)) as DawnModule;
    return module.create(flags);
  } catch (error) {
    throw new Magi1Error(`WebGPU: the npm package "webgpu" cannot be loaded: ${(error as Error).message}`);
  }
}

/** Names of the adapters that WebGPU can open here; in browsers at most the one the browser would choose. */
export async function listWebGpuAdapters(): Promise<string[]> {
  if (usesDawn()) {
    if (listed === undefined) await request('none of this name');
    return [...(listed ?? [])];
  }
  const adapter = await request();
  return adapter === undefined ? [] : [adapterName(adapter)];
}

/** The adapter whose name contains `wanted` (any case), or the most powerful one. Throws Magi1Error when there is none. */
export async function findAdapter(wanted?: string): Promise<FoundAdapter> {
  const found = usesDawn() ? await findByDawn(wanted) : await findByBrowser(wanted);
  if (found !== undefined) return found;
  const names = await listWebGpuAdapters();
  const available = names.length > 0 ? `available: ${names.join(', ')}` : 'no adapter is available';
  throw new Magi1Error(
    wanted === undefined
      ? `WebGPU: no adapter found (${available}). ${listingHint(names)}`
      : `WebGPU: no adapter is named like "${wanted}" (${available}). ${listingHint(names)}`,
  );
}

const isLike = (name: string, wanted: string): boolean => name.toLowerCase().includes(wanted.toLowerCase());

async function findByBrowser(wanted = ''): Promise<FoundAdapter | undefined> {
  const adapter = await request();
  return adapter !== undefined && isLike(adapterName(adapter), wanted) ? describe(adapter) : undefined;
}

async function findByDawn(wanted: string | undefined): Promise<FoundAdapter | undefined> {
  // Dawn compares case; where that fails, it lists the names.
  if (listed === undefined || listed.length === 0) {
    const adapter = await request(wanted);
    if (adapter !== undefined) return describe(adapter, wanted);
  }
  const name = listed?.find((name) => isLike(name, wanted ?? ''));
  const adapter = name === undefined ? undefined : await request(name);
  return adapter === undefined ? undefined : describe(adapter, name);
}

/** An adapter of its own, to be opened once; undefined when there is none, or none with `name` in its name. */
async function request(name?: string, zeroByLoop = ZERO_BY_LOOP.test(name ?? '')): Promise<GPUAdapter | undefined> {
  const gpu = await gpuObject(name, zeroByLoop);
  try {
    return (await gpu?.requestAdapter({ powerPreference: 'high-performance' })) ?? undefined;
  } catch (error) {
    // Dawn lists adapters only in the error for a name that does not exist.
    if (name === undefined) throw error;
    listed = [...(error as Error).message.matchAll(/name: '(.*)'/g)].map((match) => match[1]!);
    return undefined;
  }
}

function adapterName(adapter: GPUAdapter): string {
  const { vendor, architecture, description, device } = adapter.info;
  return description || [vendor, architecture, device].filter((part) => part !== '').join(' ') || 'unnamed adapter';
}

function describe(adapter: GPUAdapter, asked?: string): FoundAdapter {
  return { adapter, name: adapterName(adapter), software: isSoftware(adapter.info), asked };
}

function isSoftware(info: GPUAdapterInfo): boolean {
  if (info.isFallbackAdapter) return true;
  const text = [info.vendor, info.architecture, info.device, info.description].join(' ');
  return SOFTWARE.test(text);
}

/** Chromium's `GPUAdapterInfo.memoryHeaps`. */
interface Heap {
  readonly size: number;
  readonly properties: number;
}
const DEVICE_LOCAL = 0x1;

/** Where the adapter's buffers lie, and how much memory that is where it says so. */
export function memoryOf(info: GPUAdapterInfo & { readonly memoryHeaps?: readonly Heap[] }) {
  if (isSoftware(info) || info.vendor === 'apple') return { memory: 'host' } as const;
  const sizes = (info.memoryHeaps ?? [])
    .filter(({ properties }) => (properties & DEVICE_LOCAL) !== 0)
    .map(({ size }) => size);
  return { memory: 'adapter', adapterBytes: sizes.length > 0 ? Math.max(...sizes) : undefined } as const;
}

/** Opens the adapter with its largest limits and every feature that kernels or profiles can use. */
export async function openAdapter({ adapter: found, name, asked }: FoundAdapter): Promise<GPUDevice> {
  // What was asked for need not have told that it is SwiftShader.
  const again = usesDawn() && ZERO_BY_LOOP.test(found.info.architecture);
  const adapter = (again ? await request(asked, true) : undefined) ?? found;
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
