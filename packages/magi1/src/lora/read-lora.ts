// A LoRA's files: its tensors, and what is said about them in metadata or beside them.
import {
  Checkpoint,
  JsonNumber,
  bytesSource,
  ifFound,
  locate,
  openCheckpoint,
  openSafetensors,
  parseJsonBytes,
  readBytes,
  showJson,
} from '@magi1/loaders';
import type { Folder, JsonValue } from '@magi1/loaders';
import { FileFormatError } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';

/** A value of a settings file; the members of objects keep the file's order, whatever their names. */
export type Setting = null | boolean | number | string | readonly Setting[] | ReadonlyMap<string, Setting>;

/** A LoRA's tensors, on the host, and what is said about them beside them. */
export interface LoraFile {
  /** For messages. */
  readonly name: string;
  readonly tensors: ReadonlyMap<string, HostTensor>;
  /** PEFT's settings in the metadata, or else adapter_config.json beside the file; over the metadata itself. */
  readonly settings: ReadonlyMap<string, Setting>;
  /** Where PEFT's settings come from, where there are any. */
  readonly settingsFrom: string | undefined;
}

/** Where a LoRA is: a safetensors or torch file, a folder with one, or the bytes of a safetensors file. */
export type LoraSource = string | URL | Folder | Uint8Array;

/** Tensors of a LoRA: a thousand layers have three each. */
const MAX_TENSORS = 20_000;
const MAX_SETTINGS = 4 << 20;

/** Reads a LoRA. An adapter_config.json in the folder is read too. */
export async function readLora(source: LoraSource): Promise<LoraFile> {
  if (source instanceof Uint8Array) {
    const file = await openSafetensors(bytesSource(source, 'bytes.safetensors'));
    return readTensors(new Checkpoint(file.name, [file]), undefined);
  }
  const { folder, file } = await locate(source);
  return readTensors(await openCheckpoint(folder, { file }), folder);
}

async function readTensors(checkpoint: Checkpoint, folder: Folder | undefined): Promise<LoraFile> {
  try {
    const { name } = checkpoint;
    const names = checkpoint.names();
    if (names.length > MAX_TENSORS)
      throw new FileFormatError(`LoRA ${name}: ${names.length} tensors, at most ${MAX_TENSORS} expected`);
    const metadata = checkpoint.shards[0]?.metadata ?? new Map<string, string>();
    const peft = await peftSettings(name, metadata.get('lora_adapter_metadata'), folder);
    const tensors = new Map<string, HostTensor>();
    for (const tensor of names) tensors.set(tensor, await checkpoint.read(tensor));
    return { name, tensors, settings: new Map([...metadata, ...(peft?.settings ?? [])]), settingsFrom: peft?.from };
  } finally {
    await checkpoint.close();
  }
}

async function peftSettings(name: string, own: string | undefined, folder: Folder | undefined) {
  if (own !== undefined) {
    const from = `${name}: lora_adapter_metadata`;
    return { from, settings: parseSettings(from, new TextEncoder().encode(own)) };
  }
  const bytes = folder && (await ifFound(readBytes(folder, CONFIG, MAX_SETTINGS)));
  if (bytes === undefined) return undefined;
  const from = folder!.at(CONFIG).name;
  return { from, settings: parseSettings(from, bytes) };
}

const CONFIG = 'adapter_config.json';

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
