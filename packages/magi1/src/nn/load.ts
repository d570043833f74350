// From a checkpoint to weights on a device: the table of contents is compared with what a network declares before anything
// is read, then tensors are streamed one at a time. Matrices of blocks may stay in the files, or in host memory: they are
// then brought block by block while the network runs.
import {
  FileFormatError,
  Magi1Error,
  MetaDevice,
  byteLengthOf,
  bytesOf,
  hasWholeGroups,
  hostArray,
  isBlocks,
  sameShape,
  viewBytes,
  weightDTypes,
} from '@magi1/tensor';
import type { DType, Device, HostTensor, Shape, Tensor } from '@magi1/tensor';
import { WeightStreamer, blocksAmong, roomOf } from './block-stream.ts';
import type { Fetch, StreamedBlock } from './block-stream.ts';
import { Params } from './params.ts';
import type { ParamSpec, ParamSpecs, RowReader } from './params.ts';
import { HostWeight, Staging, converted, directly, fromHost, upload } from './upload.ts';
import type { WeightPart, WeightTarget } from './upload.ts';

/** What a file says it holds under one name. */
export interface WeightEntry {
  readonly shape: Shape;
  readonly dtype: string;
}

/** Where weights are read from; a `Checkpoint` of @magi1/loaders is one. */
export interface WeightSource<Progress = unknown> {
  /** For messages. */
  readonly name: string;
  names(): Iterable<string>;
  entry(name: string): WeightEntry;
  /** The named tensors, one at a time; each is valid until the next one is asked for. */
  stream(
    names: Iterable<string>,
    options: {
      /** Where a tensor's data may be placed, which saves a copy; `byteLength` bytes, or undefined where it does not matter. */
      readonly memoryFor: (name: string, byteLength: number) => Uint8Array | undefined;
      readonly signal?: AbortSignal;
      readonly onProgress?: (progress: Progress) => void;
    },
  ): AsyncIterable<{ readonly name: string; readonly tensor: HostTensor }>;
  /** Stored bytes of part of a tensor; needed where tables are read by row. */
  readRange?(name: string, byteStart: number, byteLength: number): Promise<Uint8Array>;
}

/** How a file's names are read. */
export interface WeightNames {
  /** A name in the file (and all names there) -> the model's name, or a part of it; undefined drops the tensor. */
  readonly rename?: ((name: string, all: ReadonlySet<string>) => string | WeightPart | undefined) | undefined;
  /** The model's name -> what the file would call it, for messages. */
  readonly spelling?: ((name: string, all: ReadonlySet<string>) => string) | undefined;
}

export interface StreamingOptions<Progress = unknown> {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: Progress) => void) | undefined;
}

/**
 * Where the matrices of blocks lie while others compute: all on the device, or in host memory or the files, from where they
 * are brought block by block.
 */
export type BlockPlace = 'device' | 'host' | 'files';

export interface LoadOptions<Progress = unknown> extends StreamingOptions<Progress> {
  /** 'device' when left out. */
  readonly blocks?: BlockPlace | undefined;
  /** Where tables of rows stay, to be read by row; 'device' when left out. */
  readonly rows?: 'device' | 'files' | undefined;
}

/** Whether a weight becomes q8 or q4 where these are asked for: matrices of whole groups, but for those that must be precise. */
export const isQuantizable = ({ role, shape, precise = false }: ParamSpec): boolean =>
  role === 'matrix' && !precise && hasWholeGroups(shape);

/**
 * The dtype a weight takes on the device: vectors f32, matrices `wanted` or as stored. Where q8 or q4 is wanted, what is not
 * quantised is bf16, or stays f16.
 */
export function deviceDType(spec: ParamSpec, stored: DType, wanted: DType = stored): DType {
  if (spec.role === 'vector') return 'f32';
  // fp8 matrices carry scales of their own: they are never converted.
  if (stored === 'f8e4m3fn') return stored;
  if (!isBlocks(wanted) || isQuantizable(spec)) return wanted;
  if (isBlocks(stored) && spec.role === 'matrix') return stored;
  return stored === 'f16' ? stored : 'bf16';
}

