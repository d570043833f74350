// Behind Device.open: chooses a backend. A real GPU first, then wasm; the reference only when asked for.
import type { Device, DeviceOptions } from './device.ts';
import { Magi1Error, describeValue, isOptions } from './errors.ts';
import type { FoundAdapter } from './webgpu/adapter.ts';

const BACKENDS = ['auto', 'webgpu', 'wasm', 'reference'];

type Check = readonly [expected: string, holds: (value: unknown) => boolean];
const CHECKS: { readonly [K in keyof DeviceOptions]-?: Check } = {
  backend: [BACKENDS.join(', '), (value) => BACKENDS.includes(value as string)],
  adapter: ["a part of an adapter's name", (value) => typeof value === 'string' && value.trim() !== ''],
  threads: ['a whole number from 1 to 256', (value) => wholeNumber(value, 1, 256)],
  memoryBudget: ['a whole number of bytes above 0', (value) => wholeNumber(value, 1, Number.MAX_SAFE_INTEGER)],
  guardBytes: ['a whole number of bytes', (value) => wholeNumber(value, 0, 2 ** 30)],
  assumeHardware: ['true or false', (value) => typeof value === 'boolean'],
};

const wholeNumber = (value: unknown, low: number, high: number): boolean =>
  Number.isInteger(value) && (value as number) >= low && (value as number) <= high;

/** Throws Magi1Error for unknown options, for values that an option does not take, and for options that exclude each other. */
function checkOptions(options: DeviceOptions): void {
  if (!isOptions(options)) {
    throw new Magi1Error(`Device.open: an object of options expected, got ${describeValue(options)}`);
  }
  for (const [name, value] of Object.entries(options)) {
    const check = Object.hasOwn(CHECKS, name) ? CHECKS[name as keyof DeviceOptions] : undefined;
    if (check === undefined) {
      throw new Magi1Error(`Device.open: unknown option ${name}: there are ${Object.keys(CHECKS).join(', ')}`);
    }
    if (value !== undefined && !check[1](value)) {
      throw new Magi1Error(`Device.open: ${name} must be ${check[0]}, got ${describeValue(value)}`);
    }
  }
  const { backend = 'auto', adapter, threads } = options;
  if (adapter !== undefined && (backend === 'wasm' || backend === 'reference')) {
    throw new Magi1Error(`Device.open: adapter is for webgpu, and backend is ${backend}`);
  }
  if (threads !== undefined && (backend === 'webgpu' || backend === 'reference')) {
    throw new Magi1Error(`Device.open: threads is for wasm, and backend is ${backend}`);
  }
}

export async function openDevice(options: DeviceOptions): Promise<Device> {
  checkOptions(options);
  const budget = options.memoryBudget === undefined ? {} : { memoryBudget: options.memoryBudget };
  switch (options.backend ?? 'auto') {
    case 'reference': {
      const { ReferenceDevice } = await import('./reference/device.ts');
      return new ReferenceDevice({ reason: 'asked for', ...budget });
    }
    case 'webgpu': {
      const { findAdapter } = await import('./webgpu/adapter.ts');
      return openWebGpu(await findAdapter(options.adapter), 'asked for', options);
    }
    case 'wasm':
      return openWasm('asked for', options);
    case 'auto': {
      const { findAdapter } = await import('./webgpu/adapter.ts');
      if (options.adapter !== undefined) {
        return openWebGpu(await findAdapter(options.adapter), 'auto: its adapter was asked for', options);
      }
      const found = await findAdapter().catch((error: unknown) => error as Error);
      if (found instanceof Error) return openWasm(`auto: ${found.message}`, options);
      if (!found.software) return openWebGpu(found, 'auto: a GPU was found', options);
      return openWasm(`auto: no GPU, ${found.name} is a CPU adapter`, options);
    }
  }
}

async function openWebGpu(found: FoundAdapter, reason: string, options: DeviceOptions): Promise<Device> {
  const { WebGpuDevice } = await import('./webgpu/device.ts');
  const { memoryBudget, guardBytes, assumeHardware } = options;
  const software = found.software && assumeHardware !== true;
  return WebGpuDevice.create({ ...found, software }, { reason, memoryBudget, guardBytes });
}

async function openWasm(reason: string, options: DeviceOptions): Promise<Device> {
  const { WasmDevice } = await import('./wasm/device.ts');
  const { threads, memoryBudget, guardBytes } = options;
  return new WasmDevice({ reason, threads, memoryBudget, guardBytes });
}
