// Which linear layers a LoRA's modules are: names of every layout, widths checked, factors laid out as our weights are.
import { Magi1Error } from '@magi1/tensor';
import { FileNames } from '../layouts/index.ts';
import type { Layout } from '../layouts/index.ts';
import type { ParamSpecs, WeightPart } from '../nn/index.ts';
import type { LoraFactor, LoraModule } from './lora-file.ts';
import { PREFIXES } from './module-pattern.ts';

/** A low-rank change of one linear layer of the model, on the host. */
export interface LoraLayer {
  /** The layer: its weight's name without `.weight`. */
  readonly layer: string;
  readonly a: LoraFactor; // [rank, in]
  readonly b: LoraFactor; // [out, rank]
  readonly scale: number;
}

/**
 * The layers that the modules of a LoRA stand for.
 * @throws Magi1Error naming every module that is not a linear layer of the model, and every factor of the wrong width
 */
export function resolveLora(
  source: string,
  modules: readonly LoraModule[],
  specs: ParamSpecs,
  layouts: readonly Layout[],
): LoraLayer[] {
  const linears = linearLayers(specs, layouts);
  const faults: string[] = [];
  const layers: LoraLayer[] = [];
  for (const { name, a, b, scale } of modules) {
    const target = findTarget(name, linears);
    if (target === undefined) {
      faults.push(`${name} is not a linear layer of this model`);
      continue;
    }
    const part = typeof target === 'string' ? { weight: target, part: 0, parts: 1 } : target;
    const { outputs, inputs } = linearSize(specs, part.weight);
    const wanted = outputs / part.parts;
    if (a.columns !== inputs) faults.push(`${name}: lora_A takes ${a.columns} features, the layer ${inputs}`);
    else if (b.rows !== wanted) faults.push(`${name}: lora_B gives ${b.rows} features, the layer ${wanted}`);
    else layers.push({ layer: part.weight.replace(/\.weight$/, ''), a, b: spread(b, part), scale });
  }
  if (faults.length > 0) {
    const more = faults.length > 8 ? `; and ${faults.length - 8} more` : '';
    throw new Magi1Error(`LoRA ${source}: ${faults.slice(0, 8).join('; ')}${more}`);
  }
  return layers;
}

/** Rows and columns of a linear layer's weight; axes in front of them have length 1, a convolution's fold into columns. */
export function linearSize(specs: ParamSpecs, weight: string): { outputs: number; inputs: number } {
  const { shape, role } = specs.get(weight)!;
  const dims = role === 'quantized' ? shape.slice(-2) : shape;
  return { outputs: dims[0]!, inputs: dims.slice(1).reduce((product, dim) => product * dim, 1) };
}

function linearLayers(specs: ParamSpecs, layouts: readonly Layout[]): Map<string, string | WeightPart> {
  const weights = new Map([...specs].filter(([, { role }]) => role === 'matrix' || role === 'quantized'));
  const linears = new Map<string, string | WeightPart>();
  for (const layout of layouts)
    for (const [name, target] of new FileNames(layout, weights)) linears.set(name.replace(/\.weight$/, ''), target);
  return linears;
}

function findTarget(
  module: string,
  linears: ReadonlyMap<string, string | WeightPart>,
): string | WeightPart | undefined {
  const target = linears.get(module);
  if (target !== undefined) return target;
  const prefix = PREFIXES.find((text) => module.startsWith(text));
  return prefix === undefined ? undefined : findTarget(module.slice(prefix.length), linears);
}

/** The factor of part of a weight as one of the whole weight: rows of the other parts are zero. */
function spread(b: LoraFactor, { part, parts, rows }: WeightPart): LoraFactor {
  if (parts === 1) return b;
  const data = new Float32Array(b.data.length * parts);
  const turn = rows ?? b.rows;
  const step = turn * b.columns;
  for (let i = 0; i < b.rows / turn; i++)
    data.set(b.data.subarray(i * step, (i + 1) * step), (i * parts + part) * step);
  return { rows: b.rows * parts, columns: b.columns, data };
}
