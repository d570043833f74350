// The LoRAs of a pipeline: which are loaded, with which weight, and which are fused. What is decided here takes effect on
// a network when it is next attached, so that it survives the network being freed and loaded again.
import { Magi1Error, describeValue, isBlocks, isOptions } from '@magi1/tensor';
import type { DType, Device } from '@magi1/tensor';
import type { Layout } from '../layouts/index.ts';
import { Linear } from '../nn/index.ts';
import type { LowRankUpdate, Params, ParamSpecs } from '../nn/index.ts';
import { fuseLayer } from './fuse.ts';
import type { LoraFactor } from './lora-file.ts';
import type { LoraSource } from './read-lora.ts';
import type { LoraLayer } from './targets.ts';

export interface LoadLoraOptions {
  /** What to call it; `default` when left out. */
  readonly name?: string | undefined;
  /** How strongly it acts; 1 when left out, 0 for not at all. */
  readonly weight?: number | undefined;
}

/** A LoRA to load when a pipeline is opened. */
export interface LoraSpec extends LoadLoraOptions {
  /** A safetensors or torch file, a folder with one, or the bytes of a safetensors file. */
  readonly source: LoraSource;
}

export interface FuseLoraOptions {
  /** Which to fuse; all that act when left out. */
  readonly names?: readonly string[] | undefined;
  /** Multiplies their weights. */
  readonly scale?: number | undefined;
}

/** A loaded LoRA, as a user sees it. */
export interface LoraInfo {
  readonly name: string;
  /** Its file. */
  readonly source: string;
  readonly weight: number;
  readonly fused: boolean;
  /** Changes of linear layers that it holds. */
  readonly layers: number;
  /** Largest rank among them. */
  readonly rank: number;
  /** How it was read: where its strengths come from, and what may differ from its training. */
  readonly notes: readonly string[];
}

export interface Lora {
  readonly source: string;
  readonly layers: readonly LoraLayer[];
  readonly notes: readonly string[];
  weight: number;
  /** The strength it was fused with. */
  fused: number | undefined;
}

/** A loaded network, of any kind. */
interface Network {
  readonly params: Params;
}

/** What was done to one loaded network. */
interface Attached {
  /** Strengths of the LoRAs in its weights, and the layers that were changed for them. */
  fused: ReadonlyMap<Lora, number> | undefined;
  readonly changed: Set<string>;
  /** Factors on the device. */
  factors: ReadonlyMap<LoraLayer, Pick<LowRankUpdate, 'a' | 'b'>>;
}

/** What a user should know of how LoRAs were read. */
export const loraNotes = (loras: readonly LoraInfo[]): string[] =>
  loras.flatMap(({ name, notes }) => notes.map((note) => `LoRA ${name}: ${note}`));

/** What was decided when a run began: later changes do not touch it. */
export interface LoraChoice {
  readonly loras: readonly LoraInfo[];
  /** Bytes on the device of those that act without being fused. */
  readonly deviceBytes: number;
  /** By layer, the largest rank of those. */
  readonly ranks: ReadonlyMap<string, number>;
  readonly fused: ReadonlyMap<Lora, number>;
  readonly acting: ReadonlyMap<Lora, number>;
}

export interface AttachOptions {
  readonly signal?: AbortSignal | undefined;
}

export class LoraSet {
  readonly #specs: ParamSpecs;
  readonly #layouts: readonly Layout[];
  readonly #dtypeOf: ((weight: string) => DType) | undefined;
  readonly #loras = new Map<string, Lora>();
  readonly #attached = new WeakMap<Network, Attached>();

  /**
   * @param specs what the network declares
   * @param layouts in which files may name its layers
   * @param dtypeOf in which type the network holds a weight: what is quantised cannot be fused into
   */
  constructor(specs: ParamSpecs, layouts: readonly Layout[], dtypeOf?: (weight: string) => DType) {
    this.#specs = specs;
    this.#layouts = layouts;
    this.#dtypeOf = dtypeOf;
  }

