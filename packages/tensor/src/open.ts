// Device.open: chooses a backend. A real GPU first, then wasm; the reference only when asked for.
import type { Backend, Device as AbstractDevice } from './device.ts';
import { Magi1Error } from './errors.ts';
import type { FoundAdapter } from './webgpu/adapter.ts';

export interface DeviceOptions {
  /** `auto`: a real GPU if there is one, else wasm. */
  readonly backend?: 'auto' | Backend;
  /** WebGPU only: part of the adapter's name; opening fails when no adapter has it. */
  readonly adapter?: string;
  /** wasm only: number of threads; all cores when left out. */
  readonly threads?: number;
  /** Bytes that tensors may take on the device. */
  readonly memoryBudget?: number;
  /** For tests, WebGPU and wasm: allocations start as NaN and are followed by this many guard bytes. */
  readonly guardBytes?: number;
  /** For tests, WebGPU only: a software adapter gets the kernels meant for hardware. */
  readonly assumeHardware?: boolean;
}

export type Device = AbstractDevice;

async function open(options: DeviceOptions = {}): Promise<Device> {
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
    default:
      throw new Magi1Error(
        `Device.open: unknown backend "${String(options.backend)}": auto, webgpu, wasm or reference`,
      );
  }
}

async function openWebGpu(found: FoundAdapter, reason: string, options: DeviceOptions): Promise<Device> {
  const { WebGpuDevice } = await import('./webgpu/device.ts');
  const { memoryBudget, guardBytes, assumeHardware } = options;
  const software = found.software && assumeHardware !== true;
  return WebGpuDevice.open({ ...found, software }, { reason, memoryBudget, guardBytes });
}

async function openWasm(reason: string, options: DeviceOptions): Promise<Device> {
  const { WasmDevice } = await import('./wasm/device.ts');
  const { threads, memoryBudget, guardBytes } = options;
  return new WasmDevice({ reason, threads, memoryBudget, guardBytes });
}

export const Device = { open };
