// Weights by checkpoint path. A network's constructor declares each where it uses it, and gets a tensor; where that comes
// from makes the same constructor give a table of weights, a model on the meta device, or a loaded model.
import { Magi1Error, MetaDevice, describeSpec, isFloat, isWeight, sameShape } from '@magi1/tensor';
import type { DType, Device, Shape, Tensor } from '@magi1/tensor';
import type { BlockPass, BlockStream } from './block-stream.ts';
import { StoredRows } from './stored-rows.ts';

/**
 * What a network expects under one name. `matrix`: the weight of a linear layer; `table`: rows that are looked up; both stay
 * in the checkpoint's type or take a narrower one. `rows`: a table whose rows are read where it is stored, and which is not
 * on the device. `quantized`: the f8e4m3fn weight of a linear layer, which stays so.
 * `vector`: everything else, f32 on the device.
 */
export interface ParamSpec {
  readonly shape: Shape;
  /** Of a matrix: it stays in 16 bit where others are quantised to q8 or q4. */
  readonly precise?: boolean;
  readonly role: 'matrix' | 'table' | 'rows' | 'quantized' | 'vector';
}
export type ParamSpecs = ReadonlyMap<string, ParamSpec>;

/** Rows of a table, [rows.length, width], in the type that it would have on the device; whoever asks frees them. */
export type RowReader = (name: string, rows: readonly number[]) => Promise<Tensor>;

/** What all views of one network's weights share. */
interface Root {
  readonly device: Device;
  readonly tensors: Map<string, Tensor>;
  /** Makes a weight that is not among the tensors. */
  readonly create: (name: string, spec: ParamSpec) => Tensor;
  readonly specs: Map<string, ParamSpec>;
  readonly modules: Map<string, Module>;
  readonly rows: RowReader | undefined;
  stream: BlockStream | undefined;
}

export class Params {
  readonly #root: Root;
  readonly #path: string;

  private constructor(root: Root, path: string) {
    this.#root = root;
    this.#path = path;
  }

  /** What a network's constructor asks for, in its order. */
  static record(build: (p: Params) => unknown): ParamSpecs {
    const params = Params.meta(new MetaDevice({ as: 'reference' }), () => 'f32');
    build(params);
    return params.#root.specs;
  }

  /** Weights made as they are asked for, such as random ones, by full name; owned from here on. */
  static create(
    device: Device,
    create: (name: string, spec: ParamSpec) => Tensor,
    { rows }: { readonly rows?: RowReader | undefined } = {},
  ): Params {
    const root = { device, tensors: new Map(), create, specs: new Map(), modules: new Map(), rows, stream: undefined };
    return new Params(root, '');
  }

  /** Weights without values, which take their room on a meta device; `dtypeOf` says in which type each is held. */
  static meta(device: MetaDevice, dtypeOf: (name: string, spec: ParamSpec) => DType): Params {
    const params = Params.create(
      device,
      (name, spec) => device.empty(spec.shape, dtypeOf(name, spec), { weight: true, name }),
      {
        rows: (name, rows) => {
          const spec = params.#root.specs.get(name)!;
          return Promise.resolve(device.empty([rows.length, spec.shape[1]!], dtypeOf(name, spec)));
        },
      },
    );
    return params;
  }

  get device(): Device {
    return this.#root.device;
  }

  /** The part of the network below `path`. */
  at(path: string | number): Params {
    return new Params(this.#root, this.#join(String(path)));
  }

  /** @param precise not quantised to q8 or q4 */
  matrix(name: string, shape: Shape, precise = false): Tensor {
    return this.#take(name, { shape, role: 'matrix', ...(precise && { precise }) });
  }
  table(name: string, shape: Shape): Tensor {
    return this.#take(name, { shape, role: 'table' });
  }
  /** A table that is read by row where it is stored; whole and on the device where nobody reads rows. */
  rows(name: string, shape: Shape): StoredRows {
    const { device, rows } = this.#root;
    const spec = { shape, role: 'rows' } as const;
    if (rows === undefined) return new StoredRows(device, this.#take(name, spec));
    const path = this.#declare(name, spec);
    return new StoredRows(device, { shape, read: (numbers) => rows(path, numbers) });
  }
  quantized(name: string, shape: Shape): Tensor {
    return this.#take(name, { shape, role: 'quantized' });
  }
  vector(name: string, shape: Shape): Tensor {
    return this.#take(name, { shape, role: 'vector' });
  }

  /** A weight by name: loaded, or asked for by a constructor. */
  get(name: string): Tensor {
    const tensor = this.#root.tensors.get(this.#join(name));
    if (tensor === undefined) throw new Magi1Error(`${this.#join(name)} is not a weight of this model`);
    return tensor;
  }

  /** Every part of the network, by path; the network itself is ''. */
  get modules(): ReadonlyMap<string, Module> {
    return this.#root.modules;
  }

  /** For `Module` only. */
  register(module: Module): void {
    this.#root.modules.set(this.#path, module);
  }

  /** What brings the weights of blocks that are not on the device; set by whoever loads the network. */
  get stream(): BlockStream | undefined {
    return this.#root.stream;
  }
  set stream(stream: BlockStream | undefined) {
    this.#root.stream = stream;
  }

  /** A way through the blocks below this path, in order; undefined where all of them are on the device. */
  async pass(signal: AbortSignal | undefined): Promise<BlockPass | undefined> {
    return this.#root.stream?.pass(this.#path, signal);
  }

  /** Frees every weight of the network, and what its modules hold beside. */
  dispose(): void {
    const { modules, tensors, stream } = this.#root;
    for (const module of modules.values()) module.free();
    const busy = stream?.dispose();
    for (const tensor of tensors.values()) if (busy?.has(tensor) !== true) tensor.dispose();
  }

  #take(name: string, spec: ParamSpec): Tensor {
    const path = this.#declare(name, spec);
    const { tensors, create } = this.#root;
    const tensor = tensors.get(path) ?? create(path, spec);
    tensors.set(path, tensor);
    const fits = spec.role === 'matrix' ? isWeight : isFloat;
    if (!fits(tensor.dtype) || !sameShape(tensor.shape, spec.shape))
      throw new Magi1Error(`weight ${path} must be [${spec.shape.join(',')}], got ${describeSpec(tensor)}`);
    return tensor;
  }

  #declare(name: string, spec: ParamSpec): string {
    const path = this.#join(name);
    const { specs } = this.#root;
    if (specs.has(path)) throw new Magi1Error(`weight ${path} is declared twice`);
    specs.set(path, spec);
    return path;
  }

  #join(name: string): string {
    return this.#path === '' ? name : `${this.#path}.${name}`;
  }
}

/** A part of a network. Its main method is called `forward`; its fields are named as in the checkpoint. */
export abstract class Module {
  constructor(p: Params) {
    p.register(this);
  }

  /** Frees what it holds beside its weights; called when the network is disposed. */
  free(): void {
    // Most hold nothing.
  }
}

/** Values of a weight that the host works with, such as the frequencies of rope: read once. On the meta device, zeros. */
export class HostValues {
  readonly #tensor: Tensor;
  #values: Promise<Float32Array> | undefined;

  constructor(tensor: Tensor) {
    this.#tensor = tensor;
  }

  read(): Promise<Float32Array> {
    const { device, size } = this.#tensor;
    return (this.#values ??=
      device instanceof MetaDevice ? Promise.resolve(new Float32Array(size)) : this.#tensor.toFloat32());
  }
}
