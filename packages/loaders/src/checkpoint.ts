// A checkpoint as one set of named tensors, whether it is a file or a folder of shards with an index. Opening reads
// tables of contents only; `stream` walks the data once, in file order.
import { FileFormatError, byteLengthOf } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import type { ByteSource } from './bytes.ts';
import { hostDType } from './file-dtype.ts';
import type { ReadOptions } from './file-dtype.ts';
import { listNames, locate, openIn, readBytes } from './folder.ts';
import type { Folder, FolderOptions } from './folder.ts';
import { parseJsonBytes, showJson } from './json.ts';
import { openSafetensors } from './safetensors.ts';
import { quote } from './tensor-file.ts';
import type { TensorEntry, TensorFile } from './tensor-file.ts';
import type { TorchOptions } from './torch.ts';
import { ZstdSource } from './zstd.ts';

export interface CheckpointOptions extends TorchOptions, FolderOptions {
  /** The file or index to open in a folder. Default: what is there, as `openCheckpoint` says. */
  readonly file?: string | undefined;
  /** Which format to take from a folder that has several. Default safetensors, then torch. */
  readonly prefer?: 'safetensors' | 'torch' | 'gguf' | undefined;
}

export interface StreamProgress {
  readonly shard: string;
  /** From 0. */
  readonly shardIndex: number;
  readonly shardCount: number;
  /** Bytes of the tensors asked for, done and in total: in this shard and overall. */
  readonly shardBytes: number;
  readonly shardTotal: number;
  readonly bytes: number;
  readonly total: number;
  /** The tensor just done; undefined when a shard is entered. */
  readonly tensor: string | undefined;
}

export interface StreamOptions {
  readonly onProgress?: ((progress: StreamProgress) => void) | undefined;
  readonly signal?: AbortSignal | undefined;
  /**
   * Place every tensor in the same memory: host memory is then one buffer of the largest tensor, at the price that a
   * tensor's data is valid only until the next one is asked for. Default false: each tensor has memory of its own.
   */
  readonly reuseBuffer?: boolean;
  /**
   * Memory for the data of a tensor, of `byteLength` bytes, as the caller has it: also shared memory. What it gives none
   * for goes where `reuseBuffer` says.
   */
  readonly memoryFor?: ((name: string, byteLength: number) => Uint8Array | undefined) | undefined;
}

export interface NamedTensor {
  readonly name: string;
  readonly tensor: HostTensor;
}

interface Place {
  readonly file: TensorFile;
  readonly entry: TensorEntry;
}

export class Checkpoint {
  /** The folder or file, for messages. */
  readonly name: string;
  /** In the order in which they are streamed. */
  readonly shards: readonly TensorFile[];
  private readonly places: ReadonlyMap<string, Place>;

  constructor(name: string, shards: readonly TensorFile[]) {
    const places = new Map<string, Place>();
    for (const file of shards) {
      for (const [tensor, entry] of file.tensors) {
        const other = places.get(tensor);
        if (other)
          throw new FileFormatError(`${name}: tensor ${quote(tensor)} is in ${other.file.name} and in ${file.name}`);
        places.set(tensor, { file, entry });
      }
    }
    this.name = name;
    this.shards = shards;
    this.places = places;
  }

  names(): string[] {
    return [...this.places.keys()];
  }

  has(name: string): boolean {
    return this.places.has(name);
  }

  /** Stored bytes of all tensors. */
  get byteLength(): number {
    let sum = 0;
    for (const { entry } of this.places.values()) sum += entry.byteLength;
    return sum;
  }

  /** @throws FileFormatError when there is no such tensor. */
  entry(name: string): TensorEntry {
    return this.place(name).entry;
  }

  read(name: string, options?: ReadOptions): Promise<HostTensor> {
    return this.place(name).file.readTensor(name, options);
  }

  /** Raw stored bytes of part of a tensor, for uploads in pieces. */
  readRange(name: string, byteStart: number, byteLength: number, into?: Uint8Array): Promise<Uint8Array> {
    return this.place(name).file.readRange(name, byteStart, byteLength, into);
  }

