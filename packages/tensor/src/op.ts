// An op as data: contract, cost, reference and backend kernels. `runOp` is the one way an op is called.
import type { DeviceBuffer } from './device.ts';
import type { DType } from './dtype.ts';
import { OpError } from './errors.ts';
import { elementCount } from './shape.ts';
import type { Shape, TensorSpec } from './shape.ts';
import { Tensor } from './tensor.ts';
import type { WasmStep } from './wasm/kernel.ts';
import type { WebGpuCapabilities, WebGpuDispatch } from './webgpu/kernel.ts';

/** Named inputs: `R` must be given, `O` may be left out. */
export type OpInputs<R extends string, O extends string, T> = { readonly [K in R]: T } & {
  readonly [K in O]?: T | undefined;
};

export type NumberArray = Float64Array | Float32Array | Int32Array | Uint32Array | Uint8Array;

/** An input as a reference sees it: floats of every dtype widened to float32, exactly. */
export interface HostView {
  readonly shape: Shape;
  readonly dtype: DType;
  readonly data: NumberArray;
}

/** An output of a reference: floats are float64 here and rounded to the dtype afterwards. */
export type HostOutput = HostView;

export interface Cost {
  /** Multiply and add count as two. */
  readonly flops: number;
  /** Bytes that must be read and written at least. */
  readonly bytes: number;
}

export interface OpCall<R extends string = string, O extends string = string, P = unknown> {
  readonly inputs: OpInputs<R, O, Tensor>;
  readonly outputs: readonly Tensor[];
  readonly params: P;
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
export interface OpCase<R extends string = string, O extends string = string, P = unknown> {
  /** For real shapes the layer's name, such as `dit4.5b.fc1`. */
  readonly name: string;
  readonly inputs: OpInputs<R, O, CaseInput>;
  readonly params: P;
  /** Allowed relative L2 error against the reference; 1e-6 when left out. 0 asks for the same bits. */
  readonly tolerance?: number;
  /** Too large for the reference in a test: benchmarks only. */
  readonly benchmarkOnly?: boolean;
}

export interface OpDefinition<R extends string, O extends string, P> {
  readonly name: string;
  /** Checks inputs and parameters (OpError names what is wrong) and gives the outputs' shapes and dtypes. */
  infer(inputs: OpInputs<R, O, TensorSpec>, params: P): readonly TensorSpec[];
  cost(inputs: OpInputs<R, O, TensorSpec>, params: P): Cost;
  /** Plain loops, float64 accumulation: the meaning of the op. Outputs come zeroed. */
  reference(inputs: OpInputs<R, O, HostView>, outputs: readonly HostOutput[], params: P): void;
  /**
   * Dispatches for WebGPU; an op without it says so when called there. It may make tensors for intermediate results on
   * the outputs' device: they are freed when the dispatches are recorded.
   */
  webgpu?(call: OpCall<R, O, P>, capabilities: WebGpuCapabilities): readonly WebGpuDispatch[];
  /** Steps for wasm. */
  wasm?(call: OpCall<R, O, P>): readonly WasmStep[];
  readonly cases: readonly OpCase<R, O, P>[];
  /**
   * A random valid case, for property tests: draw every size and choice with `random(below)` (0 .. below-1), so that
   * all zeros is the smallest case and failures shrink towards it. Keep it small: a few thousand elements. Example:
   *   randomCase: (random) => ({ name: 'random', inputs: { x: { shape: [1 + random(5), 1 + random(70)], dtype: 'f32' } }, params: {} })
   */
  randomCase?(random: (below: number) => number): OpCase<R, O, P>;
}

export interface Op<R extends string = string, O extends string = string, P = unknown> extends OpDefinition<R, O, P> {
  readonly isOp: true;
}

/* eslint-disable-next-line @typescript-eslint/no-explicit-any -- ops of any parameters, as devices and test tables see them */
export type AnyOp = Op<any, any, any>;

export function defineOp<R extends string, O extends string, P>(definition: OpDefinition<R, O, P>): Op<R, O, P> {
  return { ...definition, isOp: true };
}

export function isOp(value: unknown): value is AnyOp {
  return typeof value === 'object' && value !== null && (value as { isOp?: unknown }).isOp === true;
}

/** What a call reads and writes, for devices that queue it. */
export function buffersOf(call: OpCall): { readonly reads: DeviceBuffer[]; readonly writes: DeviceBuffer[] } {
  const reads: DeviceBuffer[] = [];
  for (const name in call.inputs) {
    const tensor = call.inputs[name];
    if (tensor !== undefined) reads.push(tensor.buffer);
  }
  const writes: DeviceBuffer[] = [];
  for (const tensor of call.outputs) writes.push(tensor.buffer);
  return { reads, writes };
}

/** Validates, allocates the outputs and records the op on its inputs' device. `device` is for ops without inputs. */
export function runOp<R extends string, O extends string, P>(
  op: Op<R, O, P>,
  inputs: OpInputs<R, O, Tensor>,
  params: P,
): Tensor[] {
  const given = Object.entries(inputs).filter((entry): entry is [string, Tensor] => entry[1] !== undefined);
  const device = given[0]?.[1].device;
  if (device === undefined) throw new OpError(op.name, 'needs at least one input tensor');
  for (const [name, tensor] of given) {
    if (tensor.disposed) throw new OpError(op.name, `input ${name} was disposed`);
    if (tensor.device !== device) throw new OpError(op.name, `input ${name} is on another device than the first input`);
  }
  const name = `${op.name}: output`;
  const outputs = op.infer(inputs, params).map((spec) => device.empty(spec.shape, spec.dtype, { name }));
  try {
    if (outputs.some((output) => elementCount(output.shape) > 0)) device.execute(op, { inputs, outputs, params });
  } catch (error) {
    for (const output of outputs) output.dispose();
    throw error;
  }
  return outputs;
}
