// A checkpoint as one set of named tensors, whether it is a file, a folder of shards with an index, or sources that a
// browser hands over. Opening reads tables of contents only; `stream` walks the data once, in file order.
import { bytesPerElement, FileFormatError } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { openFile, reason } from './bytes.ts';
import type { ByteSource } from './bytes.ts';
import { elementCount, hostDType } from './file-dtype.ts';
import type { ReadOptions } from './file-dtype.ts';
import { parseJsonBytes, showJson } from './json.ts';
import { requireNode } from './node.ts';
import { openSafetensors } from './safetensors.ts';
import { quote } from './tensor-file.ts';
import type { TensorEntry, TensorFile } from './tensor-file.ts';
import { openTorch } from './torch.ts';
import type { TorchOptions } from './torch.ts';
import { ZstdSource } from './zstd.ts';

export interface CheckpointOptions extends TorchOptions {
  /** Which format to take from a folder that has both. Default safetensors. */
  readonly prefer?: 'safetensors' | 'torch';
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
  readonly onProgress?: (progress: StreamProgress) => void;
  readonly signal?: AbortSignal;
  /**
   * Place every tensor in the same memory: host memory is then one buffer of the largest tensor, at the price that a
   * tensor's data is valid only until the next one is asked for. Default false: each tensor has memory of its own.
   */
  readonly reuseBuffer?: boolean;
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
    const { onProgress, signal, reuseBuffer } = options;
    const wanted = new Set(names ?? this.places.keys());
    const plan = new Map<TensorFile, string[]>(this.shards.map((file) => [file, []]));
    let total = 0;
    let largest = 0;
    for (const name of wanted) {
      const { entry } = this.place(name);
      total += entry.byteLength;
      const host = hostDType(entry.dtype);
      if (host) largest = Math.max(largest, elementCount(entry.shape)! * bytesPerElement(host));
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
        yield { name, tensor: await file.readTensor(name, buffer ? { buffer } : {}) };
        const { byteLength } = this.place(name).entry;
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

/** Files by plain name: a folder, or what a browser has been given. */
interface Folder {
  readonly name: string;
  readonly files: readonly string[];
  open(file: string): Promise<ByteSource>;
}

/**
 * Opens a checkpoint: a folder, a single file or an index file by path (Node), or a list of sources.
 * In a folder, `model.safetensors` comes first, then an index with its shards, then the only safetensors file; then the
 * same for torch's `.bin`. For a shard named in a safetensors index, `<shard>.zst` is preferred when present.
 * @throws FileFormatError for missing files or shards, tensors that the index names and its shard lacks, duplicates.
 */
export async function openCheckpoint(
  where: string | readonly ByteSource[],
  options: CheckpointOptions = {},
): Promise<Checkpoint> {
  if (typeof where !== 'string') {
    const files = new Map(where.map((source) => [baseName(source.name), source]));
    if (files.size !== where.length) throw new FileFormatError('two of the files given have the same name');
    const open = async (file: string): Promise<ByteSource> => Promise.resolve(files.get(file)!);
    return openFolder(
      { name: where.length === 1 ? where[0]!.name : 'the files given', files: [...files.keys()], open },
      options,
    );
  }
  const fs = requireNode('node:fs/promises');
  const path = requireNode('node:path');
  const facts = await fs.stat(where).catch((cause: unknown) => {
    throw new FileFormatError(`${where}: no such checkpoint (${reason(cause)})`, { cause });
  });
  const directory = facts.isDirectory() ? where : path.dirname(where);
  const files = (
    await fs.readdir(directory).catch((cause: unknown) => {
      throw new FileFormatError(`${directory}: cannot be listed (${reason(cause)})`, { cause });
    })
  ).sort();
  const folder: Folder = { name: directory, files, open: (file) => openFile(path.join(directory, file)) };
  if (facts.isDirectory()) return openFolder(folder, options);
  const file = baseName(where);
  return file.endsWith('.index.json') ? openIndex(folder, file, options) : openSingle(folder, file, options);
}

function baseName(path: string): string {
  return path.slice(Math.max(path.lastIndexOf('/'), path.lastIndexOf('\\')) + 1);
}

const FORMATS = {
  safetensors: {
    usual: ['model.safetensors', 'diffusion_pytorch_model.safetensors'],
    any: /\.safetensors$/,
    index: /\.safetensors\.index\.json$/,
  },
  torch: { usual: ['pytorch_model.bin'], any: /\.(bin|pt|pth)$/, index: /\.bin\.index\.json$/ },
} as const;
const SHARD = /-[0-9]+-of-[0-9]+\.[a-z]+$/;

async function openFolder(folder: Folder, options: CheckpointOptions): Promise<Checkpoint> {
  const first = options.prefer ?? 'safetensors';
  for (const kind of [first, first === 'torch' ? 'safetensors' : 'torch'] as const) {
    const format = FORMATS[kind];
    const usual = format.usual.find((file) => folder.files.includes(file));
    if (usual) return openSingle(folder, usual, options);
    const indices = folder.files.filter((file) => format.index.test(file));
    if (indices.length > 1) throw new FileFormatError(`${folder.name}: more than one index: ${indices.join(', ')}`);
    if (indices[0]) return openIndex(folder, indices[0], options);
    const candidates = folder.files.filter((file) => format.any.test(file));
    const shards = candidates.filter((file) => SHARD.test(file));
    if (shards.length > 0) {
      throw new FileFormatError(`${folder.name}: shards such as ${shards[0]!} but no index file beside them`);
    }
    if (candidates.length > 1) {
      throw new FileFormatError(
        `${folder.name}: which checkpoint? ${candidates.slice(0, 5).join(', ')}; name the file itself`,
      );
    }
    if (candidates[0]) return openSingle(folder, candidates[0], options);
  }
  throw new FileFormatError(
    `${folder.name}: no checkpoint, expected model.safetensors, an index with shards or pytorch_model.bin; ` +
      (folder.files.length > 0 ? `found ${folder.files.slice(0, 6).join(', ')}` : 'it is empty'),
  );
}

async function openSingle(folder: Folder, file: string, options: CheckpointOptions): Promise<Checkpoint> {
  const opened = await openTensorFile(folder, file, options);
  return new Checkpoint(opened.name, [opened]);
}

async function openTensorFile(folder: Folder, file: string, options: CheckpointOptions): Promise<TensorFile> {
  const source = await folder.open(file);
  try {
    if (FORMATS.torch.any.test(file)) return await openTorch(source, options);
    return await openSafetensors(file.endsWith('.zst') ? new ZstdSource(source) : source);
  } catch (cause) {
    await source.close();
    throw cause;
  }
}

const MAX_INDEX = 64 << 20;

async function openIndex(folder: Folder, file: string, options: CheckpointOptions): Promise<Checkpoint> {
  const source = await folder.open(file);
  let weightMap: Map<string, string>;
  try {
    if (source.size > MAX_INDEX) throw new FileFormatError(`${source.name}: an index of ${source.size} bytes`);
    weightMap = parseIndex(await source.read(0, source.size), source.name);
  } finally {
    await source.close();
  }
  const shardNames = [...new Set(weightMap.values())].sort();
  const compressed = FORMATS.safetensors.index.test(file);
  const shards = new Map<string, TensorFile>();
  try {
    for (const shard of shardNames) {
      const zst = `${shard}.zst`;
      const chosen = compressed && folder.files.includes(zst) ? zst : shard;
      if (!folder.files.includes(chosen)) {
        throw new FileFormatError(`${folder.name}: shard ${shard}, named in ${file}, is missing`);
      }
      shards.set(shard, await openTensorFile(folder, chosen, options));
    }
    for (const [tensor, shard] of weightMap) {
      const opened = shards.get(shard)!;
      if (!opened.tensors.has(tensor)) {
        throw new FileFormatError(`${opened.name}: lacks tensor ${quote(tensor)}, which ${file} places there`);
      }
    }
    return new Checkpoint(folder.name, [...shards.values()]);
  } catch (cause) {
    for (const opened of shards.values()) await opened.close();
    throw cause;
  }
}

function parseIndex(bytes: Uint8Array, name: string): Map<string, string> {
  const root = parseJsonBytes(bytes, name);
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