  /**
   * The named tensors (all by default) in file order, shard by shard, one at a time.
   * @throws FileFormatError before anything is read when a name is unknown; the signal's reason when it is aborted.
   */
  async *stream(names?: Iterable<string>, options: StreamOptions = {}): AsyncGenerator<NamedTensor, void, undefined> {
    const { onProgress, signal, reuseBuffer, memoryFor } = options;
    const wanted = new Set(names ?? this.places.keys());
    const plan = new Map<TensorFile, string[]>(this.shards.map((file) => [file, []]));
    let total = 0;
    let largest = 0;
    for (const name of wanted) {
      const { entry } = this.place(name);
      total += entry.byteLength;
      const host = hostDType(entry.dtype);
      if (host) largest = Math.max(largest, byteLengthOf({ shape: entry.shape, dtype: host }));
    }
    for (const [name, { file }] of this.places) if (wanted.has(name)) plan.get(file)!.push(name);
    const buffer = reuseBuffer ? new ArrayBuffer(largest) : undefined;

    const visited = [...plan].filter(([, members]) => members.length > 0);
    let bytes = 0;
    for (const [shardIndex, [file, members]] of visited.entries()) {
      const shardTotal = members.reduce((sum, name) => sum + this.place(name).entry.byteLength, 0);
      let shardBytes = 0;
      const report = (tensor: string | undefined): void =>
        onProgress?.({
          shard: file.name,
          shardIndex,
          shardCount: visited.length,
          shardBytes,
          shardTotal,
          bytes,
          total,
          tensor,
        });
      report(undefined);
      for (const name of members) {
        signal?.throwIfAborted();
        const { byteLength, shape, dtype } = this.place(name).entry;
        const host = hostDType(dtype);
        const given = host && memoryFor?.(name, byteLengthOf({ shape, dtype: host }));
        yield { name, tensor: await file.readTensor(name, { buffer: given ?? buffer, signal }) };
        shardBytes += byteLength;
        bytes += byteLength;
        report(name);
      }
    }
  }

  async close(): Promise<void> {
    for (const file of this.shards) await file.close();
  }

  private place(name: string): Place {
    const place = this.places.get(name);
    if (!place) throw new FileFormatError(`${this.name}: no tensor named ${quote(name)} among its ${this.places.size}`);
    return place;
  }
}

const FORMATS = {
  safetensors: {
    usual: ['model.safetensors', 'diffusion_pytorch_model.safetensors'],
    any: /\.safetensors$/,
    index: /\.safetensors\.index\.json$/,
  },
  torch: { usual: ['pytorch_model.bin'], any: /\.(bin|pt|pth)$/, index: /\.bin\.index\.json$/ },
  gguf: { usual: [], any: /\.gguf$/, index: /\.gguf\.index\.json$/ },
} as const satisfies Record<string, { usual: readonly string[]; any: RegExp; index: RegExp }>;
const SHARD = /-[0-9]+-of-[0-9]+\.[a-z]+$/;

/**
 * Opens a checkpoint: a folder, or a file or index file by its path (Node).
 * In a folder, `model.safetensors` comes first, then an index with its shards, then the only safetensors file; then the
 * same for torch's `.bin`, then the only `.gguf` file. For a shard named in a safetensors index, `<shard>.zst` is preferred when present.
 * @throws NotFoundError where nothing is there, FileFormatError for missing shards, tensors that the index names and its
 * shard lacks, duplicates.
 */
export async function openCheckpoint(
  where: string | URL | Folder,
  options: CheckpointOptions = {},
): Promise<Checkpoint> {
  const { folder, file: named } = await locate(where);
  const { file, chosen, weightMap } = await findFiles(folder, { ...options, file: options.file ?? named });
  const shards = new Map<string, TensorFile>();
  const sources: ByteSource[] = [];
  try {
    for (const [shard, stored] of chosen) {
      const source = await openIn(folder, stored, options);
      sources.push(source);
      shards.set(shard, await openTensorFile(source, stored, options));
    }
    for (const [tensor, shard] of weightMap ?? []) {
      const opened = shards.get(shard)!;
      if (!opened.tensors.has(tensor))
        throw new FileFormatError(`${opened.name}: lacks tensor ${quote(tensor)}, which ${file} places there`);
    }
    return new Checkpoint(weightMap === undefined ? shards.get(file)!.name : folder.name, [...shards.values()]);
  } catch (cause) {
    for (const source of sources) await source.close();
    throw cause;
  }
}

/**
 * Opens one file of tensors, whose name tells the format.
 * @param file its name: `.zst` is decoded on the fly
 */
