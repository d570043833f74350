// Device: what every backend offers. Ops are recorded in order; nothing is sure to have run before `sync` or a read.
import { asBytes, bytesOf, checkDType, fromFloat32, hostArray, isBlocks } from './dtype.ts';
import type { DType, HostArrays } from './dtype.ts';
import { Magi1Error, OutOfMemoryError, TensorTooLargeError, describeValue } from './errors.ts';
import { damagedByte } from './guard.ts';
import type { AnyOp, OpCall } from './op.ts';
import { Profiler } from './profile.ts';
import type { Profile } from './profile.ts';
import type { Data } from './queue.ts';
import { byteLengthOf, checkGroups, checkShape, describeSpec, elementCount } from './shape.ts';
import type { Shape, TensorSpec } from './shape.ts';
import { Tensor } from './tensor.ts';

export type Backend = 'webgpu' | 'wasm' | 'reference';

/** A backend's allocation. */
export interface DeviceBuffer extends Data {
  readonly byteLength: number;
  /** For tests: bytes behind it that nobody may write. */
  readonly guardBytes?: number;
}

export interface AllocationOptions {
  /** Long-lived and read only by ops: never pooled, and on wasm kept outside the 4 GiB heap when that gets tight. */
  readonly weight?: boolean;
  /** What the tensor is, in errors: a weight's name, or `linear: output`. */
  readonly name?: string;
}

/** Bytes. `inUse` is held by live tensors, `reserved` is taken from the system (pools included). */
export interface MemoryStats {
  readonly inUse: number;
  readonly reserved: number;
  /** Highest `inUse` since the device was opened or `resetPeak` was called. */
  readonly peak: number;
  /** Of `reserved`: bytes in ordinary memory of the host, such as weights outside the wasm heap. */
  readonly host: number;
  /** Live tensors, views included. */
  readonly tensors: number;
}

export interface DeviceInfo {
  /** The adapter or engine, as it calls itself. */
  readonly name: string;
  /** Why this backend was taken. */
  readonly reason: string;
  readonly features: readonly string[];
  readonly limits: Readonly<Record<string, number>>;
  /** Where tensors lie: in the host's memory (also of software adapters and of GPUs that share it), or in the adapter's own. */
  readonly memory: 'host' | 'adapter';
  /** Bytes of the adapter's own memory. Only Chromium tells, with its WebGPU developer features; Dawn in Node does not. */
  readonly adapterBytes?: number | undefined;
  /** Bytes that tensors may take, where that was limited when the device was opened. */
  readonly memoryBudget?: number | undefined;
}

export interface DeviceOptions {
  /** `auto`: a real GPU if there is one, else wasm. */
  readonly backend?: 'auto' | Backend;
  /** WebGPU only: part of the adapter's name; opening fails when no adapter has it. */
  readonly adapter?: string;
  /** wasm only: number of threads; all cores when left out. */
  readonly threads?: number;
  /** Bytes that tensors may take on the device. */
  readonly memoryBudget?: number;
  /** For tests, WebGPU and wasm: allocations start as NaN and are followed by this many guard bytes. */
  readonly guardBytes?: number;
  /** For tests, WebGPU only: a software adapter gets the kernels meant for hardware. */
  readonly assumeHardware?: boolean;
}

export abstract class Device {
  abstract readonly backend: Backend;
  abstract readonly info: DeviceInfo;
  #inUse = 0;
  #peak = 0;
  #tensors = new Set<Tensor>();
  /** While a profile is taken. */
  protected profiler: Profiler | undefined;

  /** Opens the backend that is asked for; with `auto`, a real GPU or else wasm. Throws Magi1Error. */
  static async open(options: DeviceOptions = {}): Promise<Device> {
    const { openDevice } = await import('./open.ts');
    return openDevice(options);
  }

