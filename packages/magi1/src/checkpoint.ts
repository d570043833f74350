// The one door to files: folders and files of a checkpoint become weights on a device, or host tensors.
import {
  hostDType,
  loadTokenizer,
  openCheckpoint,
  openFile,
  openSafetensors,
  openTorch,
  readNpz,
  readSafetensors,
} from '@magi1/loaders';
import type { CheckpointOptions, NpzOptions, StreamProgress, Tokenizer } from '@magi1/loaders';
import { FileFormatError, Magi1Error, asBytes, fromFloat32, isFloat, toFloat32 } from '@magi1/tensor';
import type { Device, DType, HostArray, HostTensor, Tensor } from '@magi1/tensor';
import { Weights, checkWeights, deviceDType, weightBytes } from './weights.ts';
import type { WeightEntry, WeightSpecs } from './weights.ts';

export type { StreamProgress, Tokenizer } from '@magi1/loaders';

export interface LoadOptions extends CheckpointOptions {
  /** dtype of matrices on the device; as stored when left out. Vectors are always f32. */
  readonly dtype?: DType | undefined;
  /** A name in the file (and all names there) -> the model's name; undefined drops a tensor it does not use. */
  readonly rename?: ((name: string, all: ReadonlySet<string>) => string | undefined) | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: StreamProgress) => void) | undefined;
}

/** A checkpoint whose table of contents was checked against a model's specs; no weight has been read yet. */
export interface CheckedCheckpoint {
  readonly path: string;
  /** What the files hold, by the model's names. */
  readonly entries: ReadonlyMap<string, WeightEntry>;
  /** Bytes that the weights will take on a device. */
  readonly deviceBytes: number;
  /** Streams the weights to the device, one tensor in host memory at a time. Frees what it made when it fails. */
  load(device: Device): Promise<Weights>;
  close(): Promise<void>;
}

/** Opens a file or folder and compares its names, shapes and dtypes with `specs`; errors come before any reading. */
export async function openWeights(
  path: string,
  specs: WeightSpecs,
  options: LoadOptions = {},
): Promise<CheckedCheckpoint> {
  const checkpoint = await openCheckpoint(path, options);
  const entries = new Map<string, WeightEntry>();
  const fileNames = new Map<string, string>();
  try {
    const all = new Set(checkpoint.names());
    for (const fileName of all) {
      const name = options.rename ? options.rename(fileName, all) : fileName;
      if (name === undefined) continue;
      if (fileNames.has(name))
        throw new FileFormatError(`${path}: ${fileName} and ${fileNames.get(name)!} are the same weight`);
      fileNames.set(name, fileName);
      entries.set(name, checkpoint.entry(fileName));
    }
    checkWeights(path, entries, specs);
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
  const modelNames = new Map([...fileNames].map(([name, fileName]) => [fileName, name]));
  return {
    path,
    entries,
    deviceBytes: weightBytes(specs, entries, options.dtype),
    async load(device) {
      const tensors = new Map<string, Tensor>();
      const weights = new Weights(tensors);
      try {
        const { signal, onProgress } = options;
        const stream = checkpoint.stream(modelNames.keys(), {
          reuseBuffer: true,
          ...(signal ? { signal } : {}),
          ...(onProgress ? { onProgress } : {}),
        });
        for await (const { name: fileName, tensor } of stream) {
          const name = modelNames.get(fileName)!;
          tensors.set(name, upload(device, tensor, deviceDType(specs.get(name)!, tensor.dtype, options.dtype)));
          await device.tick(signal);
        }
        await device.sync(signal);
        return weights;
      } catch (error) {
        weights.dispose();
        throw error;
      }
    },
    close: () => checkpoint.close(),
  };
}

/** Opens, checks, loads and closes in one go. */
export async function loadWeights(
  path: string,
  specs: WeightSpecs,
  device: Device,
  options: LoadOptions = {},
): Promise<Weights> {
  const checked = await openWeights(path, specs, options);
  try {
    return await checked.load(device);
  } finally {
    await checked.close();
  }
}

const UPLOAD_PIECE = 1 << 22; // elements converted at a time, so that a conversion never doubles a large tensor

function upload(device: Device, source: HostTensor, dtype: DType): Tensor {
  const target = device.empty(source.shape, dtype, { weight: true });
  if (source.dtype === dtype) {
    target.writeBytes(asBytes(source.data));
    return target;
  }
  if (!isFloat(source.dtype)) {
    target.dispose();
    throw new Magi1Error(`a weight of type ${source.dtype} cannot become ${dtype}`);
  }
  let byte = 0;
  for (let at = 0; at < source.data.length; at += UPLOAD_PIECE) {
    const piece: HostArray = source.data.subarray(at, at + UPLOAD_PIECE);
    const bytes = asBytes(fromFloat32(dtype, toFloat32(source.dtype, piece)));
    target.writeBytes(bytes, byte);
    byte += bytes.byteLength;
  }
  return target;
}

/** All tensors of a safetensors file, on the host. For small files. */
export async function readTensors(path: string): Promise<Map<string, HostTensor>> {
  const source = await openFile(path);
  try {
    return await readSafetensors(source);
  } finally {
    await source.close();
  }
}

/** All arrays of an .npz file, float64 as float32 unless told otherwise. */
export async function readArrays(path: string, options: NpzOptions = {}): Promise<Map<string, HostTensor>> {
  const source = await openFile(path);
  try {
    return await readNpz(source, options);
  } finally {
    await source.close();
  }
}

/** A JSON file; a missing or broken one is an error that names it. */
export async function readJson(path: string): Promise<unknown> {
  const { readFile } = await import('node:fs/promises');
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    throw new FileFormatError(`${path}: cannot be read (${(error as Error).message})`, { cause: error });
  }
  try {
    return JSON.parse(text) as unknown;
  } catch (error) {
    throw new FileFormatError(`${path}: is not valid JSON (${(error as Error).message})`, { cause: error });
  }
}

