// Tensor memory: GPU buffers of exact sizes, a pool of released ones with a byte cap, and the memory budget.
import type { DeviceBuffer } from '../device.ts';
import { OutOfMemoryError, TensorTooLargeError } from '../errors.ts';
import { COPY_DST, COPY_SRC, STORAGE } from './adapter.ts';

/** Buffers are padded to this, so that kernels may read whole words and vectors at the end. */
const GRANULE = 16;

const POOL_BYTES = 2 ** 31;

export class GpuBuffer implements DeviceBuffer {
  /** Never reused: keys of bind groups are made of it. */
  readonly id: number;
  readonly gpu: GPUBuffer;
  /** Padded size, without guard. */
  readonly byteLength: number;
  readonly guardBytes: number;
  readonly weight: boolean;
  /** Bytes asked for; what lies behind them is padding. */
  contentBytes = 0;
  /** The recording that used the buffer last. */
  usedIn = 0;

  constructor(id: number, gpu: GPUBuffer, byteLength: number, guardBytes: number, weight: boolean) {
    this.id = id;
    this.gpu = gpu;
    this.byteLength = byteLength;
    this.guardBytes = guardBytes;
    this.weight = weight;
  }
}

/** What buffers are made by: a GPUDevice, except on the meta device. */
export interface BufferSource {
  readonly limits: { readonly maxBufferSize: number };
  createBuffer(descriptor: GPUBufferDescriptor): GPUBuffer;
}

export interface MemoryOptions {
  /** Bytes that tensors may take, pooled ones included. */
  readonly budget?: number | undefined;
  /** For tests: bytes added behind every buffer. */
  readonly guardBytes?: number | undefined;
}

export class Memory {
  readonly #gpu: BufferSource;
  readonly #maxBufferSize: number;
  readonly #budget: number;
  readonly #poolBytes: number;
  readonly #guardBytes: number;
  /** Submits recorded work and then calls `submitted`. */
  readonly #flush: () => void;
  /** Insertion order is order of release. */
  readonly #pool = new Set<GpuBuffer>();
  readonly #bySize = new Map<number, GpuBuffer[]>();
  readonly #dead: GpuBuffer[] = [];
  #pooled = 0;
  #reserved = 0;
  #ids = 0;

  constructor(gpu: BufferSource, options: MemoryOptions, flush: () => void) {
    this.#gpu = gpu;
    this.#maxBufferSize = gpu.limits.maxBufferSize;
    this.#budget = options.budget ?? Infinity;
    this.#poolBytes = Math.min(POOL_BYTES, this.#budget);
    this.#guardBytes = options.guardBytes ?? 0;
    this.#flush = flush;
  }

  get reserved(): number {
    return this.#reserved;
  }

  /** Contents are undefined. */
  allocate(byteLength: number, weight: boolean): GpuBuffer {
    const padded = Math.max(GRANULE, Math.ceil(byteLength / GRANULE) * GRANULE);
    const size = padded + this.#guardBytes;
    if (size > this.#maxBufferSize) {
      throw new TensorTooLargeError(
        `WebGPU: ${byteLength} bytes exceed the adapter's largest buffer of ${this.#maxBufferSize} bytes (maxBufferSize); ` +
          'make it smaller, or use another adapter',
      );
    }
    if (size > this.#budget) {
      throw new TensorTooLargeError(`WebGPU: ${byteLength} bytes are more than the memory budget of ${this.#budget}`);
    }
    const recycled = weight ? undefined : this.#takePooled(padded);
    const buffer = recycled ?? this.#create(byteLength, padded, size, weight);
    buffer.contentBytes = byteLength;
    return buffer;
  }

  /** Recorded work may still use the buffer. */
  release(buffer: GpuBuffer): void {
    if (buffer.weight || buffer.byteLength > this.#poolBytes) {
      this.#dead.push(buffer);
      return;
    }
    this.#pool.add(buffer);
    const same = this.#bySize.get(buffer.byteLength);
    if (same === undefined) this.#bySize.set(buffer.byteLength, [buffer]);
    else same.push(buffer);
    this.#pooled += buffer.byteLength;
    for (const oldest of this.#pool) {
      if (this.#pooled <= this.#poolBytes) break;
      this.#takeOut(oldest);
      this.#dead.push(oldest);
    }
  }

  /** To be called after every submit: destroys what was given up before it. */
  submitted(): void {
    for (const buffer of this.#dead.splice(0)) {
      buffer.gpu.destroy();
      this.#reserved -= buffer.byteLength + buffer.guardBytes;
    }
  }

  /** Destroys everything that no tensor holds. */
  trim(): void {
    for (const buffer of [...this.#pool]) {
      this.#takeOut(buffer);
      this.#dead.push(buffer);
    }
    this.#flush();
  }

  #takePooled(byteLength: number): GpuBuffer | undefined {
    const buffer = this.#bySize.get(byteLength)?.at(-1);
    if (buffer !== undefined) this.#takeOut(buffer);
    return buffer;
  }

  #takeOut(buffer: GpuBuffer): void {
    this.#pool.delete(buffer);
    const same = this.#bySize.get(buffer.byteLength)!;
    same.splice(same.indexOf(buffer), 1);
    if (same.length === 0) this.#bySize.delete(buffer.byteLength);
    this.#pooled -= buffer.byteLength;
  }

  #create(byteLength: number, padded: number, size: number, weight: boolean): GpuBuffer {
    if (this.#reserved + size > this.#budget) this.trim();
    if (this.#reserved + size > this.#budget) {
      throw new OutOfMemoryError(
        `WebGPU: ${byteLength} bytes asked for, ${this.#reserved} in use of a memory budget of ${this.#budget}`,
      );
    }
    const buffer = this.#gpu.createBuffer({
      label: `tensor of ${byteLength} bytes`,
      size,
      usage: STORAGE | COPY_SRC | COPY_DST,
    });
    this.#reserved += size;
    return new GpuBuffer(++this.#ids, buffer, padded, this.#guardBytes, weight);
  }
}
