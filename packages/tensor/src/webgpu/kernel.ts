// What an op hands to the WebGPU runtime: programs (WGSL built from a small variant) and dispatches (data of one call).
import type { HostTable, Variant } from '../kernel.ts';
import type { Tensor } from '../tensor.ts';

export interface BindingDeclaration {
  readonly name: string;
  /** WGSL store type, such as `array<f32>`, `array<vec4f>`, `array<u32>`. */
  readonly type: string;
  readonly access: 'read' | 'read_write';
}

/**
 * A WGSL program. The runtime generates, in front of `source`: `enable` lines, `struct Params`, the uniform `params`
 * and one `var<storage>` per binding under its name.
 */
export interface WgslProgram<V extends Variant = Variant> {
  /** Unique; with the variant it is the key of the pipeline cache. */
  readonly name: string;
  bindings(variant: V): readonly BindingDeclaration[];
  /** Scalars of one call, read as `params.name`. */
  readonly params: Readonly<Record<string, 'u32' | 'i32' | 'f32'>>;
  /** WGSL extensions to enable (`f16`, `subgroups`), and directives such as `diagnostic(off, subgroup_uniformity)`. */
  enables?(variant: V): readonly string[];
  /** The text, with an entry point `main`. */
  source(variant: V): string;
}

/* eslint-disable-next-line @typescript-eslint/no-explicit-any -- programs of any variant */
export type AnyProgram = WgslProgram<any>;

/** A byte range of a tensor: for tensors larger than one binding. `byteStart` must be a multiple of 256. */
export interface TensorWindow {
  readonly tensor: Tensor;
  readonly byteStart: number;
  readonly byteLength: number;
}

/**
 * One dispatch. A tensor that is written may be bound once only. Bindings are padded:
 * `arrayLength` says nothing. Host tables must be declared `read`, at most four per program.
 */
export interface WebGpuDispatch {
  readonly program: AnyProgram;
  readonly variant: Variant;
  readonly bindings: Readonly<Record<string, Tensor | TensorWindow | HostTable>>;
  readonly params: Readonly<Record<string, number>>;
  readonly workgroups: readonly [x: number, y: number, z: number];
}

/** What an op may ask before it chooses programs. */
export interface WebGpuCapabilities {
  readonly shaderF16: boolean;
  readonly subgroups: boolean;
  /** Smallest and largest subgroup size of the adapter; 0 without subgroups. */
  readonly subgroupMinSize: number;
  readonly subgroupMaxSize: number;
  readonly maxWorkgroupsPerDimension: number;
  readonly maxBindingBytes: number;
  readonly maxInvocations: number;
  readonly maxWorkgroupBytes: number;
  /** True for adapters that run on the CPU (lavapipe, SwiftShader): barriers and workgroup memory are dear there. */
  readonly software: boolean;
}
