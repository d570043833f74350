// Loads the transformer of a conformance folder and cuts golden video tensors into chunks.
import { hostArray } from '@magi1/tensor';
import type { Device, HostTensor, Tensor } from '@magi1/tensor';
import { dirname, join } from 'node:path';
import { parseConfig } from '../config/index.ts';
import type { Magi1Config } from '../config/index.ts';
import { transformerNetwork } from '../transformer/video-dit.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { loadNetwork, readJson } from './files.ts';

export type Goldens = ReadonlyMap<string, HostTensor>;

/** Suggested gates of the kit; quantised models round where 1e-7 decides, so theirs are wider. */
export function ditGates({ engine_config }: Magi1Config): { operator: number; forward: number; sampling: number } {
  return engine_config.fp8_quant
    ? { operator: 1e-5, forward: 3e-2, sampling: 2e-2 }
    : { operator: 1e-5, forward: 5e-5, sampling: 2e-4 };
}

/** Weights lie in the folder itself, or where its weights.json points. */
export async function loadDit(folder: string, config: Magi1Config, device: Device): Promise<VideoDiT> {
  const pointer = (await readJson(join(folder, 'weights.json')).catch(() => undefined)) as
    { weights: string } | undefined;
  const path = pointer ? join(folder, pointer.weights) : folder;
  return loadNetwork(path, transformerNetwork(config), device);
}

export interface DitManifest {
  readonly config: Magi1Config;
  readonly env: Readonly<Record<string, string>>;
  readonly info: Readonly<Record<string, unknown>>;
}

/** The manifest beside a golden file `X.safetensors`. */
export async function readDitManifest(path: string): Promise<DitManifest> {
  const manifestPath = path.replace(/\.safetensors$/, '.manifest.json');
  const json = (await readJson(manifestPath)) as {
    config: unknown;
    env?: Record<string, string>;
    info?: Record<string, unknown>;
  };
  return { config: parseConfig(json.config, manifestPath), env: json.env ?? {}, info: json.info ?? {} };
}

/** Frames start..end-1 of a golden [N, C, T, h, w], all of batch entry `batch`, as [1, C, end-start, h, w]. */
export function goldenFrames(stored: HostTensor, start: number, end: number, batch = 0): HostTensor<'f32'> {
  const [, channels, frames, height, width] = stored.shape as [number, number, number, number, number];
  const plane = height * width;
  const data = hostArray('f32', channels * (end - start) * plane);
  for (let c = 0; c < channels; c++) {
    const from = ((batch * channels + c) * frames + start) * plane;
    data.set(stored.data.slice(from, from + (end - start) * plane), c * (end - start) * plane);
  }
  return { dtype: 'f32', shape: [1, channels, end - start, height, width], data };
}

export function chunkToDevice(device: Device, stored: HostTensor, start: number, end: number, batch = 0): Tensor {
  const { data, shape } = goldenFrames(stored, start, end, batch);
  return device.tensor(data, shape, 'f32');
}

/** Rows 0..length-1 of a golden whose last axis is the feature, as a device tensor [length, features]. */
export function rowsToDevice(device: Device, stored: HostTensor, start: number, length: number): Tensor {
  const features = stored.shape.at(-1)!;
  const data = Float32Array.from(stored.data.slice(start * features, (start + length) * features));
  return device.tensor(data, [length, features], 'f32');
}

export const folderOf = (path: string): string => dirname(path);
