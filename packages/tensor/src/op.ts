// An op as data: contract, cost, reference and backend kernels. `runOp` is the one way an op is called.
import { Check } from './check.ts';
import type { DeviceBuffer } from './device.ts';
import type { DType } from './dtype.ts';
import { OpError } from './errors.ts';
import type { Shape, TensorSpec } from './shape.ts';
import type { Tensor } from './tensor.ts';
import type { WasmStep } from './wasm/kernel.ts';
import type { WebGpuCapabilities, WebGpuDispatch } from './webgpu/kernel.ts';

/**
 * What an op takes, said once; the other types of its room are made of it:
 *   type Linear = OpTypes<{ x: Tensor; weight: Tensor; bias?: Tensor }>;
 * An input with `?` may be left out. `P` are parameters, plain data of one call.
 */
export interface OpTypes<I extends object, P = NoParams> {
  readonly inputs: I;
  readonly params: P;
}

export type NoParams = Readonly<Record<string, never>>;

/** The types of any op. */
export type AnyOpTypes = OpTypes<Readonly<Record<string, unknown>>, unknown>;

/** The op's inputs as tensors, specs, cases or host views. */
export type InputsOf<T extends AnyOpTypes, V> = {
  readonly [K in keyof T['inputs']]: undefined extends T['inputs'][K] ? V | undefined : V;
};

/** One call: inputs by name, the output `y` and the parameters. References get host views instead of tensors. */
export interface OpCall<T extends AnyOpTypes = AnyOpTypes, V = Tensor> {
  readonly inputs: InputsOf<T, V>;
  readonly y: V;
  readonly params: T['params'];
}

export type NumberArray = Float64Array | Float32Array | Int32Array | Uint32Array | Uint8Array;

/** A tensor as a reference sees it: floats of inputs widened to float32, exactly; those of `y` float64, rounded afterwards. */
export interface HostView {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly data: NumberArray;
}

export interface Cost {
  /** Multiply and add count as two. */
  readonly flops: number;
  /** Bytes that must be read and written at least. */
  readonly bytes: number;
}

/** How a case fills an input: standard normals times `scale`, integers below `below`, or given values. */
export type CaseFill =
  | { readonly kind: 'normal'; readonly scale?: number; readonly mean?: number }
  | { readonly kind: 'integers'; readonly below: number }
  | { readonly kind: 'values'; readonly values: readonly number[] };

export interface CaseInput extends TensorSpec {
  readonly fill?: CaseFill;
}

/** One row of an op's case table, which drives tests and benchmarks. */
export interface CaseOf<T extends AnyOpTypes> {
  /** For real shapes the layer's name, such as `dit4.5b.fc1`. */
  readonly name: string;
  readonly inputs: InputsOf<T, CaseInput>;
  readonly params: T['params'];
  /** What `infer` must give, stated on its own. */
  readonly y?: TensorSpec;
  /** Allowed relative L2 error against the reference; 1e-6 when left out. 0 asks for the same bits. */
  readonly tolerance?: number;
  /** Too large for the reference in a test: benchmarks only. */
  readonly benchmarkOnly?: boolean;
}

/** Plain loops, float64 accumulation: the meaning of the op. `y` comes zeroed. */
export type ReferenceOf<T extends AnyOpTypes> = (call: OpCall<T, HostView>) => void;

/**
 * Dispatches for WebGPU; an op without it says so when called there. It may make tensors for intermediate results on
 * the device of `y`: they are freed when the dispatches are recorded.
 */
export type WebGpuOf<T extends AnyOpTypes> = (
  call: OpCall<T>,
  capabilities: WebGpuCapabilities,
) => readonly WebGpuDispatch[];

/** Steps for wasm. */
export type WasmOf<T extends AnyOpTypes> = (call: OpCall<T>) => readonly WasmStep[];

/** Both kernels of an op, as helpers that make whole families of them give them. */
export interface KernelsOf<T extends AnyOpTypes> {
  readonly webgpu: WebGpuOf<T>;
  readonly wasm: WasmOf<T>;
}

/** What an op promises without computing anything. */
export interface ContractOf<T extends AnyOpTypes> {
  readonly name: string;
  /** Checks inputs and parameters (`check` throws OpErrors that name the op) and gives the shape and dtype of `y`. */
  infer(inputs: InputsOf<T, TensorSpec>, params: T['params'], check: Check<keyof T['inputs'] & string>): TensorSpec;
  cost(inputs: InputsOf<T, TensorSpec>, params: T['params']): Cost;
}

export interface OpDefinition<T extends AnyOpTypes> extends ContractOf<T> {
  readonly reference: ReferenceOf<T>;
  readonly webgpu?: WebGpuOf<T>;
  readonly wasm?: WasmOf<T>;
  readonly cases: readonly CaseOf<T>[];
  /**
   * A random valid case, for property tests: draw every size and choice with `random(below)` (0 .. below-1), so that
   * all zeros is the smallest case, which is always tried. Keep it small: a few thousand elements. Example:
   *   randomCase: (random) => ({ name: 'random', inputs: { x: { shape: [1 + random(5), 1 + random(70)], dtype: 'f32' } }, params: {} })
   */
  randomCase?(random: (below: number) => number): CaseOf<T>;
}

export interface Op<T extends AnyOpTypes> extends OpDefinition<T> {
  readonly isOp: true;
}

/* eslint-disable-next-line @typescript-eslint/no-explicit-any -- ops of any inputs and parameters, as devices and test tables see them */
export type AnyOp = Op<any>;
/* eslint-disable-next-line @typescript-eslint/no-explicit-any -- their cases */
export type AnyCase = CaseOf<any>;

export function defineOp<T extends AnyOpTypes>(definition: OpDefinition<T>): Op<T> {
  return { ...definition, isOp: true };
}

export function isOp(value: unknown): value is AnyOp {
  return typeof value === 'object' && value !== null && (value as { isOp?: unknown }).isOp === true;
}

/** Checks a call by the op's contract and gives the shape and dtype of its output. */
export function inferOutput<T extends AnyOpTypes>(op: Op<T>, inputs: InputsOf<T, TensorSpec>, params: T['params']) {
  return op.infer(inputs, params, new Check(op.name, inputs));
}

/** What a call reads and writes, for devices that queue it. */
export function buffersOf({ inputs, y }: OpCall): { readonly reads: DeviceBuffer[]; readonly writes: DeviceBuffer[] } {
  const reads: DeviceBuffer[] = [];
  for (const name in inputs) {
    const tensor = inputs[name];
    if (tensor !== undefined) reads.push(tensor.buffer);
  }
  return { reads, writes: [y.buffer] };
}

/** Checks the call, allocates its output and records the op on its inputs' device. */
export function runOp<T extends AnyOpTypes>(op: Op<T>, inputs: InputsOf<T, Tensor>, params: T['params']): Tensor {
  const given = Object.entries<Tensor | undefined>(inputs).filter(
    (entry): entry is [string, Tensor] => entry[1] !== undefined,
  );
  const device = given[0]?.[1].device;
  if (device === undefined) throw new OpError(op.name, 'needs at least one input tensor');
  for (const [name, tensor] of given) {
    if (tensor.disposed) throw new OpError(op.name, `input ${name} was disposed`);
    if (tensor.device !== device) throw new OpError(op.name, `input ${name} is on another device than the first input`);
  }
  const { shape, dtype } = inferOutput(op, inputs, params);
  const y = device.empty(shape, dtype, { name: `${op.name}: output` });
  try {
    if (y.size > 0) device.execute(op, { inputs, y, params });
  } catch (error) {
    y.dispose();
    throw error;
  }
  return y;
}