/** A network as files hold it. */
export interface NetworkDefinition<Network> {
  build(p: Params): Network;
  /** How files spell its weights; as the network does when left out. */
  names?(specs: ParamSpecs): WeightNames;
  /** Paths of lists of blocks that are run in order, whose matrices may be brought one block at a time. */
  readonly blocks?: readonly string[] | undefined;
}

/** The blocks of a network with the weights that are brought: all but its vectors, which are small. */
export const streamedBlocks = (network: NetworkDefinition<unknown>, specs: ParamSpecs): StreamedBlock[] =>
  blocksAmong(specs.keys(), network.blocks ?? [], (name) => specs.get(name)!.role !== 'vector');

/**
 * Bytes that a network's weights take on a device: all of them; and where its blocks are brought, those that stay, and the
 * room of two blocks. Rows that are read where they are stored are in none.
 */
export function weightBytes(
  network: NetworkDefinition<unknown>,
  specs: ParamSpecs,
  dtypeOf: (name: string) => DType,
): { readonly deviceBytes: number; readonly residentBytes: number; readonly roomBytes: number } {
  const bytes = (name: string) => byteLengthOf({ shape: specs.get(name)!.shape, dtype: dtypeOf(name) });
  const sum = (names: Iterable<string>) => [...names].reduce((total, name) => total + bytes(name), 0);
  const deviceBytes = sum([...specs].flatMap(([name, { role }]) => (role === 'rows' ? [] : [name])));
  const blocks = streamedBlocks(network, specs);
  const residentBytes = deviceBytes - sum(blocks.flatMap(({ weights }) => weights));
  return { deviceBytes, residentBytes, roomBytes: roomOf(blocks, bytes) };
}

/** A network whose files fit: their table of contents was compared with what it declares, no weight has been read. */
export class CheckedWeights<Network, Progress = unknown> {
  /** What the files hold, by the network's names. */
  readonly entries: ReadonlyMap<string, WeightEntry>;
  readonly #source: WeightSource<Progress>;
  readonly #network: NetworkDefinition<Network>;
  /** What the network declares. */
  readonly specs: ParamSpecs;
  readonly #dtype: DType | undefined;
  readonly #parts: WeightParts;
  readonly #bytes: ReturnType<typeof weightBytes>;

  /**
   * @param dtype of matrices on the device; as stored when left out. Vectors are always f32.
   * @throws Magi1Error that names every missing name, wrong shape or dtype, and left-over name
   */
  constructor(source: WeightSource<Progress>, network: NetworkDefinition<Network>, dtype?: DType) {
    this.#source = source;
    this.#network = network;
    this.specs = Params.record((p) => network.build(p));
    this.#dtype = dtype;
    this.#parts = new WeightParts(source.name);
    const { rename, spelling } = network.names?.(this.specs) ?? {};
    const all = new Set(source.names());
    for (const fileName of all) {
      const target = rename ? rename(fileName, all) : fileName;
      if (target !== undefined) this.#parts.add(fileName, target, source.entry(fileName));
    }
    this.entries = this.#parts.entries();
    checkEntries(source.name, this.entries, this.specs, (name) => spelling?.(name, all) ?? name);
    this.#bytes = weightBytes(network, this.specs, (name) => this.dtypeOf(name));
  }

  /** Bytes that the weights take on a device. */
  get deviceBytes(): number {
    return this.#bytes.deviceBytes;
  }

  /** Where the matrices of blocks are brought one block at a time: what stays on the device. */
  get residentBytes(): number {
    return this.#bytes.residentBytes;
  }

  /** And what two blocks, of those that take most, have room in. */
  get roomBytes(): number {
    return this.#bytes.roomBytes;
  }

  /** The same three where matrices are held in another type. */
  bytesAs(dtype: DType): ReturnType<typeof weightBytes> {
    return weightBytes(this.#network, this.specs, (name) => this.#dtypeAs(name, dtype));
  }

  /** The type in which a weight is held on the device. */
  dtypeOf(name: string): DType {
    return this.#dtypeAs(name, this.#dtype);
  }

  #dtypeAs(name: string, wanted: DType | undefined): DType {
    return deviceDType(this.specs.get(name)!, this.entries.get(name)!.dtype as DType, wanted);
  }

