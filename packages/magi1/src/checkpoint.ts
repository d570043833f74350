// The one door to files: folders and files of a checkpoint become weights on a device, or host tensors.
import {
  JsonNumber,
  bytesSource,
  hostDType,
  loadTokenizer,
  openCheckpoint,
  openFile,
  openSafetensors,
  openTorch,
  parseJsonBytes,
  readNpz,
  readSafetensors,
  readSmallFile,
  showJson,
} from '@magi1/loaders';
import type { CheckpointOptions, JsonValue, NpzOptions, StreamProgress, Tokenizer } from '@magi1/loaders';
import { FileFormatError } from '@magi1/tensor';
import type { Device, DType, HostTensor } from '@magi1/tensor';
import { CheckedWeights } from './nn/index.ts';
import type { NetworkDefinition, StreamingOptions } from './nn/index.ts';

export type { StreamProgress, Tokenizer } from '@magi1/loaders';

export interface LoadOptions extends CheckpointOptions, StreamingOptions<StreamProgress> {
  /** dtype of matrices on the device; as stored when left out. Vectors are always f32. */
  readonly dtype?: DType | undefined;
}

/** A network whose checkpoint is open and fits it; no weight has been read yet. */
export interface CheckedCheckpoint<Network> {
  readonly path: string;
  readonly weights: CheckedWeights<Network, StreamProgress>;
  readonly close: () => Promise<void>;
}

/** Opens a file or folder and compares it with what the network declares; errors come before any reading. */
export async function openNetwork<Network>(
  path: string,
  network: NetworkDefinition<Network>,
  { dtype, ...options }: LoadOptions = {},
): Promise<CheckedCheckpoint<Network>> {
  const checkpoint = await openCheckpoint(path, options);
  try {
    return { path, weights: new CheckedWeights(checkpoint, network, dtype), close: () => checkpoint.close() };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}

/** Opens, checks, loads and closes in one go. */
export async function loadNetwork<Network>(
  path: string,
  network: NetworkDefinition<Network>,
  device: Device,
  options: LoadOptions = {},
): Promise<Network> {
  const { weights, close } = await openNetwork(path, network, options);
  try {
    return await weights.load(device, options);
  } finally {
    await close();
  }
}

/** A value of a settings file; the members of objects keep the file's order, whatever their names. */
export type Setting = null | boolean | number | string | readonly Setting[] | ReadonlyMap<string, Setting>;

/** A LoRA's tensors, on the host, and what is said about them beside them. */
export interface LoraSource {
  /** For messages. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, HostTensor>;
  /** PEFT's settings in the metadata, or else adapter_config.json beside the file; over the metadata itself. */
  readonly settings: ReadonlyMap<string, Setting>;
  /** Where PEFT's settings come from, where there are any. */
  readonly settingsFrom: string | undefined;
}

/** Reads a LoRA: a file, a folder, or the bytes of a safetensors file. An adapter_config.json in the folder is read too. */
export async function readLora(source: string | Uint8Array): Promise<LoraSource> {
  const checkpoint =
    typeof source === 'string'
      ? await openCheckpoint(source)
      : await openCheckpoint([bytesSource(source, 'bytes.safetensors')]);
  try {
    const names = checkpoint.names();
    if (names.length > MAX_LORA_TENSORS)
      throw new FileFormatError(
        `LoRA ${checkpoint.name}: ${names.length} tensors, at most ${MAX_LORA_TENSORS} expected`,
      );
    const metadata = checkpoint.shards[0]?.metadata ?? new Map<string, string>();
    const own = metadata.get('lora_adapter_metadata');
    const from =
      own !== undefined
        ? `${checkpoint.name}: lora_adapter_metadata`
        : typeof source === 'string'
          ? await adapterConfig(source)
          : undefined;
    let peft: ReadonlyMap<string, Setting> = new Map();
    if (from !== undefined)
      peft = parseSettings(
        from,
        own === undefined ? await readSmallFile(from, MAX_JSON) : new TextEncoder().encode(own),
      );
    const tensors = new Map<string, HostTensor>();
    for (const name of names) tensors.set(name, await checkpoint.read(name));
    return { name: checkpoint.name, tensors, settings: new Map([...metadata, ...peft]), settingsFrom: from };
  } finally {
    await checkpoint.close();
  }
}

/** Tensors of a LoRA: a thousand layers have three each. */
const MAX_LORA_TENSORS = 20_000;
/** Configs have kilobytes. */
const MAX_JSON = 4 << 20;
const MAX_TOKENIZER = 64 << 20;

/** adapter_config.json in a folder or beside a file; undefined where there is none. */
async function adapterConfig(source: string): Promise<string | undefined> {
  const { stat } = await import('node:fs/promises');
  const path = await import('node:path');
  const folder = (await stat(source)).isDirectory() ? source : path.dirname(source);
  const file = path.join(folder, 'adapter_config.json');
  return (await exists(file)) ? file : undefined;
}

async function exists(path: string): Promise<boolean> {
  const { access } = await import('node:fs/promises');
  return access(path).then(
    () => true,
    () => false,
  );
}

function parseSettings(what: string, bytes: Uint8Array): ReadonlyMap<string, Setting> {
  const value = parseJsonBytes(bytes, what);
  if (!(value instanceof Map)) throw new FileFormatError(`${what}: an object expected, got ${showJson(value)}`);
  return settingOf(value) as ReadonlyMap<string, Setting>;
}

function settingOf(value: JsonValue): Setting {
  if (value instanceof Map) return new Map([...value].map(([key, item]) => [key, settingOf(item)]));
  if (value instanceof JsonNumber) return Number(value.text);
  return Array.isArray(value) ? value.map(settingOf) : value;
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
  const bytes = await readSmallFile(path, MAX_JSON);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch (error) {
    throw new FileFormatError(`${path}: is not valid JSON (${(error as Error).message})`, { cause: error });
  }
}

/** The tokenizer of a T5 folder: `tokenizer.json` if there, else `spiece.model`. */
export async function readTokenizer(folder: string): Promise<Tokenizer> {
  for (const file of ['tokenizer.json', 'spiece.model'] as const)
    if (await exists(`${folder}/${file}`)) return tokenizerFrom(folder, file);
  throw new FileFormatError(`${folder}: expected tokenizer.json or spiece.model, found neither`);
}

/** The tokenizer from one given file of a T5 folder. */
export async function tokenizerFrom(folder: string, file: 'tokenizer.json' | 'spiece.model'): Promise<Tokenizer> {
  const bytes = await readSmallFile(`${folder}/${file}`, MAX_TOKENIZER);
  if (file === 'tokenizer.json') return loadTokenizer({ tokenizerJson: new TextDecoder().decode(bytes) });
  const config = `${folder}/tokenizer_config.json`;
  if (!(await exists(config))) return loadTokenizer({ spiece: bytes });
  return loadTokenizer({
    spiece: bytes,
    tokenizerConfig: new TextDecoder().decode(await readSmallFile(config, MAX_JSON)),
  });
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
