// What a LoRA file says: for every module it names, the two factors and alpha. Names are the file's own.
import { FileFormatError, isFloat, toFloat32 } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';

import { AdapterSettings } from './adapter-settings.ts';
import type { LoraFile } from './read-lora.ts';

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

export interface ParsedLora {
  readonly modules: readonly LoraModule[];
  /** What a user should know of how it was read. */
  readonly notes: readonly string[];
}

/**
 * @throws FileFormatError naming tensors that do not belong to a LoRA, lone factors, factors of different rank, values that are
 * not finite, and settings that are malformed or ask for more than the factors
 */
export function parseLora({ name: source, tensors, settings, settingsFrom }: LoraFile): ParsedLora {
  const found = new Map<string, Found>();
  const faults: string[] = [];
  const module = (name: string): Found => {
    const known = found.get(name) ?? {};
    found.set(name, known);
    return known;
  };
  const adapter = new AdapterSettings(settings, settingsFrom ?? `LoRA ${source}: metadata`);
  for (const [name, tensor] of tensors) {
    const factor = FACTOR.exec(name);
    const alpha = ALPHA.exec(name);
    if (!isFloat(tensor.dtype) && alpha === null) {
      faults.push(`${name} is ${tensor.dtype}, a float type expected`);
    } else if (factor !== null && tensor.shape.length >= 2) {
      const folded = fold(tensor);
      const wrong = folded.data.findIndex((value) => !Number.isFinite(value));
      if (wrong >= 0) faults.push(`${name} is not finite: ${folded.data[wrong]} at index ${wrong}`);
      module(factor[1]!)[KINDS[factor[2]!]!] = folded;
    } else if (alpha !== null && tensor.data.length === 1) {
      module(alpha[1]!).alpha = isFloat(tensor.dtype) ? toFloat32(tensor.dtype, tensor.data)[0]! : tensor.data[0]!;
    } else {
      faults.push(`${name} [${tensor.shape.join(',')}] is not a LoRA factor`);
    }
  }
  const modules: LoraModule[] = [];
  for (const [name, { a, b, alpha }] of found) {
    if (a === undefined || b === undefined) {
      faults.push(`${name} has ${a ? 'only lora_A' : b ? 'only lora_B' : 'only alpha'}`);
    } else if (a.rows === 0) {
      faults.push(`${name}: factors of rank 0`);
    } else if (a.rows !== b.columns) {
      faults.push(`${name}: lora_A is of rank ${a.rows}, lora_B of rank ${b.columns}`);
    } else {
      const strength = adapter.strength(name, a.rows, alpha);
      if (typeof strength === 'string') faults.push(strength);
      else modules.push({ name, a, b, scale: strength });
    }
  }
  if (faults.length === 0 && modules.length === 0) faults.push('no LoRA in it (lora_A.weight and lora_B.weight)');
  if (faults.length > 0) {
    const more = faults.length > 8 ? `; and ${faults.length - 8} more` : '';
    throw new FileFormatError(`LoRA ${source}: ${faults.slice(0, 8).join('; ')}${more}`);
  }
  return { modules, notes: adapter.notes() };
}

function fold({ dtype, shape, data }: HostTensor): LoraFactor {
  const rows = shape[0]!;
  return { rows, columns: rows === 0 ? 0 : data.length / rows, data: Float32Array.from(toFloat32(dtype, data)) };
}
