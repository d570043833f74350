// What an op hands to the wasm runtime: kernels (wasm bytes built from a small variant) and steps (data of one call).
import type { HostTable, Variant } from '../kernel.ts';
import type { Tensor } from '../tensor.ts';

/**
 * A wasm kernel: one exported function `run(begin, end, scratch, ...args)` over work items `begin..end`. Items must be
 * independent and each must compute the same bits whatever the split, so that threads do not change results.
 */
export interface WasmKernel<V extends Variant = Variant> {
  /** Unique; with the variant it is the key of the module cache. */
  readonly name: string;
  /** Arguments in order: `ptr` (byte address of a tensor or table), `i32` or `f32`. */
  readonly args: Readonly<Record<string, 'ptr' | 'i32' | 'f32'>>;
  /** The module's bytes; imports the memory as `env.memory`. Made by `wasmKernel` (emitter.ts, which says how). */
  build(variant: V, features: WasmFeatures): Uint8Array<ArrayBuffer>;
}

/** What the engine offers; the same for all kernels of a device. */
export interface WasmFeatures {
  /** f32x4.relaxed_madd and its relatives. */
  readonly relaxedSimd: boolean;
  readonly sharedMemory: boolean;
}

export interface WasmStep {
  /* eslint-disable-next-line @typescript-eslint/no-explicit-any -- kernels of any variant */
  readonly kernel: WasmKernel<any>;
  readonly variant: Variant;
  readonly args: Readonly<Record<string, Tensor | HostTable | number>>;
  /** Number of independent work items. */
  readonly items: number;
  /** Estimated floating point operations of one item, from which the runtime chooses how many go together. */
  readonly itemCost: number;
  /** Bytes of private memory that each thread gets (its address is `scratch`, 64-byte aligned). */
  readonly scratchBytes?: number;
  /**
   * An argument that may live outside the wasm heap: item i reads only bytes i*bytesPerItem .. (i+1)*bytesPerItem of
   * it (the last item perhaps fewer). The runtime brings those into the heap and passes an address from which the same offsets hold (modulo 2^32).
   */
  readonly streamed?: { readonly arg: string; readonly bytesPerItem: number };
}
