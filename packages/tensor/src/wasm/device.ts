// The wasm device: WebAssembly SIMD kernels over shared memory, run in order by a queue, on several threads.
import { Device } from '../device.ts';
import type { AllocationOptions, DeviceBuffer, DeviceInfo } from '../device.ts';
import { DeviceLostError, Magi1Error, OpError, OutOfMemoryError, TensorTooLargeError } from '../errors.ts';
import { isNode } from '../is-node.ts';
import { buffersOf } from '../op.ts';
import type { AnyOp, OpCall } from '../op.ts';
import { poison } from '../guard.ts';
import type { Timing } from '../profile.ts';
import { JobQueue } from '../queue.ts';
import type { Job } from '../queue.ts';
import { Executor } from './executor.ts';
import { describeFeatures, enableRelaxedSimd, hasSharedMemory, hasSimd } from './features.ts';
import { HEAP_ALIGNMENT, alignUp } from './heap.ts';
import type { WasmFeatures, WasmKernel, WasmStep } from './kernel.ts';
import { ExternalBuffer, HeapBuffer, HEAP_WEIGHT_LIMIT, SMALLEST_EXTERNAL, WasmHeap } from './memory.ts';
import { planStep } from './plan.ts';
import type { StepPlan } from './plan.ts';

export interface WasmDeviceOptions {
  readonly reason: string;
  readonly threads?: number | undefined;
  readonly memoryBudget?: number | undefined;
  /** For tests: allocations are filled with NaN and followed by this many guard bytes. */
  readonly guardBytes?: number | undefined;
  /** For tests: heap bytes in use from which weights go outside the heap. */
  readonly heapWeightLimit?: number;
  /** For tests: the smallest weight that may go outside. */
  readonly smallestExternal?: number;
  /** For tests: do without relaxed SIMD. */
  readonly relaxedSimd?: boolean;
}

export class WasmDevice extends Device {
  readonly backend = 'wasm';
  readonly info: DeviceInfo;
  readonly #heap: WasmHeap;
  readonly #executor: Executor;
  readonly #queue = new JobQueue();
  readonly #shared: boolean;
  readonly #budget: number;
  readonly #guardBytes: number;
  readonly #heapWeightLimit: number;
  readonly #smallestExternal: number;
  #externalBytes = 0;
  #nextExternal = 1;
  #disposed = false;

