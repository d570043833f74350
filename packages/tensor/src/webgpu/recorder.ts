// Records dispatches and copies into one command encoder, and submits it.
import type { Arena } from './arena.ts';
import type { FailureLog } from './failures.ts';
import { Magi1Error, OutOfMemoryError } from '../errors.ts';
import type { GpuBuffer } from './memory.ts';
import { PARAMS_BYTES } from './prelude.ts';
import type { TimestampProfiler } from './profile.ts';
import type { ResolvedDispatch } from './resolve.ts';

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
  readonly #arenas: { readonly params: Arena; readonly tables: Arena };
  readonly #submitted: () => void;
  readonly #submitNow = (): void => {
    this.submit();
  };
  #encoder: GPUCommandEncoder | undefined;
  #pass: GPUComputePassEncoder | undefined;
  #pipeline: GPUComputePipeline | undefined;
  #lastOp = '';
  /** Counts recordings; a buffer used in the present one carries this number. */
  #recording = 1;
  #dispatches = 0;
  #flops = 0;
  profiler: TimestampProfiler | undefined;

  constructor(
    gpu: GPUDevice,
    failures: FailureLog,
    arenas: { readonly params: Arena; readonly tables: Arena },
    submitted: () => void,
  ) {
    this.#gpu = gpu;
    this.#failures = failures;
    this.#arenas = arenas;
    this.#submitted = submitted;
    for (const filter of SCOPES) gpu.pushErrorScope(filter);
  }

  /** Submits first if one more dispatch, with so many bytes of tables, would not go into this recording. */
  makeRoom(tableBytes: number): void {
    if (this.profiler?.full) this.submit();
    this.#arenas.params.reserve(PARAMS_BYTES, this.#submitNow);
    this.#arenas.tables.reserve(tableBytes, this.#submitNow);
  }

  encode({ op, pipeline, group, offsets, workgroups: [x, y, z], buffers }: ResolvedDispatch): void {
    this.#lastOp = op;
    if (this.profiler !== undefined) this.#endPass();
    const pass = (this.#pass ??= this.#beginPass(op));
    if (this.#pipeline !== pipeline) {
      pass.setPipeline(pipeline);
      this.#pipeline = pipeline;
    }
    pass.setBindGroup(0, group, offsets);
    pass.dispatchWorkgroups(x, y, z);
    for (const buffer of buffers) this.touch(buffer);
    this.#dispatches++;
  }

  /** Counts an op's work, and submits when there is enough. */
  worked(flops: number, software: boolean): void {
    this.#flops += flops;
    if (submitIsDue(this.#dispatches, this.#flops, software)) this.submit();
  }

  /** Offsets and length are multiples of four. */
  copy(from: GPUBuffer, fromByte: number, to: GPUBuffer, toByte: number, byteLength: number): void {
    this.#endPass();
    this.#openEncoder().copyBufferToBuffer(from, fromByte, to, toByte, byteLength);
  }

  touch(buffer: GpuBuffer): void {
    buffer.usedIn = this.#recording;
  }
  /** Whether recorded, not yet submitted work uses the buffer. */
  uses(buffer: GpuBuffer): boolean {
    return buffer.usedIn === this.#recording && this.#encoder !== undefined;
  }

  submit(): void {
    const encoder = this.#encoder;
    if (encoder !== undefined) {
      this.#endPass();
      this.#arenas.params.upload();
      this.#arenas.tables.upload();
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
    this.#arenas.params.drop();
    this.#arenas.tables.drop();
    this.profiler?.drop();
    this.#next();
  }

  #next(): void {
    this.#encoder = undefined;
    this.#pass = undefined;
    this.#pipeline = undefined;
    this.#dispatches = 0;
    this.#flops = 0;
    this.#recording++;
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
  // Not instanceof: Dawn's error classes are not globals in Node.
  return error.constructor.name === 'GPUOutOfMemoryError'
    ? new OutOfMemoryError(`WebGPU: the adapter is out of memory: ${error.message}`)
    : new Magi1Error(`WebGPU: ${error.message}`);
}
