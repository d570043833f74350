// The second of three, between plan.ts and executor.ts: a step ready to run, a compiled kernel and plain numbers.
import type { ExternalBuffer } from './memory.ts';

/** A kernel that is ready to run on this thread. */
export interface CompiledKernel {
  readonly id: number;
  readonly name: string;
  readonly module: WebAssembly.Module;
  readonly argKinds: readonly ('ptr' | 'i32' | 'f32')[];
  readonly run: (begin: number, end: number, scratch: number, ...args: number[]) => void;
}

export interface StreamedArgument {
  readonly argIndex: number;
  readonly buffer: ExternalBuffer;
  readonly byteOffset: number;
  readonly byteLength: number;
  readonly bytesPerItem: number;
  /** Where in a thread's scratch the bytes go. */
  readonly scratchOffset: number;
}

export interface PreparedStep {
  readonly op: string;
  readonly kernel: CompiledKernel;
  readonly args: readonly number[];
  readonly items: number;
  /** Items that are handed out together. */
  readonly grain: number;
  /** Address of the first thread's scratch; the others' follow at `scratchStride` bytes each. */
  readonly scratch: number;
  readonly scratchStride: number;
  readonly streamed?: StreamedArgument;
}
