// Ops that compute each element of the output from the same element of inputs of the same size: the room gives an
// expression in WGSL and one for wasm, this file makes the program, the kernel and their calls.
import { wasmKernel } from '@magi1/tensor';
import type {
  AnyOpTypes,
  F32,
  F32x4,
  I32,
  KernelBuilder,
  KernelsOf,
  Tensor,
  Variant,
  WasmKernel,
  WgslProgram,
} from '@magi1/tensor';
import { MAIN, WORKGROUP_INDEX, gridOf } from '../wgsl/dispatch.ts';
import { valueType } from '../wgsl/functions.ts';
import { rowRanges } from '../wgsl/row-ranges.ts';
import type { Operand } from '../wgsl/row-ranges.ts';

type InputName<T extends AnyOpTypes> = keyof T['inputs'] & string;

export interface Elementwise<T extends AnyOpTypes, V extends Variant> {
  readonly name: string;
  readonly inputs: readonly InputName<T>[];
  /** Names of the f32 parameters of a call, and their values. */
  readonly scalars?: readonly string[];
  readonly scalarValues?: (params: T['params']) => Readonly<Record<string, number>>;
  /** Chooses the code. */
  readonly variant: (params: T['params']) => V;
  /** Whether the variant reads an input; all are read when left out. */
  readonly reads?: (variant: V, input: InputName<T>) => boolean;
  /** WGSL functions that the expression calls, from wgsl/functions.ts. */
  readonly functions?: (variant: V) => string;
  /** The output, with inputs by name and scalars as `params.name`; it must hold for vectors of four. */
  readonly wgsl: (variant: V) => string;
  /** The output; `values` holds inputs and scalars by name. */
  readonly wasm: (k: KernelBuilder, values: Readonly<Record<string, F32x4>>, variant: V) => F32x4;
  /** Floating point operations per element, roughly. */
  readonly cost: number;
}

/** The `webgpu` and `wasm` of an op definition. */
export function elementwise<T extends AnyOpTypes, V extends Variant = Readonly<Record<string, never>>>(
  op: Elementwise<T, V>,
): KernelsOf<T> {
  const program = wgslProgram(op);
  const kernel = vectorKernel(op);
  return {
    webgpu({ inputs: given, y, params }, capabilities) {
      const inputs = given as Readonly<Record<string, Tensor>>;
      const variant = op.variant(params);
      // Buffers are padded to whole quads, so the last one may be partly unused.
      const operands: Record<string, Operand> = {};
      for (const name of inputsOf(op, variant)) operands[name] = [inputs[name]!, 16];
      operands['output'] = [y, 16];
      return rowRanges(op.name, Math.ceil(y.size / 4), operands, capabilities).map((range) => ({
        program,
        variant,
        bindings: range.bindings,
        params: { quads: range.count, ...op.scalarValues?.(params) },
        workgroups: gridOf(op.name, range.count, capabilities),
      }));
    },
    wasm({ inputs: given, y, params }) {
      const inputs = given as Readonly<Record<string, Tensor>>;
      const variant = op.variant(params);
      const args: Record<string, Tensor | number> = { output: y, ...op.scalarValues?.(params) };
      // Arguments of inputs that the variant does not read get some address.
      for (const name of op.inputs) args[name] = op.reads?.(variant, name) === false ? y : inputs[name]!;
      return [
        {
          kernel,
          variant,
          args,
          items: Math.ceil(y.size / 4),
          itemCost: 4 * op.cost,
        },
      ];
    },
  };
}

function inputsOf<T extends AnyOpTypes, V extends Variant>(op: Elementwise<T, V>, variant: V): readonly string[] {
  return op.reads === undefined ? op.inputs : op.inputs.filter((name) => op.reads!(variant, name));
}

function wgslProgram<T extends AnyOpTypes, V extends Variant>(op: Elementwise<T, V>): WgslProgram<V> {
  return {
    name: op.name,
    bindings: (variant) => [
      ...inputsOf(op, variant).map((name) => ({ name, type: 'array<vec4f>', access: 'read' as const })),
      { name: 'output', type: 'array<vec4f>', access: 'read_write' },
    ],
    params: { quads: 'u32', ...Object.fromEntries((op.scalars ?? []).map((name) => [name, 'f32' as const])) },
    source(variant) {
      const inputs = inputsOf(op, variant);
      return /* wgsl */ `
${WORKGROUP_INDEX}
${valueType(true)}
${op.functions?.(variant) ?? ''}
fn apply(${inputs.map((name) => `${name}: T`).join(', ')}) -> T { return ${op.wgsl(variant)}; }

${MAIN}
  if (i < params.quads) { output[i] = apply(${inputs.map((name) => `${name}[i]`).join(', ')}); }
}
`;
    },
  };
}

/** An item is a vector of four elements; what the last one writes past the end falls into the output's padding. */
function vectorKernel<T extends AnyOpTypes, V extends Variant>(op: Elementwise<T, V>): WasmKernel<V> {
  const scalars = op.scalars ?? [];
  const kinds = (names: readonly string[], kind: 'ptr' | 'f32') =>
    Object.fromEntries(names.map((name) => [name, kind]));
  return wasmKernel({
    name: op.name,
    args: { output: 'ptr', ...kinds(op.inputs, 'ptr'), ...kinds(scalars, 'f32') },
    body(k, { begin, end, output, ...args }, variant: V) {
      const given = args as unknown as Readonly<Record<string, I32 | F32>>;
      const values: Record<string, F32x4> = {};
      for (const name of scalars) values[name] = k.let((given[name] as F32).splat());
      k.forRange(begin, end, 1, (i) => {
        const at = k.let(i.shl(4));
        for (const name of inputsOf(op, variant)) values[name] = k.let((given[name] as I32).add(at).loadF32x4());
        k.store(output.add(at), op.wasm(k, values, variant));
      });
    },
  });
}