  /**
   * A fresh buffer of at least `byteLength` bytes, contents undefined. Throws TensorTooLargeError where no empty device
   * could hold it, OutOfMemoryError where this one is full.
   */
  protected abstract allocate(byteLength: number, options: AllocationOptions): DeviceBuffer;
  /** Takes a buffer back; work recorded before may still use it. */
  protected abstract release(buffer: DeviceBuffer): void;
  /** Bytes taken from the system. */
  protected abstract reservedBytes(): number;
  /** Of `reservedBytes`, those in ordinary memory of the host. */
  protected hostBytes(): number {
    return 0;
  }
  /** Bytes of a buffer that lie in memory of the host and stay where they are, if they do: see `Tensor.hostBytes`. */
  hostView(_buffer: DeviceBuffer, _byteOffset: number, _byteLength: number): Uint8Array | undefined {
    return undefined;
  }
  /** What a buffer counts for in `memory().inUse`. */
  protected bytesHeld(buffer: DeviceBuffer): number {
    return buffer.byteLength;
  }
  /** Records one op; inputs and outputs are alive and on this device, shapes are checked. */
  abstract execute(op: AnyOp, call: OpCall): void;
  /** In order with recorded work; the caller may reuse `bytes` at once. */
  abstract writeBuffer(buffer: DeviceBuffer, byteOffset: number, bytes: Uint8Array): void;
  abstract readBuffer(buffer: DeviceBuffer, byteOffset: number, byteLength: number): Promise<Uint8Array>;
  /** Copies bytes from one buffer to another, in order with recorded work; the two must differ. */
  abstract copyBuffer(from: DeviceBuffer, fromByte: number, to: DeviceBuffer, toByte: number, byteLength: number): void;
  /**
   * Resolves when all recorded work is done; rejects with the first error of that work. When `signal` aborts, the promise
   * rejects with its reason and work not yet begun may be dropped: only what was recorded in the synchronous stretch of
   * code that called this, so that several runs can share a device.
   */
  abstract sync(signal?: AbortSignal): Promise<void>;
  /** Hands recorded work to the hardware and waits only if too much is under way: call it between blocks of a model. */
  abstract tick(signal?: AbortSignal): Promise<void>;
  /** Gives pooled memory back to the system. */
  abstract trim(): void;
  /** Frees everything; the device cannot be used after. */
  abstract dispose(): Promise<void>;

  /** A tensor with undefined contents. Throws TensorTooLargeError or OutOfMemoryError, with the tensor in the message. */
  empty<D extends DType>(shape: Shape, dtype: D, options: AllocationOptions = {}): Tensor<D> {
    checkDType('empty', dtype);
    checkShape(`${dtype} tensor`, shape);
    checkGroups(options.name ?? 'empty', { shape, dtype });
    return Tensor.fromBuffer(this, this.bytesFor({ shape, dtype }, options), shape, dtype);
  }

  /** A tensor that is evicted from the start: it takes no bytes until it is restored. */
  absent<D extends DType>(shape: Shape, dtype: D): Tensor<D> {
    checkDType('absent', dtype);
    checkShape(`${dtype} tensor`, shape);
    checkGroups('absent', { shape, dtype });
    return Tensor.fromBuffer(this, undefined, shape, dtype);
  }

  /**
   * A tensor with the given elements: a host array of the dtype (raw bits for f16, bf16, f8e4m3fn, bytes for q8 and q4), or
   * plain numbers, which are rounded to the dtype.
   */
  tensor<D extends DType>(
    data: HostArrays[D] | readonly number[],
    shape: Shape,
    dtype: D,
    options: AllocationOptions = {},
  ): Tensor<D> {
    checkDType('tensor', dtype);
    checkShape('tensor', shape);
    checkGroups('tensor', { shape, dtype });
    const host = Array.isArray(data) ? fromFloat32(dtype, data as readonly number[]) : (data as HostArrays[D]);
    const [length, size] = isBlocks(dtype)
      ? [byteLengthOf({ shape, dtype }), 1]
      : [elementCount(shape), bytesOf(dtype, 1)];
    if (host.length !== length || host.BYTES_PER_ELEMENT !== size) {
      const needs = isBlocks(dtype) ? `${length} bytes` : `${length} elements of ${size} bytes`;
      throw new Magi1Error(
        `tensor: ${describeSpec({ shape, dtype })} needs ${needs}, got ${host.length} of ${host.BYTES_PER_ELEMENT}`,
      );
    }
    const tensor = this.empty(shape, dtype, options);
    tensor.writeBytes(asBytes(host));
    return tensor;
  }

