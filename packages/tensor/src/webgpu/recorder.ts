// Records dispatches and copies into one command encoder, and submits it.
import type { Arena } from './arena.ts';
import type { FailureLog } from './failures.ts';
import { Magi1Error, OutOfMemoryError } from '../errors.ts';
import type { GpuBuffer } from './memory.ts';
import type { CompiledProgram } from './pipelines.ts';
import type { Profiler } from './profile.ts';

export const MOST_DISPATCHES = 128;
// Work per submit: bounds how long an abort takes and keeps clear of the time limits of desktop drivers.
const FLOPS_PER_SUBMIT = { software: 1e9, hardware: 2e11 };

/** Whether a recording is long enough. */
export function submitIsDue(dispatches: number, flops: number, software: boolean): boolean {
  return dispatches >= MOST_DISPATCHES || flops >= FLOPS_PER_SUBMIT[software ? 'software' : 'hardware'];
}

const SCOPES = ['validation', 'out-of-memory', 'internal'] as const;

export class Recorder {
  readonly #gpu: GPUDevice;
  readonly #failures: FailureLog;
  readonly #arenas: readonly Arena[];
  readonly #submitted: () => void;
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #pipeline: GPUComputePipeline | undefined;
  #lastOp = '';
  /** Counts recordings; a buffer used in the present one carries this number. */
  recording = 1;
  dispatches = 0;
  profiler: Profiler | undefined;

  constructor(gpu: GPUDevice, failures: FailureLog, arenas: readonly Arena[], submitted: () => void) {
    this.#gpu = gpu;
    this.#failures = failures;
    this.#arenas = arenas;
    this.#submitted = submitted;
    for (const filter of SCOPES) gpu.pushErrorScope(filter);
  }

  dispatch(
    op: string,
    program: CompiledProgram,
    bindGroup: GPUBindGroup,
    offsets: readonly number[],
    [x, y, z]: readonly [number, number, number],
  ): void {
    this.#lastOp = op;
    if (this.profiler !== undefined) this.#endPass();
    const pass = (this.#pass ??= this.#beginPass(op));
    if (this.#pipeline !== program.pipeline) {
      pass.setPipeline(program.pipeline);
      this.#pipeline = program.pipeline;
    }
    pass.setBindGroup(0, bindGroup, offsets);
    pass.dispatchWorkgroups(x, y, z);
    this.dispatches++;
  }

  /** Offsets and length are multiples of four. */
  copy(from: GPUBuffer, fromByte: number, to: GPUBuffer, toByte: number, byteLength: number): void {
    this.#endPass();
    this.#openEncoder().copyBufferToBuffer(from, fromByte, to, toByte, byteLength);
  }

  touch(buffer: GpuBuffer): void {
    buffer.usedIn = this.recording;
  }
  /** Whether recorded, not yet submitted work uses the buffer. */
  uses(buffer: GpuBuffer): boolean {
    return buffer.usedIn === this.recording && this.#encoder !== undefined;
  }

  submit(): void {
    const encoder = this.#encoder;
    if (encoder !== undefined) {
      this.#endPass();
      for (const arena of this.#arenas) arena.upload();
      this.profiler?.resolve(encoder);
      this.#gpu.queue.submit([encoder.finish({ label: `recording ending with ${this.#lastOp}` })]);
      this.profiler?.submitted();
    }
    this.#next();
    this.#renewScopes();
  }

  /** Throws recorded work away. */
  drop(): void {
    this.#pass?.end();
    for (const arena of this.#arenas) arena.drop();
    this.profiler?.drop();
    this.#next();
  }

  #next(): void {
    this.#encoder = undefined;
    this.#pass = undefined;
    this.#pipeline = undefined;
    this.dispatches = 0;
    this.recording++;
    this.#submitted();
  }

  // Everything between two submits runs in these scopes, so that no error of the GPU process goes unseen.
  #renewScopes(): void {
    for (let i = 0; i < SCOPES.length; i++) {
      const scope = this.#gpu.popErrorScope();
      this.#failures.watch(
        scope.then((error) => {
          if (error !== null) this.#failures.report(translate(error));
        }),
      );
    }
    for (const filter of SCOPES) this.#gpu.pushErrorScope(filter);
  }

  #beginPass(op: string): GPUComputePassEncoder {
    const timestampWrites = this.profiler?.begin(op);
    return this.#openEncoder().beginComputePass({ label: op, ...(timestampWrites && { timestampWrites }) });
  }

  #openEncoder(): GPUCommandEncoder {
    return (this.#encoder ??= this.#gpu.createCommandEncoder());
  }

  #endPass(): void {
    this.#pass?.end();
    this.#pass = undefined;
    this.#pipeline = undefined;
  }
}

export function translate(error: GPUError): Magi1Error {
  // Not instanceof: Dawn's error classes are no globals in Node.
  return error.constructor.name === 'GPUOutOfMemoryError'
    ? new OutOfMemoryError(`WebGPU: the adapter is out of memory: ${error.message}`)
    : new Magi1Error(`WebGPU: ${error.message}`);
}