export async function openTensorFile(
  source: ByteSource,
  file = source.name,
  options: CheckpointOptions = {},
): Promise<TensorFile> {
  if (FORMATS.gguf.any.test(file)) return (await import('./gguf.ts')).openGguf(source, options);
  if (FORMATS.torch.any.test(file)) return (await import('./torch.ts')).openTorch(source, options);
  return openSafetensors(file.endsWith('.zst') ? new ZstdSource(source) : source, options);
}

/**
 * Names of the files in a folder that `openCheckpoint` opens, an index first. Of the files themselves only an index is read.
 * @throws as `openCheckpoint` does for what a folder's names tell
 */
export async function checkpointFiles(folder: Folder, options: CheckpointOptions = {}): Promise<readonly string[]> {
  const { file, chosen } = await findFiles(folder, options);
  return [...new Set([file, ...chosen.values()])];
}

interface FoundFiles {
  /** The one file, or the index. */
  readonly file: string;
  /** What is opened for each shard. */
  readonly chosen: ReadonlyMap<string, string>;
  readonly weightMap: ReadonlyMap<string, string> | undefined;
}

async function findFiles(folder: Folder, options: CheckpointOptions): Promise<FoundFiles> {
  const names = await listNames(folder, options);
  const file = options.file ?? chooseFile(folder.name, names, options.prefer);
  if (!file.endsWith('.index.json')) return { file, chosen: new Map([[file, file]]), weightMap: undefined };
  const weightMap = await readIndex(folder, file, options);
  const compressed = FORMATS.safetensors.index.test(file);
  const chosen = new Map<string, string>();
  for (const shard of [...new Set(weightMap.values())].sort()) {
    const stored = compressed && names.includes(`${shard}.zst`) ? `${shard}.zst` : shard;
    if (!names.includes(stored))
      throw new FileFormatError(`${folder.name}: shard ${shard}, named in ${file}, is missing`);
    chosen.set(shard, stored);
  }
  return { file, chosen, weightMap };
}

/** The file or the index that a folder's checkpoint is opened by. */
function chooseFile(folder: string, names: readonly string[], prefer: CheckpointOptions['prefer']): string {
  const kinds = ['safetensors', 'torch', 'gguf'] as const;
  for (const kind of new Set([prefer ?? 'safetensors', ...kinds])) {
    const format = FORMATS[kind];
    const usual = (format.usual as readonly string[]).find((file) => names.includes(file));
    if (usual) return usual;
    const indices = names.filter((file) => format.index.test(file));
    if (indices.length > 1) throw new FileFormatError(`${folder}: more than one index: ${indices.join(', ')}`);
    if (indices[0]) return indices[0];
    const candidates = names.filter((file) => format.any.test(file));
    const shards = candidates.filter((file) => SHARD.test(file));
    if (shards.length > 0)
      throw new FileFormatError(`${folder}: shards such as ${shards[0]!} but no index file beside them`);
    if (candidates.length > 1)
      throw new FileFormatError(
        `${folder}: which checkpoint? ${candidates.slice(0, 5).join(', ')}; name the file itself`,
      );
    if (candidates[0]) return candidates[0];
  }
  throw new FileFormatError(
    `${folder}: no checkpoint, expected model.safetensors, an index with shards, pytorch_model.bin or a .gguf file; ` +
      (names.length > 0 ? `found ${names.slice(0, 6).join(', ')}` : 'it is empty'),
  );
}

const MAX_INDEX = 64 << 20;

/** The shard of every tensor. */
async function readIndex(folder: Folder, file: string, options: CheckpointOptions): Promise<Map<string, string>> {
  const { name } = folder.at(file);
  const root = parseJsonBytes(await readBytes(folder, file, MAX_INDEX, options), name);
  const map = root instanceof Map ? root.get('weight_map') : undefined;
  if (!(map instanceof Map))
    throw new FileFormatError(`${name}: expected an object 'weight_map', found ${showJson(map)}`);
  const weights = new Map<string, string>();
  for (const [tensor, shard] of map) {
    if (typeof shard !== 'string' || !/^[^/\\\0]+$/.test(shard) || shard === '..') {
      throw new FileFormatError(
        `${name}: ${quote(tensor)} must name a file in the same folder, found ${showJson(shard)}`,
      );
    }
    weights.set(tensor, shard);
  }
  if (weights.size === 0) throw new FileFormatError(`${name}: names no tensors`);
  return weights;
}