  zeros<D extends DType>(shape: Shape, dtype: D): Tensor<D> {
    checkDType('zeros', dtype);
    checkShape('zeros', shape);
    return this.tensor(hostArray(dtype, elementCount(shape)), shape, dtype);
  }

  /**
   * What every op takes that is recorded while `body` runs, whoever records it. Throws Magi1Error when a profile is being
   * taken on this device already.
   */
  async profile(body: () => unknown): Promise<Profile> {
    if (typeof body !== 'function') throw new Magi1Error(`profile: a function expected, got ${describeValue(body)}`);
    await this.sync();
    if (this.profiler !== undefined) throw new Magi1Error('profile: one is being taken on this device');
    const profiler = this.startProfile();
    try {
      await body();
      await this.sync();
    } finally {
      this.stopProfile();
    }
    return profiler.finish();
  }

  /** In a profile, what is recorded from here on belongs to this stage; else nothing. */
  mark(stage: string): void {
    if (typeof stage !== 'string')
      throw new Magi1Error(`mark: the name of a stage expected, got ${describeValue(stage)}`);
    this.profiler?.mark(stage);
  }

  protected startProfile(): Profiler {
    return (this.profiler = new Profiler('host'));
  }
  protected stopProfile(): void {
    this.profiler = undefined;
  }

  memory(): MemoryStats {
    return {
      inUse: this.#inUse,
      reserved: this.reservedBytes(),
      host: this.hostBytes(),
      peak: this.#peak,
      tensors: this.#tensors.size,
    };
  }
  /** Starts a new peak measurement at the present use. */
  resetPeak(): void {
    this.#peak = this.#inUse;
  }
  /** Tensors not disposed yet, for leak reports. */
  liveTensors(): readonly Tensor[] {
    return [...this.#tensors];
  }

  /** For tests, with `guardBytes`: what was written behind the tensor's buffer, or undefined when nothing was. */
  async guardDamage(tensor: Tensor): Promise<string | undefined> {
    const { buffer } = tensor;
    if (!buffer.guardBytes) return undefined;
    const damaged = damagedByte(await this.readBuffer(buffer, buffer.byteLength, buffer.guardBytes));
    if (damaged === undefined) return undefined;
    return `${describeSpec(tensor)} was overrun: byte ${damaged + 1} behind its padded end was written`;
  }

  /** Called by Tensor only. */
  bytesFor(spec: TensorSpec, options: AllocationOptions): DeviceBuffer {
    let buffer: DeviceBuffer;
    try {
      buffer = this.allocate(byteLengthOf(spec), options);
    } catch (error) {
      throw withTensor(error, `${options.name ?? 'a tensor'} ${describeSpec(spec)}`);
    }
    this.#inUse += this.bytesHeld(buffer);
    this.#peak = Math.max(this.#peak, this.#inUse);
    return buffer;
  }
  /** Called by Tensor only. */
  bytesReleased(buffer: DeviceBuffer): void {
    this.#inUse -= this.bytesHeld(buffer);
    this.release(buffer);
  }
  /** Called by Tensor only. */
  tensorCreated(tensor: Tensor): void {
    this.#tensors.add(tensor);
  }
  /** Called by Tensor only; `buffer` is given when its last holder is gone. */
  tensorDisposed(tensor: Tensor, buffer: DeviceBuffer | undefined): void {
    this.#tensors.delete(tensor);
    if (buffer !== undefined) this.bytesReleased(buffer);
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }
}

function withTensor(error: unknown, what: string): unknown {
  for (const Kind of [OutOfMemoryError, TensorTooLargeError]) {
    if (error instanceof Kind) return new Kind(`${what}: ${error.message}`, { cause: error });
  }
  return error;
}