/** The tokenizer of a T5 folder: `tokenizer.json` if there, else `spiece.model`. */
export async function readTokenizer(folder: string): Promise<Tokenizer> {
  const { access } = await import('node:fs/promises');
  for (const file of ['tokenizer.json', 'spiece.model'] as const) {
    const there = await access(`${folder}/${file}`).then(
      () => true,
      () => false,
    );
    if (there) return tokenizerFrom(folder, file);
  }
  throw new FileFormatError(`${folder}: expected tokenizer.json or spiece.model, found neither`);
}

/** The tokenizer from one given file of a T5 folder. */
export async function tokenizerFrom(folder: string, file: 'tokenizer.json' | 'spiece.model'): Promise<Tokenizer> {
  const { readFile } = await import('node:fs/promises');
  const bytes = await readFile(`${folder}/${file}`);
  if (file === 'tokenizer.json') return loadTokenizer({ tokenizerJson: bytes.toString('utf8') });
  const tokenizerConfig = await readFile(`${folder}/tokenizer_config.json`, 'utf8').catch(() => undefined);
  return loadTokenizer({ spiece: bytes, ...(tokenizerConfig === undefined ? {} : { tokenizerConfig }) });
}

/**
 * Every tensor of a safetensors or torch file, for checking readers against files made to break them. A safetensors
 * tensor that has no exact form on the host (float64 ...) is read as bytes and left out of the result.
 */
export async function readEveryTensor(path: string): Promise<Map<string, HostTensor>> {
  const source = await openFile(path);
  try {
    const safetensors = path.endsWith('.safetensors');
    const file = safetensors ? await openSafetensors(source) : await openTorch(source);
    const tensors = new Map<string, HostTensor>();
    for (const [name, { dtype, byteLength }] of file.tensors) {
      const exact = dtype !== 'f64' && hostDType(dtype) !== undefined;
      if (safetensors && !exact) await file.readRange(name, 0, byteLength);
      else tensors.set(name, await file.readTensor(name));
    }
    return tensors;
  } finally {
    await source.close();
  }
}
