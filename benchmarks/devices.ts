// Which devices there are to measure.
import { availableParallelism } from 'node:os';
import { Device, listWebGpuAdapters } from '@magi1/tensor';
import type { Backend } from '@magi1/tensor';

export interface BenchDevice {
  readonly label: string;
  readonly backend: Backend;
  /** A WebGPU adapter's whole name. */
  readonly adapter?: string;
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
  if (wants('wasm')) {
    for (const threads of new Set([1, availableParallelism()])) {
      devices.push({
        label: `wasm, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
        backend: 'wasm',
        open: () => Device.open({ backend: 'wasm', threads }),
      });
    }
  }
  if (wants('webgpu')) {
    for (const name of await adapterNames(adapter)) {
      devices.push({
        label: `webgpu, ${name}`,
        backend: 'webgpu',
        adapter: name,
        open: () => Device.open({ backend: 'webgpu', adapter: name }),
      });
    }
  }
  if (wants('reference')) {
    devices.push({ label: 'reference', backend: 'reference', open: () => Device.open({ backend: 'reference' }) });
  }
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
