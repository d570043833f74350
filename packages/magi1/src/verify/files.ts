// Files of conformance folders by path, and networks loaded from them. Each is opened, read and closed.
import {
  hostDType,
  nodeFolder,
  openCheckpoint,
  openFile,
  openSafetensors,
  openTorch,
  readNpz,
  readSafetensors,
  readJson as readJsonIn,
} from '@magi1/loaders';
import type { ByteSource, NpzOptions, StreamProgress } from '@magi1/loaders';
import type { Device, DType, HostTensor } from '@magi1/tensor';
import { basename, dirname } from 'node:path';
import { CheckedWeights } from '../nn/index.ts';
import type { NetworkDefinition, StreamingOptions } from '../nn/index.ts';

export const readJson = (path: string): Promise<unknown> => readJsonIn(nodeFolder(dirname(path)), basename(path));

/** All tensors of a safetensors file, on the host. For small files. */
export const readTensors = (path: string): Promise<Map<string, HostTensor>> => read(path, readSafetensors);

/** All arrays of an .npz file, float64 as float32 unless told otherwise. */
export const readArrays = (path: string, options: NpzOptions): Promise<Map<string, HostTensor>> =>
  read(path, (source) => readNpz(source, options));

/**
 * Every tensor of a safetensors or torch file, for checking readers against files made to break them. A safetensors
 * tensor that has no exact form on the host (float64 ...) is read as bytes and left out of the result.
 */
export function readEveryTensor(path: string): Promise<Map<string, HostTensor>> {
  return read(path, async (source) => {
    const safetensors = path.endsWith('.safetensors');
    const file = safetensors ? await openSafetensors(source) : await openTorch(source);
    const tensors = new Map<string, HostTensor>();
    for (const [name, { dtype, byteLength }] of file.tensors) {
      const exact = dtype !== 'f64' && hostDType(dtype) !== undefined;
      if (safetensors && !exact) await file.readRange(name, 0, byteLength);
      else tensors.set(name, await file.readTensor(name));
    }
    return tensors;
  });
}

async function read<T>(path: string, use: (source: ByteSource) => Promise<T>): Promise<T> {
  const source = await openFile(path);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

/** A network from a folder or file of its own, as stored. */
export async function loadNetwork<Network>(
  path: string,
  network: NetworkDefinition<Network>,
  device: Device,
  options: StreamingOptions<StreamProgress> & { readonly dtype?: DType | undefined } = {},
): Promise<Network> {
  const checkpoint = await openCheckpoint(path);
  try {
    return await new CheckedWeights(checkpoint, network, options.dtype).load(device, options);
  } finally {
    await checkpoint.close();
  }
}
