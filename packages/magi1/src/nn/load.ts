// From a checkpoint to weights on a device: the table of contents is compared with what a network declares before anything
// is read, then tensors are streamed one at a time.
import {
  FileFormatError,
  Magi1Error,
  asBytes,
  byteLengthOf,
  bytesOf,
  elementsIn,
  floatDTypes,
  fromFloat32,
  hasWholeGroups,
  isBlocks,
  isWeight,
  sameShape,
  toFloat32,
  weightDTypes,
} from '@magi1/tensor';
import type { DType, Device, HostArray, HostTensor, MetaDevice, Shape, Tensor } from '@magi1/tensor';
import { Params } from './params.ts';
import type { ParamSpec, ParamSpecs } from './params.ts';

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
      readonly reuseBuffer: true;
      readonly signal?: AbortSignal;
      readonly onProgress?: (progress: Progress) => void;
    },
  ): AsyncIterable<{ readonly name: string; readonly tensor: HostTensor }>;
}

/** A tensor of a file that is one of several parts of a weight: its rows are taken in turn, `rows` at a time. */
export interface WeightPart {
  readonly weight: string;
  /** Which of the `parts`, from 0. */
  readonly part: number;
  readonly parts: number;
  /** All of a part, then all of the next, when left out. */
  readonly rows?: number | undefined;
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
  }

  /** Bytes that the weights take on a device. */
  get deviceBytes(): number {
    let bytes = 0;
    for (const [name, { shape }] of this.specs) bytes += byteLengthOf({ shape, dtype: this.dtypeOf(name) });
    return bytes;
  }

  /** The type in which a weight is held on the device. */
  dtypeOf(name: string): DType {
    return deviceDType(this.specs.get(name)!, this.entries.get(name)!.dtype as DType, this.#dtype);
  }

  /** What a tensor of the files is, or is a part of; undefined where it is left out. */
  specOf(fileName: string): ParamSpec | undefined {
    const part = this.#parts.find(fileName);
    return part && this.specs.get(part.weight);
  }

  /** Streams the weights to a device, one tensor in host memory at a time. Frees what it made when it fails. */
  async load(device: Device, options: StreamingOptions<Progress> = {}): Promise<Network> {
    const params = this.#params(device);
    try {
      const network = this.#network.build(params);
      await this.restore(params, this.specs.keys(), options);
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

  /** Overwrites the named weights of a loaded network with what the files hold. */
  async restore(
    params: Params,
    names: Iterable<string>,
    { signal, onProgress }: StreamingOptions<Progress> = {},
  ): Promise<void> {
    const files = [...names].flatMap((name) => this.#parts.fileNamesOf(name));
    const options = {
      reuseBuffer: true,
      ...(signal ? { signal } : {}),
      ...(onProgress ? { onProgress } : {}),
    } as const;
    for await (const { name, tensor } of this.#source.stream(files, options)) {
      const part = this.#parts.of(name);
      await upload(params.get(part.weight), tensor, part, signal);
      await params.device.tick(signal);
    }
    await params.device.sync(signal);
  }

  /** Weights that take their room on a device, without values. */
  #params(device: Device): Params {
    return Params.create(device, (name, { shape }) => device.empty(shape, this.dtypeOf(name), { weight: true, name }));
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
    } else if (!dtypesOf(role).some((dtype) => dtype === entry.dtype)) {
      faults.push(`${name} must be one of ${dtypesOf(role).join(', ')}, got ${entry.dtype}`);
    } else if (role === 'quantized' && entry.dtype !== 'f8e4m3fn') {
      faults.push(`${name} must be f8e4m3fn, got ${entry.dtype}`);
    }
  }
  for (const name of entries.keys()) if (!specs.has(name)) faults.push(`${name} is not a weight of this model`);
  if (faults.length === 0) return;
  const more = faults.length > 8 ? `; and ${faults.length - 8} more` : '';
  throw new Magi1Error(`${source} does not fit its config: ${faults.slice(0, 8).join('; ')}${more}`);
}

/** What a file may hold a weight in. */
const dtypesOf = (role: ParamSpec['role']): readonly DType[] => (role === 'vector' ? floatDTypes : weightDTypes);

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

const UPLOAD_PIECE = 1 << 22; // elements converted at a time, so that a conversion never doubles a large tensor

/** Writes a tensor, or one part of it, over the rows of `target` that it stands for. */
async function upload(
  target: Tensor,
  { dtype, shape, data }: HostTensor,
  { part, parts, rows }: WeightPart,
  signal: AbortSignal | undefined,
): Promise<void> {
  if (dtype !== target.dtype && !isWeight(dtype))
    throw new Magi1Error(`a weight of type ${dtype} cannot become ${target.dtype}`);
  const count = elementsIn(dtype, data);
  const place = (at: number) => (isBlocks(dtype) ? bytesOf(dtype, at) : at);
  const turn = parts === 1 || rows === undefined ? count : rows * (count / shape[0]!);
  const step = dtype === target.dtype ? turn : Math.min(turn, UPLOAD_PIECE);
  for (let at = 0, end = 0; at < count; at = end) {
    // A piece lies in one turn: what follows in the file lies elsewhere in the weight.
    const turns = Math.floor(at / turn);
    end = Math.min(at + step, (turns + 1) * turn);
    const piece: HostArray = data.subarray(place(at), place(end));
    const bytes = asBytes(dtype === target.dtype ? piece : fromFloat32(target.dtype, toFloat32(dtype, piece)));
    target.writeBytes(bytes, bytesOf(target.dtype, at + (turns * (parts - 1) + part) * turn));
    // Quantising takes long enough to be interrupted.
    if (isBlocks(target.dtype) && dtype !== target.dtype) await target.device.tick(signal);
  }
}
