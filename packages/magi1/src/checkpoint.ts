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
import {
  FileFormatError,
  Magi1Error,
  asBytes,
  bytesPerElement,
  fromFloat32,
  isFloat,
  sameShape,
  toFloat32,
} from '@magi1/tensor';
import type { Device, DType, HostArray, HostTensor, Tensor } from '@magi1/tensor';
import { Weights, checkWeights, deviceDType, weightBytes } from './weights.ts';
import type { WeightEntry, WeightSpecs } from './weights.ts';

export type { StreamProgress, Tokenizer } from '@magi1/loaders';

/** A tensor of a file that is one of several parts of a weight: its rows are taken in turn, `rows` at a time. */
export interface WeightPart {
  readonly weight: string;
  /** Which of the `parts`, from 0. */
  readonly part: number;
  readonly parts: number;
  /** All of a part, then all of the next, when left out. */
  readonly rows?: number | undefined;
}

export interface LoadOptions extends CheckpointOptions {
  /** dtype of matrices on the device; as stored when left out. Vectors are always f32. */
  readonly dtype?: DType | undefined;
  /** A name in the file (and all names there) -> the model's name, or a part of it; undefined drops the tensor. */
  readonly rename?: ((name: string, all: ReadonlySet<string>) => string | WeightPart | undefined) | undefined;
  /** The model's name -> what the file would call it, for messages. */
  readonly spelling?: ((name: string, all: ReadonlySet<string>) => string) | undefined;
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
  /** Overwrites the named weights of a loaded model with what the files hold. */
  restore(weights: Weights, names: Iterable<string>): Promise<void>;
  close(): Promise<void>;
}

/** Opens a file or folder and compares its names, shapes and dtypes with `specs`; errors come before any reading. */
export async function openWeights(
  path: string,
  specs: WeightSpecs,
  options: LoadOptions = {},
): Promise<CheckedCheckpoint> {
  const checkpoint = await openCheckpoint(path, options);
  const parts = new WeightParts(path);
  let entries: ReadonlyMap<string, WeightEntry>;
  try {
    const all = new Set(checkpoint.names());
    for (const fileName of all) {
      const target = options.rename ? options.rename(fileName, all) : fileName;
      if (target !== undefined) parts.add(fileName, target, checkpoint.entry(fileName));
    }
    entries = parts.entries();
    checkWeights(path, entries, specs, (name) => options.spelling?.(name, all) ?? name);
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
  const { signal, onProgress } = options;
  const stream = async (names: Iterable<string>, device: Device, target: (name: string, stored: DType) => Tensor) => {
    const tensors = checkpoint.stream(names, {
      reuseBuffer: true,
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    });
    for await (const { name: fileName, tensor } of tensors) {
      const part = parts.of(fileName);
      uploadRows(target(part.weight, tensor.dtype), tensor, part);
      await device.tick(signal);
    }
    await device.sync(signal);
  };
  return {
    path,
    entries,
    deviceBytes: weightBytes(specs, entries, options.dtype),
    async load(device) {
      const tensors = new Map<string, Tensor>();
      const weights = new Weights(tensors);
      try {
        await stream(parts.fileNames(), device, (name, stored) => {
          const spec = specs.get(name)!;
          let tensor = tensors.get(name);
          if (tensor === undefined) {
            tensor = device.empty(spec.shape, deviceDType(spec, stored, options.dtype), { weight: true, name });
            tensors.set(name, tensor);
          }
          return tensor;
        });
        return weights;
      } catch (error) {
        weights.dispose();
        throw error;
      }
    },
    async restore(weights, names) {
      const files = [...names].flatMap((name) => parts.fileNamesOf(name));
      if (files.length > 0) await stream(files, weights.device, (name) => weights.get(name));
    },
    close: () => checkpoint.close(),
  };
}

/** Which tensors of the files make up which weight. */
class WeightParts {
  readonly #source: string;
  readonly #files = new Map<string, WeightPart & { readonly entry: WeightEntry }>();
  readonly #weights = new Map<string, (string | undefined)[]>();

  constructor(source: string) {
    this.#source = source;
  }

  add(fileName: string, target: string | WeightPart, entry: WeightEntry): void {
    const place = typeof target === 'string' ? { weight: target, part: 0, parts: 1 } : target;
    const files = this.#weights.get(place.weight) ?? new Array<string | undefined>(place.parts).fill(undefined);
    const other = files[place.part] ?? (files.length === place.parts ? undefined : files.find((name) => name));
    if (other !== undefined) throw new FileFormatError(`${this.#source}: ${fileName} and ${other} are the same weight`);
    files[place.part] = fileName;
    this.#weights.set(place.weight, files);
    this.#files.set(fileName, { ...place, entry });
  }

  of(fileName: string): WeightPart {
    return this.#files.get(fileName)!;
  }

  fileNames(): Iterable<string> {
    return this.#files.keys();
  }

  fileNamesOf(weight: string): string[] {
    return (this.#weights.get(weight) ?? []).filter((name) => name !== undefined);
  }

  /** What the files hold by weight. A weight that lacks some of its parts, or whose parts do not go together, is an error. */
  entries(): Map<string, WeightEntry> {
    const entries = new Map<string, WeightEntry>();
    const faults: string[] = [];
    for (const [weight, files] of this.#weights) {
      const there = this.fileNamesOf(weight).map((name) => this.#files.get(name)!);
      const { shape, dtype } = there[0]!.entry;
      if (there.length < files.length) {
        faults.push(`of the ${files.length} parts of ${weight} only ${this.fileNamesOf(weight).join(', ')} are there`);
      } else if (there.some(({ entry }) => entry.dtype !== dtype || !sameShape(entry.shape, shape))) {
        faults.push(`${this.fileNamesOf(weight).join(' and ')} must be of one shape and type`);
      } else {
        const merged = files.length === 1 ? shape : [shape[0]! * files.length, ...shape.slice(1)];
        entries.set(weight, { shape: merged, dtype });
      }
    }
    if (faults.length > 0) throw new FileFormatError(`${this.#source}: ${faults.slice(0, 8).join('; ')}`);
    return entries;
  }
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

/** Writes a tensor, or one part of it, over the rows of `target` that it stands for. */
function uploadRows(target: Tensor, source: HostTensor, { part, parts, rows }: WeightPart): void {
  if (source.dtype !== target.dtype && !isFloat(source.dtype))
    throw new Magi1Error(`a weight of type ${source.dtype} cannot become ${target.dtype}`);
  const length = source.data.length;
  const turn = parts === 1 || rows === undefined ? length : rows * (length / source.shape[0]!);
  for (let at = 0; at < length; at += turn)
    upload(target, (at / turn) * parts * turn + part * turn, source.dtype, source.data.subarray(at, at + turn));
}

function upload(target: Tensor, element: number, dtype: DType, data: HostArray): void {
  let byte = element * bytesPerElement(target.dtype);
  if (dtype === target.dtype) {
    target.writeBytes(asBytes(data), byte);
    return;
  }
  for (let at = 0; at < data.length; at += UPLOAD_PIECE) {
    const piece: HostArray = data.subarray(at, at + UPLOAD_PIECE);
    const bytes = asBytes(fromFloat32(target.dtype, toFloat32(dtype, piece)));
    target.writeBytes(bytes, byte);
    byte += bytes.byteLength;
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
