// Weights by name: what a model expects (specs), what it gets (tensors on a device), and the checks in between.
import { Magi1Error, describeSpec, isFloat, sameShape } from '@magi1/tensor';
import type { Device, DType, Shape, Tensor } from '@magi1/tensor';

/**
 * What a model expects under one name. Matrices may stay in the checkpoint's narrow type, quantized ones must be f8e4m3fn
 * and stay so, vectors become f32.
 */
export interface WeightSpec {
  readonly shape: Shape;
  readonly role: 'matrix' | 'quantized' | 'vector';
}
export type WeightSpecs = ReadonlyMap<string, WeightSpec>;

/** What a checkpoint says it holds. */
export interface WeightEntry {
  readonly shape: Shape;
  readonly dtype: string;
}

const WEIGHT_DTYPES: readonly string[] = ['f32', 'f16', 'bf16', 'f8e4m3fn'] satisfies readonly DType[];

/**
 * Compares a checkpoint's entries with a model's specs before anything is read. Throws one error that names every
 * missing name, wrong shape or dtype, and left-over name.
 * @param spelling what the files call a weight, where that differs
 */
export function checkWeights(
  source: string,
  entries: ReadonlyMap<string, WeightEntry>,
  specs: WeightSpecs,
  spelling: (name: string) => string = (name) => name,
): void {
  const faults: string[] = [];
  for (const [name, spec] of specs) {
    const entry = entries.get(name);
    if (entry === undefined) {
      const spelled = spelling(name);
      faults.push(`${name}${spelled === name ? '' : ` (${spelled})`} is missing`);
    } else if (!sameShape(entry.shape, spec.shape)) {
      faults.push(`${name} must be [${spec.shape.join(',')}], got [${entry.shape.join(',')}]`);
    } else if (!WEIGHT_DTYPES.includes(entry.dtype)) {
      faults.push(`${name} must be one of ${WEIGHT_DTYPES.join(', ')}, got ${entry.dtype}`);
    } else if (spec.role === 'quantized' && entry.dtype !== 'f8e4m3fn') {
      faults.push(`${name} must be f8e4m3fn, got ${entry.dtype}`);
    }
  }
  for (const name of entries.keys()) if (!specs.has(name)) faults.push(`${name} is not a weight of this model`);
  if (faults.length > 0) {
    const shown = faults.slice(0, 8).join('; ');
    const more = faults.length > 8 ? `; and ${faults.length - 8} more` : '';
    throw new Magi1Error(`${source} does not fit its config: ${shown}${more}`);
  }
}

/** The dtype a weight takes on the device: vectors f32, matrices `wanted` or as stored. */
export function deviceDType(spec: WeightSpec, stored: DType, wanted: DType | undefined): DType {
  if (spec.role === 'vector') return 'f32';
  // fp8 matrices carry scales of their own: they are never converted.
  return stored === 'f8e4m3fn' ? stored : (wanted ?? stored);
}

/** Bytes that a model's weights take on the device. */
export function weightBytes(specs: WeightSpecs, entries: ReadonlyMap<string, WeightEntry>, wanted?: DType): number {
  let bytes = 0;
  for (const [name, spec] of specs) {
    const stored = (entries.get(name)?.dtype ?? 'f32') as DType;
    const dtype = deviceDType(spec, stored, wanted);
    bytes += spec.shape.reduce((n, dim) => n * dim, 1) * (dtype === 'f32' ? 4 : dtype === 'f8e4m3fn' ? 1 : 2);
  }
  return bytes;
}

/** A change of a linear layer: y += scale b (a x). */
export interface LowRankUpdate {
  readonly a: Tensor; // f32 [rank, in]
  readonly b: Tensor; // f32 [out, rank]
  readonly scale: number;
}

/** Tensors by checkpoint name, with views on sub-trees: `weights.at('encoder.blocks.0').get('norm2.weight')`. */
export class Weights {
  readonly #tensors: ReadonlyMap<string, Tensor>;
  readonly #prefix: string;
  /** By linear layer; shared with every view. */
  readonly #updates: Map<string, readonly LowRankUpdate[]>;

  constructor(
    tensors: ReadonlyMap<string, Tensor>,
    prefix = '',
    updates: Map<string, readonly LowRankUpdate[]> = new Map(),
  ) {
    this.#tensors = tensors;
    this.#prefix = prefix;
    this.#updates = updates;
  }

  at(path: string): Weights {
    return new Weights(this.#tensors, `${this.#prefix}${path}.`, this.#updates);
  }

  get device(): Device {
    for (const { device } of this.#tensors.values()) return device;
    throw new Magi1Error('a model without weights is on no device');
  }

  /** Changes of the linear layer that this view points at. */
  updates(): readonly LowRankUpdate[] {
    return this.#updates.get(this.#prefix.slice(0, -1)) ?? [];
  }

  /** Replaces the changes of all linear layers, by full name. They are owned from here on; those replaced are freed. */
  setUpdates(updates: ReadonlyMap<string, readonly LowRankUpdate[]>): void {
    const kept = new Set([...updates.values()].flat().flatMap(({ a, b }) => [a, b]));
    for (const { a, b } of [...this.#updates.values()].flat())
      for (const tensor of [a, b]) if (!kept.has(tensor)) tensor.dispose();
    this.#updates.clear();
    for (const [name, list] of updates) this.#updates.set(name, list);
  }

  has(name: string): boolean {
    return this.#tensors.has(this.#prefix + name);
  }

  get(name: string): Tensor {
    const tensor = this.#tensors.get(this.#prefix + name);
    if (tensor === undefined) throw new Magi1Error(`weight ${this.#prefix}${name} is missing`);
    if (!isFloat(tensor.dtype)) throw new Magi1Error(`weight ${this.#prefix}${name} is ${describeSpec(tensor)}`);
    return tensor;
  }

  /** The tensor, or undefined where the model's config leaves it out. */
  find(name: string): Tensor | undefined {
    return this.has(name) ? this.get(name) : undefined;
  }

  /** Frees every tensor, whatever this view's prefix. */
  dispose(): void {
    this.setUpdates(new Map());
    for (const tensor of this.#tensors.values()) tensor.dispose();
  }
}

/** Collects specs under a common prefix. */
export class SpecBuilder {
  readonly specs = new Map<string, WeightSpec>();

  matrix(name: string, ...shape: number[]): void {
    this.specs.set(name, { shape, role: 'matrix' });
  }
  quantized(name: string, ...shape: number[]): void {
    this.specs.set(name, { shape, role: 'quantized' });
  }
  vector(name: string, ...shape: number[]): void {
    this.specs.set(name, { shape, role: 'vector' });
  }
  /** `<name>.weight` and, unless told otherwise, `<name>.bias` of a Linear from `input` to `output` features. */
  linear(name: string, output: number, input: number, bias = true): void {
    this.matrix(`${name}.weight`, output, input);
    if (bias) this.vector(`${name}.bias`, output);
  }
  /** Weight and bias of a LayerNorm. */
  norm(name: string, width: number): void {
    this.vector(`${name}.weight`, width);
    this.vector(`${name}.bias`, width);
  }
}
