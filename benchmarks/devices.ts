// Which devices there are to measure.
import { availableParallelism } from 'node:os';
import { Device, listWebGpuAdapters } from '@magi1/tensor';
import type { Backend, DeviceOptions } from '@magi1/tensor';

export interface BenchDevice {
  readonly label: string;
  readonly backend: Backend;
  /** A WebGPU adapter's whole name. */
  readonly adapter?: string;
  readonly options: DeviceOptions;
  readonly open: () => Promise<Device>;
}

export interface Choice {
  /** Backends; all when empty. */
  readonly backends: readonly string[];
  /** Part of an adapter's name. */
  readonly adapter?: string | undefined;
}

/** Real GPUs come first, as in the list of the adapters that the scripts have found usable, if they made one. */
export async function chooseDevices({ backends, adapter }: Choice): Promise<BenchDevice[]> {
  const wants = (backend: Backend) =>
    backends.length > 0 ? backends.includes(backend) : adapter === undefined || backend === 'webgpu';
  const devices: BenchDevice[] = [];
  const add = (label: string, backend: Backend, rest: Omit<DeviceOptions, 'backend'> = {}): void => {
    const options = { backend, ...rest };
    devices.push({ label, backend, ...rest, options, open: () => Device.open(options) });
  };
  if (wants('wasm')) {
    for (const threads of new Set([1, availableParallelism()])) {
      add(`wasm, ${threads} ${threads === 1 ? 'thread' : 'threads'}`, 'wasm', { threads });
    }
  }
  if (wants('webgpu')) {
    for (const name of await adapterNames(adapter)) add(`webgpu, ${name}`, 'webgpu', { adapter: name });
  }
  if (wants('reference')) add('reference', 'reference');
  return devices;
}

/** Throws when none is named like `wanted`. */
export async function adapterNames(wanted?: string): Promise<string[]> {
  const names = [...new Set(await listWebGpuAdapters())];
  // Probed by the scripts: an adapter that does not open is not among them.
  const usable = process.env['MAGI1_TEST_ADAPTERS']?.split(',');
  const ranked = usable === undefined ? names : usable.flatMap((short) => names.filter((name) => name.includes(short)));
  if (wanted === undefined) return [...new Set(ranked)];
  const matching = names.filter((name) => name.toLowerCase().includes(wanted.toLowerCase()));
  if (matching.length === 0) {
    throw new Error(
      `no adapter is named like "${wanted}"; there ${names.length === 0 ? 'is none' : `are ${names.join(', ')}`}`,
    );
  }
  return matching;
}