  list(): LoraInfo[] {
    return [...this.#loras].map(([name, { source, layers, notes, weight, fused }]) => ({
      name,
      source,
      weight,
      fused: fused !== undefined,
      layers: layers.length,
      rank: layers.reduce((largest, { a }) => Math.max(largest, a.rows), 0),
      notes,
    }));
  }

  /**
   * What is decided now.
   * @param scale multiplies the weights of all LoRAs that are not fused
   */
  choose(scale = 1): LoraChoice {
    const fused = new Map<Lora, number>();
    const acting = new Map<Lora, number>();
    for (const [name, lora] of this.#loras) {
      if (lora.fused !== undefined) {
        fused.set(lora, lora.fused);
        continue;
      }
      const strength = lora.weight * scale;
      checkNumber(`LoRA ${name}: its weight ${lora.weight} times the scale ${scale}`, Math.fround(strength));
      checkStrength(`LoRA ${name}`, lora.layers, strength);
      if (strength !== 0) acting.set(lora, strength);
    }
    let values = 0;
    const ranks = new Map<string, number>();
    for (const { layer, a, b } of [...acting.keys()].flatMap(({ layers }) => layers)) {
      values += a.data.length + b.data.length;
      ranks.set(layer, Math.max(ranks.get(layer) ?? 0, a.rows));
    }
    return { loras: this.list(), deviceBytes: Float32Array.BYTES_PER_ELEMENT * values, ranks, fused, acting };
  }

  /**
   * Reads a LoRA: a safetensors or torch file, a folder with one, or the bytes of a safetensors file.
   * @throws Magi1Error naming modules that are not linear layers of the model, and factors of the wrong width
   */
  async load(source: LoraSource, options: LoadLoraOptions = {}): Promise<LoraInfo> {
    checkOptions('loadLora', options);
    const { name = 'default', weight = 1 } = options;
    if (typeof name !== 'string' || name === '')
      throw new Magi1Error('loadLora: name must be a text that is not empty');
    checkNumber('loadLora: weight', weight);
    this.#checkFree(name);
    // Most runs have none: what reads them is imported here.
    const [{ readLora }, { parseLora }, { resolveLora }] = await Promise.all([
      import('./read-lora.ts'),
      import('./lora-file.ts'),
      import('./targets.ts'),
    ]);
    const file = await readLora(source);
    const { modules, notes } = parseLora(file);
    const layers = resolveLora(file.name, modules, this.#specs, this.#layouts);
    checkStrength(`loadLora: LoRA ${name}`, layers, weight);
    this.#checkFree(name); // another may have come in the meantime
    this.#loras.set(name, { source: file.name, layers, notes, weight, fused: undefined });
    return this.list().find((lora) => lora.name === name)!;
  }

  /** Which LoRAs act from now on, and how strongly; those not named do not act. */
  set(weights: Readonly<Record<string, number>>): void {
    if (!isOptions(weights))
      throw new Magi1Error(`setLoras: an object of names to weights expected, got ${describeValue(weights)}`);
    for (const [name, weight] of Object.entries(weights)) {
      if (this.#get(name).fused !== undefined)
        throw new Magi1Error(`setLoras: LoRA ${name} is fused into the weights; call unfuseLora first`);
      checkNumber(`setLoras: weight of ${name}`, weight);
      checkStrength(`setLoras: LoRA ${name}`, this.#get(name).layers, weight);
    }
    for (const [name, lora] of this.#loras)
      if (lora.fused === undefined) lora.weight = Object.hasOwn(weights, name) ? weights[name]! : 0;
  }

  /** Forgets one LoRA, or all. */
  unload(name?: string): void {
    const names = name === undefined ? [...this.#loras.keys()] : [name];
    const fused = names.find((each) => this.#get(each).fused !== undefined);
    if (fused !== undefined)
      throw new Magi1Error(`unloadLora: LoRA ${fused} is fused into the weights; call unfuseLora first`);
    for (const each of names) this.#loras.delete(each);
  }

  /** Puts LoRAs into the weights themselves: runs cost nothing more then, and their strength is fixed. */
  fuse(options: FuseLoraOptions = {}): void {
    checkOptions('fuseLora', options);
    const { names, scale = 1 } = options;
    if (names !== undefined && !(names instanceof Array))
      throw new Magi1Error(`fuseLora: names: a list expected, got ${describeValue(names)}`);
    checkNumber('fuseLora: scale', scale);
    const already = [...this.#loras].find(([, { fused }]) => fused !== undefined);
    if (already !== undefined) throw new Magi1Error(`fuseLora: LoRA ${already[0]} is fused; call unfuseLora first`);
    const chosen =
      names?.map((name) => this.#get(name)) ?? [...this.#loras.values()].filter(({ weight }) => weight !== 0);
    if (chosen.length === 0) throw new Magi1Error('fuseLora: no LoRA is loaded that acts');
    for (const { layer } of chosen.flatMap(({ layers }) => layers)) {
      const weight = `${layer}.weight`;
      const dtype = this.#specs.get(weight)!.role === 'quantized' ? 'f8e4m3fn' : this.#dtypeOf?.(weight);
      if (dtype === 'f8e4m3fn' || (dtype !== undefined && isBlocks(dtype)))
        throw new Magi1Error(
          `fuseLora: ${layer} is quantised to ${dtype} and would lose the change; use the LoRA without fusing it`,
        );
    }
    for (const lora of chosen) checkStrength(`fuseLora: LoRA ${lora.source}`, lora.layers, lora.weight * scale);
    for (const lora of chosen) lora.fused = lora.weight * scale;
  }

  /** Takes the fused LoRAs out of the weights again: the very bits of the checkpoint come back. */
  unfuse(): void {
    const fused = [...this.#loras.values()].filter((lora) => lora.fused !== undefined);
    if (fused.length === 0) throw new Magi1Error('unfuseLora: no LoRA is fused');
    for (const lora of fused) lora.fused = undefined;
  }

  /**
   * Applies what was chosen, or is decided now, to a loaded network; does nothing where it is applied already.
   * @param restore reads weights, by name, from the checkpoint again
   */
  async attach(
    network: Network,
    restore: (params: Params, names: readonly string[]) => Promise<void>,
    { fused, acting }: LoraChoice = this.choose(),
    { signal }: AttachOptions = {},
  ): Promise<void> {
    const state = this.#attached.get(network) ?? { fused: new Map(), changed: new Set(), factors: new Map() };
    this.#attached.set(network, state);
    await this.#fuseInto(network.params, state, fused, restore, signal);
    this.#switchOn(network.params, state, acting);
  }

  async #fuseInto(
    params: Params,
    state: Attached,
    fused: ReadonlyMap<Lora, number>,
    restore: (params: Params, names: readonly string[]) => Promise<void>,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const { fused: done } = state;
    if (done?.size === fused.size && [...fused].every(([lora, strength]) => done.get(lora) === strength)) return;
    state.fused = undefined; // unknown until all is done: whatever goes wrong, the next attempt starts from the files
    if (state.changed.size > 0) {
      const names: string[] = [];
      for (const name of [...state.changed].map((layer) => `${layer}.weight`))
        if ((await params.stream?.change(name, undefined)) !== true) names.push(name);
      if (names.length > 0) await restore(params, names);
      state.changed.clear();
    }
    for (const [layer, changes] of byLayer(fused)) {
      state.changed.add(layer);
      const fuseNow = async (during: AbortSignal | undefined) => {
        const updates = changes.map(({ layer: change, scale }) => ({ ...upload(params.device, change), scale }));
        try {
          await fuseLayer(params.modules.get(layer) as Linear, updates, during);
        } finally {
          for (const { a, b } of updates) for (const tensor of [a, b]) tensor.dispose();
        }
      };
      // A weight that is brought anew for every pass is changed each time.
      if ((await params.stream?.change(`${layer}.weight`, fuseNow)) !== true) await fuseNow(signal);
    }
    state.fused = fused;
  }

  #switchOn({ device, modules }: Params, state: Attached, acting: ReadonlyMap<Lora, number>): void {
    const factors = new Map<LoraLayer, Pick<LowRankUpdate, 'a' | 'b'>>();
    const updates = new Map<string, LowRankUpdate[]>();
    try {
      for (const [layer, changes] of byLayer(acting)) {
        const list = changes.map(({ layer: change, scale: strength }) => {
          const pair = state.factors.get(change) ?? upload(device, change);
          factors.set(change, pair);
          return { ...pair, scale: strength };
        });
        updates.set(layer, list);
      }
    } catch (error) {
      for (const [change, { a, b }] of factors)
        if (!state.factors.has(change)) for (const tensor of [a, b]) tensor.dispose();
      throw error;
    }
    for (const [path, module] of modules) if (module instanceof Linear) module.setUpdates(updates.get(path) ?? []);
    state.factors = factors;
  }

  #get(name: string): Lora {
    if (typeof name !== 'string') throw new Magi1Error(`the name of a LoRA expected, got ${describeValue(name)}`);
    const lora = this.#loras.get(name);
    if (lora === undefined) {
      const names = [...this.#loras.keys()].join(', ');
      throw new Magi1Error(`no LoRA is called ${describeValue(name)}; loaded: ${names === '' ? 'none' : names}`);
    }
    return lora;
  }

  #checkFree(name: string): void {
    if (this.#loras.has(name))
      throw new Magi1Error(`loadLora: a LoRA called ${name} is loaded; give another name, or unload it first`);
  }
}

interface Change {
  readonly layer: LoraLayer;
  readonly scale: number;
}

/** Every change that LoRAs of these strengths make, by the layer that it is made to. */
function byLayer(strengths: ReadonlyMap<Lora, number>): Map<string, Change[]> {
  const out = new Map<string, Change[]>();
  for (const [{ layers }, strength] of strengths) {
    for (const layer of layers) {
      const changes = out.get(layer.layer) ?? [];
      changes.push({ layer, scale: strength * layer.scale });
      out.set(layer.layer, changes);
    }
  }
  return out;
}

function upload(device: Device, { a, b }: LoraLayer): Pick<LowRankUpdate, 'a' | 'b'> {
  const tensor = ({ data, rows, columns }: LoraFactor) => device.tensor(data, [rows, columns], 'f32', { weight: true });
  const first = tensor(a);
  try {
    return { a: first, b: tensor(b) };
  } catch (error) {
    first.dispose();
    throw error;
  }
}

/** Weights and alphas that are finite each may not be so together. */
function checkStrength(what: string, layers: readonly LoraLayer[], weight: number): void {
  const wrong = layers.find(({ scale }) => !Number.isFinite(Math.fround(scale * weight)));
  if (wrong !== undefined)
    throw new Magi1Error(`${what}: weight ${weight} times ${wrong.scale} of ${wrong.layer} is beyond 32 bits`);
}

function checkOptions(what: string, options: unknown): void {
  if (!isOptions(options))
    throw new Magi1Error(`${what}: an object of options expected, got ${describeValue(options)}`);
}

function checkNumber(what: string, value: unknown): void {
  if (typeof value !== 'number' || !Number.isFinite(value))
    throw new Magi1Error(`${what} must be a finite number, got ${describeValue(value)}`);
}
