// Where a wasm device keeps bytes: the wasm heap (addresses that kernels can use) and host memory outside it.
import type { DeviceBuffer } from '../device.ts';
import { Magi1Error } from '../errors.ts';
import { HeapAllocator } from './heap.ts';

export const PAGE = 65536;
const MAX_PAGES = 65536;
/** Where tensors begin: address 0 stays unused. */
export const HEAP_BASE = 64;
/** Weights leave the rest of the 4 GiB heap to activations. Those outside cost next to nothing where tokens are many. */
export const HEAP_WEIGHT_LIMIT = 2 ** 29;
/** Small weights (norms, biases) are read whole by every item and always stay inside. */
export const SMALLEST_EXTERNAL = 2 ** 20;
/** Growing is not free: at least this many bytes at a time. */
const GROWTH = 16 * 2 ** 20;
/** One chunk of an external buffer; engines limit single array buffers to a few GiB. */
const CHUNK = 2 ** 30;

/** A buffer in the wasm heap. */
export class HeapBuffer implements DeviceBuffer {
  readonly address: number;
  readonly byteLength: number;
  readonly guardBytes: number;
  spoiled?: Error;
  constructor(address: number, byteLength: number, guardBytes = 0) {
    this.address = address;
    this.byteLength = byteLength;
    this.guardBytes = guardBytes;
  }
}

/** A buffer outside the wasm heap. */
export class ExternalBuffer implements DeviceBuffer {
  readonly id: number;
  readonly byteLength: number;
  chunks: readonly Uint8Array[];
  spoiled?: Error;

  constructor(id: number, byteLength: number, chunks: readonly Uint8Array[]) {
    this.id = id;
    this.byteLength = byteLength;
    this.chunks = chunks;
  }

  static allocate(id: number, byteLength: number, shared: boolean, chunkBytes = CHUNK): ExternalBuffer {
    const chunks: Uint8Array[] = [];
    for (let at = 0; at < byteLength; at += chunkBytes) {
      const length = Math.min(chunkBytes, byteLength - at);
      chunks.push(new Uint8Array(shared ? new SharedArrayBuffer(length) : new ArrayBuffer(length)));
    }
    return new ExternalBuffer(id, byteLength, chunks);
  }

  /** Lets go of the bytes. */
  drop(): void {
    this.chunks = [];
  }

  /** The bytes themselves, where they lie in one chunk. */
  view(byteOffset: number, byteLength: number): Uint8Array | undefined {
    const chunkBytes = this.chunks[0]?.byteLength ?? 1;
    const start = byteOffset % chunkBytes;
    if (start + byteLength > chunkBytes) return undefined;
    return this.chunks[Math.floor(byteOffset / chunkBytes)]?.subarray(start, start + byteLength);
  }

  write(byteOffset: number, bytes: Uint8Array): void {
    this.#pieces(byteOffset, bytes.byteLength, (piece, at) => piece.set(bytes.subarray(at, at + piece.byteLength)));
  }
  copyTo(byteOffset: number, target: Uint8Array): void {
    this.#pieces(byteOffset, target.byteLength, (piece, at) => target.set(piece, at));
  }

  /** Visits the stretches of the chunks that make up a range, with each one's place in the range. */
  #pieces(byteOffset: number, byteLength: number, visit: (piece: Uint8Array, at: number) => void): void {
    const chunkBytes = this.chunks[0]?.byteLength ?? 1;
    for (let at = 0; at < byteLength;) {
      const chunk = this.chunks[Math.floor((byteOffset + at) / chunkBytes)]!;
      const start = (byteOffset + at) % chunkBytes;
      const piece = chunk.subarray(start, Math.min(chunk.byteLength, start + byteLength - at));
      visit(piece, at);
      at += piece.byteLength;
    }
  }
}

/** Bytes by which a memory of `present` bytes grows to hold `end`. */
export function heapGrowth(present: number, end: number): number {
  return Math.max(end - present, GROWTH, Math.ceil(present / 8 / PAGE) * PAGE);
}

/** The WebAssembly memory with its allocator. */
export class WasmHeap {
  readonly memory: WebAssembly.Memory;
  readonly allocator: HeapAllocator;
  /** Bytes the memory may grow to. */
  readonly limit: number;
  #bytes: Uint8Array;

  constructor(shared: boolean) {
    [this.memory, this.limit] = openMemory(shared);
    this.#bytes = new Uint8Array(this.memory.buffer);
    // The last page stays unused: kernels may read a little past the end of a tensor.
    this.allocator = new HeapAllocator(HEAP_BASE, this.limit - PAGE, (end) => this.#commit(end + PAGE));
  }

  get reserved(): number {
    return this.memory.buffer.byteLength;
  }

  /** A view of heap bytes, good until the next allocation. The address may come as a signed 32-bit number. */
  view(address: number, byteLength: number): Uint8Array {
    if (this.#bytes.buffer !== this.memory.buffer) this.#bytes = new Uint8Array(this.memory.buffer);
    return this.#bytes.subarray(address >>> 0, (address >>> 0) + byteLength);
  }

  #commit(end: number): boolean {
    const present = this.memory.buffer.byteLength;
    if (end <= present) return true;
    const wish = Math.min(heapGrowth(present, end), this.limit - present);
    return this.#grow(wish) || this.#grow(end - present);
  }
  #grow(bytes: number): boolean {
    try {
      this.memory.grow(Math.ceil(bytes / PAGE));
      return true;
    } catch {
      // The engine or the system has no more memory: the allocation reports it.
      return false;
    }
  }
}

/** The largest memory that the engine lets us reserve, with its limit in bytes. */
function openMemory(shared: boolean): [WebAssembly.Memory, number] {
  let last: unknown;
  for (let maximum = MAX_PAGES; maximum >= 4096; maximum /= 2) {
    try {
      return [new WebAssembly.Memory({ initial: 16, maximum, shared }), maximum * PAGE];
    } catch (error) {
      last = error;
    }
  }
  throw new Magi1Error(`wasm: no memory could be reserved: ${String(last)}`);
}
