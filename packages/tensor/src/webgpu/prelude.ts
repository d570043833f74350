// Expands a program to complete WGSL and packs its parameters. Scalars only, so `struct Params` is packed by four bytes.
import { OpError } from '../errors.ts';
import type { Variant } from '../kernel.ts';
import type { AnyProgram, BindingDeclaration } from './kernel.ts';

/** Bytes that the parameters of one dispatch may take. */
export const PARAMS_BYTES = 256;

export interface ExpandedProgram {
  readonly name: string;
  /** Name and variant: the key of caches and snapshots. */
  readonly key: string;
  readonly code: string;
  /** Binding i of the declaration is `@binding(i + 1)`; 0 is the uniform. */
  readonly bindings: readonly BindingDeclaration[];
  readonly params: readonly (readonly [name: string, type: 'u32' | 'i32' | 'f32'])[];
}

/** `name` or `name,a=1,b=x`, with the variant's names in order of the alphabet. */
export function programKey(program: { readonly name: string }, variant: Variant): string {
  let key = program.name;
  for (const name of Object.keys(variant).sort()) key += `,${name}=${variant[name]!}`;
  return key;
}

export function expandProgram(program: AnyProgram, variant: Variant): ExpandedProgram {
  const bindings = program.bindings(variant);
  const params = Object.entries(program.params);
  if (params.length * 4 > PARAMS_BYTES) {
    throw new OpError(program.name, `has ${params.length} parameters, at most ${PARAMS_BYTES / 4} fit`);
  }
  const lines = (program.enables?.(variant) ?? []).map((line) =>
    line.startsWith('diagnostic') ? `${line};` : `enable ${line};`,
  );
  if (params.length > 0) {
    lines.push('struct Params {', ...params.map(([name, type]) => `  ${name}: ${type},`), '}');
    lines.push('@group(0) @binding(0) var<uniform> params: Params;');
  }
  bindings.forEach(({ name, type, access }, i) => {
    lines.push(`@group(0) @binding(${i + 1}) var<storage, ${access}> ${name}: ${type};`);
  });
  const code = `${lines.join('\n')}\n${program.source(variant)}`;
  return { name: program.name, key: programKey(program, variant), code, bindings, params };
}

/** Writes the parameters at `byteOffset`, in the order of the declaration; names and values are checked. */
export function packParams(
  op: string,
  program: ExpandedProgram,
  values: Readonly<Record<string, number>>,
  target: DataView,
  byteOffset: number,
): void {
  let position = byteOffset;
  for (const [name, type] of program.params) {
    const value = values[name];
    if (value === undefined) throw new OpError(op, `parameter ${name} of program ${program.name} is missing`);
    if (type === 'f32') {
      target.setFloat32(position, value, true);
    } else {
      const [low, high] = type === 'u32' ? [0, 0xffffffff] : [-0x80000000, 0x7fffffff];
      if (!Number.isInteger(value) || value < low || value > high) {
        throw new OpError(op, `parameter ${name} of program ${program.name} must be ${type}, got ${value}`);
      }
      target.setUint32(position, value >>> 0, true);
    }
    position += 4;
  }
  if (Object.keys(values).length !== program.params.length) {
    const declared = new Set(program.params.map(([name]) => name));
    const extra = Object.keys(values).filter((name) => !declared.has(name));
    throw new OpError(op, `program ${program.name} has no parameter ${extra.join(', ')}`);
  }
}

/** WGSL with line numbers, for compile errors. */
export function numberLines(code: string): string {
  return code
    .split('\n')
    .map((line, i) => `${String(i + 1).padStart(4)} | ${line}`)
    .join('\n');
}