  /** What a tensor of the files is, or is a part of; undefined where it is left out. */
  specOf(fileName: string): ParamSpec | undefined {
    const part = this.#parts.find(fileName);
    return part && this.specs.get(part.weight);
  }

  /**
   * Streams the weights to a device, one tensor in host memory at a time; with `blocks`, those of blocks only to where they
   * are to lie. Frees what it made when it fails. The files must stay open while blocks or rows come from them.
   */
  async load(
    device: Device,
    { blocks: place = 'device', rows = 'device', ...options }: LoadOptions<Progress> = {},
  ): Promise<Network> {
    if (rows === 'files' && this.#source.readRange === undefined)
      throw new Magi1Error(`${this.#source.name}: its tables cannot be read by row: it has no readRange`);
    const blocks = place === 'device' ? [] : streamedBlocks(this.#network, this.specs);
    const streamed = new Set(blocks.flatMap(({ weights }) => weights));
    const params = this.#params(device, streamed, rows);
    try {
      const network = this.#network.build(params);
      const held = new Map<string, HostWeight>();
      if (place === 'host') for (const name of streamed) held.set(name, new HostWeight(params.get(name)));
      const target = (name: string): WeightTarget | undefined => {
        if (!streamed.has(name)) return params.get(name);
        return held.get(name);
      };
      const loaded = [...this.specs].filter(
        ([name, { role }]) => (role !== 'rows' || rows === 'device') && target(name) !== undefined,
      );
      const names = loaded.map(([name]) => name);
      await this.#readAll(device, names, (name) => target(name)!, options);
      if (blocks.length > 0) {
        const fetch: Fetch = place === 'host' ? fromHost((name) => params.get(name), held) : this.#fromFiles(params);
        params.stream = new WeightStreamer(device, blocks, (name) => params.get(name), fetch);
      }
      return network;
    } catch (error) {
      params.dispose();
      throw error;
    }
  }

  /** The network without values: its weights take their room on a meta device, its forward is counted. */
  onMeta(device: MetaDevice): Network {
    return this.#network.build(this.#params(device));
  }

  /** Overwrites the named weights of a loaded network, which nothing recorded uses, with what the files hold. */
  async restore(params: Params, names: Iterable<string>, options: StreamingOptions<Progress> = {}): Promise<void> {
    await this.#readAll(params.device, names, (name) => params.get(name), options);
  }

  /** Reads weights into what gives them bytes, of which `read` is told each time. */
  async #read(
    names: Iterable<string>,
    target: (name: string) => WeightTarget,
    staging: Staging,
    { signal, onProgress }: StreamingOptions<Progress>,
    read?: () => Promise<void>,
  ): Promise<void> {
    const files = [...names].flatMap((name) => this.#parts.fileNamesOf(name));
    const placeOf = (file: string) => {
      const part = this.#parts.of(file);
      return { part, target: target(part.weight), stored: this.entries.get(part.weight)!.dtype };
    };
    const memoryFor = (file: string, byteLength: number): Uint8Array => {
      const { part, target: to, stored } = placeOf(file);
      return (stored === to.dtype ? directly(to, part, byteLength) : undefined) ?? staging.take(byteLength);
    };
    const options = { memoryFor, ...(signal ? { signal } : {}), ...(onProgress ? { onProgress } : {}) };
    for await (const { name, tensor } of this.#source.stream(files, options)) {
      const { part, target: to } = placeOf(name);
      await upload(to, tensor, part, signal);
      await read?.();
    }
  }

  /** Reads weights to a device that waits for each. */
  async #readAll(
    device: Device,
    names: Iterable<string>,
    target: (name: string) => WeightTarget,
    options: StreamingOptions<Progress>,
  ): Promise<void> {
    const { signal } = options;
    await device.sync(signal); // else recorded work might still use the bytes
    await this.#read(names, target, new Staging(), options, () => device.tick(signal));
    await device.sync(signal);
  }

  #fromFiles(params: Params): Fetch {
    const staging = new Staging();
    const target = (name: string) => params.get(name);
    return async (names, signal) => {
      const options = { signal };
      const [alone, shared] = [names.filter((name) => this.#isDirect(name, target(name))), new Set(names)];
      for (const name of alone) shared.delete(name);
      // What needs no memory in between is read at once: each read waits for a turn of a thread that computes.
      const reads = await Promise.allSettled([
        ...alone.map((name) => this.#read([name], target, staging, options)),
        ...(shared.size > 0 ? [this.#read(shared, target, staging, options)] : []),
      ]);
      for (const read of reads) if (read.status === 'rejected') throw read.reason as Error;
    };
  }

  /** Whether all of a weight is read to where it will lie. */
  #isDirect(name: string, target: WeightTarget): boolean {
    if (this.entries.get(name)!.dtype !== target.dtype) return false;
    const parts = this.#parts.fileNamesOf(name).map((file) => this.#parts.of(file));
    return parts.every((part) => directly(target, part, 0) !== undefined);
  }

  /** Weights that take their room on a device, without values; those that are brought later take none. */
  #params(device: Device, streamed: ReadonlySet<string> = new Set(), rows: LoadOptions['rows'] = 'files'): Params {
    const create = (name: string, { shape }: ParamSpec): Tensor =>
      streamed.has(name)
        ? device.absent(shape, this.dtypeOf(name))
        : device.empty(shape, this.dtypeOf(name), { weight: true, name });
    const read: RowReader = (name, numbers) => this.#rows(device, name, numbers);
    return Params.create(device, create, rows === 'files' ? { rows: read } : {});
  }

  /** Rows of a table, read from the files. */
  async #rows(device: Device, name: string, rows: readonly number[]): Promise<Tensor> {
    const [, width] = this.specs.get(name)!.shape as [number, number];
    const dtype = this.dtypeOf(name);
    if (device instanceof MetaDevice) return device.empty([rows.length, width], dtype);
    const [file] = this.#parts.fileNamesOf(name) as [string];
    const stored = this.entries.get(name)!.dtype as DType;
    const rowBytes = bytesOf(stored, width);
    const values = hostArray(dtype, rows.length * width);
    for (const [i, row] of rows.entries()) {
      const data = viewBytes(stored, await this.#source.readRange!(file, row * rowBytes, rowBytes));
      values.set(converted(data, stored, dtype), i * width);
    }
    return device.tensor(values as never, [rows.length, width], dtype);
  }
}

function checkEntries(
  source: string,
  entries: ReadonlyMap<string, WeightEntry>,
  specs: ParamSpecs,
  spelling: (name: string) => string,
): void {
  const faults: string[] = [];
  for (const [name, { shape, role }] of specs) {
    const entry = entries.get(name);
    if (entry === undefined) {
      const spelled = spelling(name);
      faults.push(`${name}${spelled === name ? '' : ` (${spelled})`} is missing`);
    } else if (!sameShape(entry.shape, shape)) {
      faults.push(`${name} must be [${shape.join(',')}], got [${entry.shape.join(',')}]`);
    } else if (!weightDTypes.some((dtype) => dtype === entry.dtype)) {
      faults.push(`${name} must be one of ${weightDTypes.join(', ')}, got ${entry.dtype}`);
    } else if (role === 'quantized' && entry.dtype !== 'f8e4m3fn') {
      faults.push(`${name} must be f8e4m3fn, got ${entry.dtype}`);
    }
  }
  for (const name of entries.keys()) if (!specs.has(name)) faults.push(`${name} is not a weight of this model`);
  if (faults.length === 0) return;
  const more = faults.length > 8 ? `; and ${faults.length - 8} more` : '';
  throw new Magi1Error(`${source} does not fit its config: ${faults.slice(0, 8).join('; ')}${more}`);
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

  find(fileName: string): WeightPart | undefined {
    return this.#files.get(fileName);
  }

  of(fileName: string): WeightPart {
    return this.#files.get(fileName)!;
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
