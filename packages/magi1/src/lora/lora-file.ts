// What a LoRA file says: for every module it names, the two factors and alpha. Names are the file's own.
import { FileFormatError, isFloat, toFloat32 } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import type { LoraSource } from '../checkpoint.ts';

/** One of the two factors, with the axes behind the second folded into it. */
export interface LoraFactor {
  readonly rows: number;
  readonly columns: number;
  readonly data: Float32Array;
}

export interface LoraModule {
  /** The module, as the file names it. */
  readonly name: string;
  readonly a: LoraFactor; // [rank, in]
  readonly b: LoraFactor; // [out, rank]
  /** What B A is multiplied by: alpha / rank. */
  readonly scale: number;
}

const KINDS: Readonly<Record<string, 'a' | 'b'>> = {
  lora_A: 'a',
  lora_B: 'b',
  lora_down: 'a',
  lora_up: 'b',
  'lora.down': 'a',
  'lora.up': 'b',
};
/** Module, factor, and perhaps the name that the training gave the adapter. */
const FACTOR = /^(.+)\.(lora_A|lora_B|lora_down|lora_up|lora\.down|lora\.up)(?:\.[\w-]+)??(?:\.weight)?$/;
const ALPHA = /^(.+)\.alpha$/;

interface Found {
  a?: LoraFactor;
  b?: LoraFactor;
  alpha?: number;
}

/** @throws FileFormatError naming the tensors that are no LoRA's, lone factors and factors of different rank */
export function parseLora({ name: source, tensors, settings }: LoraSource): LoraModule[] {
  const found = new Map<string, Found>();
  const faults: string[] = [];
  const module = (name: string): Found => {
    const known = found.get(name) ?? {};
    found.set(name, known);
    return known;
  };
  for (const [name, tensor] of tensors) {
    const factor = FACTOR.exec(name);
    const alpha = ALPHA.exec(name);
    if (!isFloat(tensor.dtype) && alpha === null) {
      faults.push(`${name} is ${tensor.dtype}, a float type expected`);
    } else if (factor !== null && tensor.shape.length >= 2) {
      module(factor[1]!)[KINDS[factor[2]!]!] = fold(tensor);
    } else if (alpha !== null && tensor.data.length === 1) {
      module(alpha[1]!).alpha = isFloat(tensor.dtype) ? toFloat32(tensor.dtype, tensor.data)[0]! : tensor.data[0]!;
    } else {
      faults.push(`${name} [${tensor.shape.join(',')}] is no factor of a LoRA`);
    }
  }
  const alphas = new AlphaSettings(settings);
  const modules: LoraModule[] = [];
  for (const [name, { a, b, alpha }] of found) {
    if (a === undefined || b === undefined) {
      faults.push(`${name} has ${a ? 'only lora_A' : b ? 'only lora_B' : 'only alpha'}`);
    } else if (a.rows !== b.columns) {
      faults.push(`${name}: lora_A is of rank ${a.rows}, lora_B of rank ${b.columns}`);
    } else {
      modules.push({ name, a, b, scale: alphas.scale(name, b.columns, alpha) });
    }
  }
  if (faults.length === 0 && modules.length === 0) faults.push('no LoRA in it (lora_A.weight and lora_B.weight)');
  if (faults.length > 0) {
    const more = faults.length > 8 ? `; and ${faults.length - 8} more` : '';
    throw new FileFormatError(`LoRA ${source}: ${faults.slice(0, 8).join('; ')}${more}`);
  }
  return modules;
}

function fold({ dtype, shape, data }: HostTensor): LoraFactor {
  const rows = shape[0]!;
  return { rows, columns: rows === 0 ? 0 : data.length / rows, data: Float32Array.from(toFloat32(dtype, data)) };
}

/** alpha as files say it outside the tensors: PEFT's settings, beside the file or in its metadata, or a trainer's. */
class AlphaSettings {
  readonly #settings: Readonly<Record<string, unknown>>;

  constructor(settings: Readonly<Record<string, unknown>>) {
    this.#settings = settings;
  }

  /** alpha / rank (its root where the adapter was trained so); alpha is the rank where nothing is said. */
  scale(module: string, rank: number, own: number | undefined): number {
    const alpha =
      own ?? this.#pattern(module) ?? this.#number('lora_alpha') ?? this.#number('ss_network_alpha') ?? rank;
    return this.#setting('use_rslora') === true ? alpha / Math.sqrt(rank) : alpha / rank;
  }

  /** Settings may carry the name of the network they are for. */
  #setting(name: string): unknown {
    return this.#settings[name] ?? this.#settings[`transformer.${name}`];
  }

  #number(name: string): number | undefined {
    const value = Number(this.#setting(name) ?? Number.NaN);
    return Number.isFinite(value) ? value : undefined;
  }

  #pattern(module: string): number | undefined {
    const patterns = (this.#setting('alpha_pattern') ?? {}) as Readonly<Record<string, unknown>>;
    const key = Object.keys(patterns).find((name) => module === name || module.endsWith(`.${name}`));
    return key === undefined ? undefined : (patterns[key] as number);
  }
}