  constructor(options: WasmDeviceOptions) {
    super();
    if (!hasSimd()) throw new Magi1Error('wasm: this engine has no WebAssembly SIMD');
    this.#shared = hasSharedMemory();
    const features: WasmFeatures = {
      relaxedSimd: options.relaxedSimd !== false && enableRelaxedSimd(),
      sharedMemory: this.#shared,
    };
    const threads = threadCount(options.threads, this.#shared);
    this.#heap = new WasmHeap(this.#shared);
    this.#executor = new Executor(this.#heap, features, threads);
    this.#budget = options.memoryBudget ?? Infinity;
    this.#guardBytes = options.guardBytes ?? 0;
    this.#heapWeightLimit = options.heapWeightLimit ?? HEAP_WEIGHT_LIMIT;
    this.#smallestExternal = options.smallestExternal ?? SMALLEST_EXTERNAL;
    this.info = {
      name: `WebAssembly SIMD, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
      reason: options.reason + crowdNote(threads),
      features: describeFeatures(features),
      limits: { threads, heapBytes: this.#heap.limit, heapWeightBytes: this.#heapWeightLimit },
      memory: 'host',
      memoryBudget: options.memoryBudget,
    };
  }

  protected override allocate(byteLength: number, { weight = false }: AllocationOptions): DeviceBuffer {
    this.#checkAlive();
    const bytes = Math.max(alignUp(byteLength), HEAP_ALIGNMENT);
    const { inUse } = this.memory();
    if (bytes > this.#budget) {
      throw new TensorTooLargeError(`wasm: ${bytes} bytes are more than the memory budget of ${this.#budget}`);
    }
    if (inUse + bytes > this.#budget) {
      throw new OutOfMemoryError(
        `wasm: ${bytes} bytes asked for, ${inUse} in use of a memory budget of ${this.#budget}`,
      );
    }
    const { allocator } = this.#heap;
    const mayLeave = weight && bytes >= this.#smallestExternal;
    if (mayLeave && allocator.used + bytes > this.#heapWeightLimit) return this.#allocateExternal(bytes);
    if (bytes > allocator.capacity) {
      throw new TensorTooLargeError(
        `wasm: ${bytes} bytes can never fit the wasm heap of ${allocator.capacity} bytes; make it smaller, or use a WebGPU device`,
      );
    }
    const address = allocator.allocate(bytes + this.#guardBytes);
    if (address !== undefined) {
      const buffer = new HeapBuffer(address, bytes, this.#guardBytes);
      if (this.#guardBytes > 0) this.#poison(buffer);
      return buffer;
    }
    if (mayLeave) return this.#allocateExternal(bytes);
    throw this.#heapFull(`${bytes} bytes asked for`);
  }

  #poison(buffer: HeapBuffer): void {
    const { byteLength, guardBytes } = buffer;
    const run = (): void => {
      poison(this.#heapView(buffer, 0, byteLength + guardBytes), guardBytes);
    };
    this.#queue.push({ name: 'poison', run });
  }

  #allocateExternal(bytes: number): ExternalBuffer {
    try {
      const buffer = ExternalBuffer.allocate(this.#nextExternal++, bytes, this.#shared);
      this.#externalBytes += bytes;
      return buffer;
    } catch (error) {
      throw new OutOfMemoryError(
        `wasm: the system gives no ${bytes} bytes for a weight; ${this.#externalBytes} bytes are outside the heap already`,
        { cause: error },
      );
    }
  }

  #heapFull(what: string): OutOfMemoryError {
    const { used, capacity, largestFree } = this.#heap.allocator;
    return new OutOfMemoryError(
      `wasm: ${what}, the heap has ${used} of ${capacity} bytes in use and its largest free stretch is ${largestFree}`,
    );
  }

  protected override release(buffer: DeviceBuffer): void {
    if (this.#disposed) return;
    if (buffer instanceof HeapBuffer) {
      // The queue runs in order: whoever gets these bytes next writes them after the work recorded until now.
      this.#heap.allocator.free(buffer.address);
    } else if (buffer instanceof ExternalBuffer) {
      this.#externalBytes -= buffer.byteLength;
      // In order with the work that reads it.
      if (this.#queue.empty) this.#executor.forget(buffer);
      else this.#queue.push({ name: 'forget', run: () => this.#executor.forget(buffer) });
    }
  }

  protected override reservedBytes(): number {
    return this.#disposed ? 0 : this.#heap.reserved + this.#externalBytes;
  }

  protected override hostBytes(): number {
    return this.#disposed ? 0 : this.#externalBytes;
  }

  override execute(op: AnyOp, call: OpCall): void {
    this.#checkAlive();
    if (op.wasm === undefined) throw new OpError(op.name, 'has no wasm version');
    const buffers = buffersOf(call);
    const timing = this.profiler?.call(op, call);
    for (const step of op.wasm(call)) if (step.items > 0) this.#record(op.name, step, buffers, timing);
  }

  #record(op: string, step: WasmStep, buffers: ReturnType<typeof buffersOf>, timing: Timing | undefined): void {
    const compiled = this.#executor.kernel(step.kernel as WasmKernel, step.variant);
    const plan = planStep(op, step, this.#executor.threads);
    // Tables, copies and scratch are taken and given back while recording: the queue's order keeps them apart.
    const address = plan.heapBytes === 0 ? 0 : this.#heap.allocator.allocate(plan.heapBytes);
    if (address === undefined) throw this.#heapFull(`${op} needs ${plan.heapBytes} bytes for tables and scratch`);
    const run: Job = (signal) => this.#run(compiled, plan, address, timing, signal);
    this.#queue.push({ name: op, run, ...buffers });
    if (plan.heapBytes > 0) this.#heap.allocator.free(address);
  }

  async #run(
    compiled: ReturnType<Executor['kernel']>,
    plan: StepPlan,
    address: number,
    timing: Timing | undefined,
    signal: AbortSignal | undefined,
  ): Promise<void> {
    const kernel = await compiled;
    const from = performance.now();
    for (const { heapOffset, bytes } of plan.tables) this.#heap.view(address + heapOffset, bytes.byteLength).set(bytes);
    for (const { heapOffset, buffer, byteOffset, byteLength } of plan.copies) {
      buffer.copyTo(byteOffset, this.#heap.view(address + heapOffset, byteLength));
    }
    await this.#executor.run(
      {
        op: plan.op,
        kernel,
        args: plan.args.map((arg) => (typeof arg === 'number' ? arg : (address + arg.heapOffset) | 0)),
        items: plan.items,
        grain: plan.grain,
        scratch: (address + plan.scratchOffset) | 0,
        scratchStride: plan.scratchStride,
        ...(plan.streamed === undefined ? {} : { streamed: plan.streamed }),
      },
      signal,
    );
    timing?.add(from, performance.now());
  }

  override hostView(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array | undefined {
    this.#checkAlive();
    if (buffer instanceof ExternalBuffer) return buffer.view(byteOffset, byteLength);
    // A memory that is not shared may move when it grows; the filling of guarded tensors is recorded work.
    return this.#shared && this.#guardBytes === 0 ? this.#heapView(buffer, byteOffset, byteLength) : undefined;
  }

  override writeBuffer(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    this.#checkAlive();
    if (this.#queue.empty) {
      this.#write(buffer, byteOffset, bytes);
      return;
    }
    const copy = bytes.slice();
    this.#queue.push({ name: 'writeBuffer', run: () => this.#write(buffer, byteOffset, copy) });
  }
  #write(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void {
    if (buffer instanceof ExternalBuffer) buffer.write(byteOffset, bytes);
    else this.#heapView(buffer, byteOffset, bytes.byteLength).set(bytes);
  }
  #heapView(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Uint8Array {
    return this.#heap.view((buffer as HeapBuffer).address + byteOffset, byteLength);
  }
  #readInto(buffer: DeviceBuffer, byteOffset: number, target: Uint8Array): void {
    if (buffer instanceof ExternalBuffer) buffer.copyTo(byteOffset, target);
    else target.set(this.#heapView(buffer, byteOffset, target.byteLength));
  }

  override async readBuffer(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array> {
    this.#checkAlive();
    // The read has its place in the queue: the buffer may be released while work is still under way.
    const bytes = new Uint8Array(byteLength);
    this.#queue.push({ name: 'readBuffer', run: () => this.#readInto(buffer, byteOffset, bytes), reads: [buffer] });
    await this.sync();
    return bytes;
  }

  override copyBuffer(from: DeviceBuffer, fromByte: number, to: DeviceBuffer, toByte: number, length: number): void {
    this.#checkAlive();
    const run = (): void => {
      if (to instanceof ExternalBuffer) {
        const bytes = new Uint8Array(length);
        this.#readInto(from, fromByte, bytes);
        to.write(toByte, bytes);
      } else {
        this.#readInto(from, fromByte, this.#heapView(to, toByte, length));
      }
    };
    this.#queue.push({ name: 'copyBuffer', run, reads: [from], writes: [to] });
  }

  override sync(signal?: AbortSignal): Promise<void> {
    this.#checkAlive();
    return this.#queue.drain(signal);
  }
  override tick(signal?: AbortSignal): Promise<void> {
    return this.sync(signal);
  }

  /** Free stretches of the heap merge by themselves, and a wasm memory cannot shrink: nothing can be given back. */
  override trim(): void {
    this.#checkAlive();
  }

  override async dispose(): Promise<void> {
    if (this.#disposed) return;
    this.#disposed = true;
    // A step under way ends at its next turn of the event loop; whoever waits for it gets the error.
    this.#executor.stop();
    await this.#queue.close(disposedError());
    await this.#executor.dispose();
  }

  #checkAlive(): void {
    if (this.#disposed) throw disposedError();
  }
}

const disposedError = () => new DeviceLostError('wasm: the device was disposed');

/** More threads than cores give the same results, later. */
function crowdNote(threads: number): string {
  const cores = coreCount();
  return threads > cores
    ? `; ${threads} threads on ${cores} ${cores === 1 ? 'core' : 'cores'}, which slows it down`
    : '';
}

const coreCount = (): number =>
  Math.max(1, isNode() ? process.getBuiltinModule('node:os').availableParallelism() : navigator.hardwareConcurrency);

function threadCount(asked: number | undefined, shared: boolean): number {
  if (asked !== undefined && !(Number.isInteger(asked) && asked >= 1 && asked <= 256)) {
    throw new Magi1Error(`wasm: threads must be a whole number from 1 to 256, got ${asked}`);
  }
  if (!shared) return 1;
  return asked ?? coreCount();
}
