// Weights by checkpoint path. A network's constructor declares each where it uses it, and gets a tensor; where that comes
// from makes the same constructor give a table of weights, a model on the meta device, or a loaded model.
import { Magi1Error, MetaDevice, describeSpec, isFloat, isWeight, sameShape } from '@magi1/tensor';
import type { DType, Device, Shape, Tensor } from '@magi1/tensor';

/**
 * What a network expects under one name. `matrix`: the weight of a linear layer; `table`: rows that are looked up; both stay
 * in the checkpoint's type or take a narrower one. `quantized`: the f8e4m3fn weight of a linear layer, which stays so.
 * `vector`: everything else, f32 on the device.
 */
export interface ParamSpec {
  readonly shape: Shape;
  /** Of a matrix: it stays in 16 bit where others are quantised to q8 or q4. */
  readonly precise?: boolean;
  readonly role: 'matrix' | 'table' | 'quantized' | 'vector';
}
export type ParamSpecs = ReadonlyMap<string, ParamSpec>;

/** What all views of one network's weights share. */
interface Root {
  readonly device: Device;
  readonly tensors: Map<string, Tensor>;
  /** Makes a weight that is not among the tensors. */
  readonly create: (name: string, spec: ParamSpec) => Tensor;
  readonly specs: Map<string, ParamSpec>;
  readonly modules: Map<string, Module>;
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
  static create(device: Device, create: (name: string, spec: ParamSpec) => Tensor): Params {
    return new Params({ device, tensors: new Map(), create, specs: new Map(), modules: new Map() }, '');
  }

  /** Weights without values, which take their room on a meta device; `dtypeOf` says in which type each is held. */
  static meta(device: MetaDevice, dtypeOf: (name: string, spec: ParamSpec) => DType): Params {
    return Params.create(device, (name, spec) => device.empty(spec.shape, dtypeOf(name, spec), { weight: true, name }));
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

  /** Frees every weight of the network, and what its modules hold beside. */
  dispose(): void {
    for (const module of this.#root.modules.values()) module.free();
    for (const tensor of this.#root.tensors.values()) tensor.dispose();
  }

  #take(name: string, spec: ParamSpec): Tensor {
    const path = this.#join(name);
    const { tensors, create, specs } = this.#root;
    if (specs.has(path)) throw new Magi1Error(`weight ${path} is declared twice`);
    specs.set(path, spec);
    const tensor = tensors.get(path) ?? create(path, spec);
    tensors.set(path, tensor);
    const fits = spec.role === 'matrix' ? isWeight : isFloat;
    if (!fits(tensor.dtype) || !sameShape(tensor.shape, spec.shape))
      throw new Magi1Error(`weight ${path} must be [${spec.shape.join(',')}], got ${describeSpec(tensor)}`);
    return tensor;
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
