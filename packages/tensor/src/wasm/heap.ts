// Allocator of the wasm heap: best fit over a free list with coalescing; it knows addresses only and touches no memory.

export const HEAP_ALIGNMENT = 64;

export function alignUp(bytes: number): number {
  return Math.ceil(bytes / HEAP_ALIGNMENT) * HEAP_ALIGNMENT;
}

interface FreeBlock {
  readonly address: number;
  readonly size: number;
}

export class HeapAllocator {
  readonly #base: number;
  readonly #limit: number;
  readonly #commit: (end: number) => boolean;
  /** Free blocks below the top, by size, then address; neighbours are always merged. */
  readonly #bySize: FreeBlock[] = [];
  readonly #byStart = new Map<number, FreeBlock>();
  readonly #byEnd = new Map<number, FreeBlock>();
  readonly #sizes = new Map<number, number>();
  /** Everything from here to the limit is free. */
  #top: number;
  #used = 0;

  /** Serves addresses `base` to `limit`; `commit(end)` makes memory below `end` usable or says that it cannot. */
  constructor(base: number, limit: number, commit: (end: number) => boolean) {
    this.#base = alignUp(base);
    this.#limit = Math.floor(limit / HEAP_ALIGNMENT) * HEAP_ALIGNMENT;
    this.#commit = commit;
    this.#top = this.#base;
  }

  /** Bytes in live blocks. */
  get used(): number {
    return this.#used;
  }
  /** The largest block that an empty heap could give. */
  get capacity(): number {
    return this.#limit - this.#base;
  }
  /** The largest block that could be given now. */
  get largestFree(): number {
    return Math.max(this.#limit - this.#top, this.#bySize.at(-1)?.size ?? 0);
  }

  /** The address of `bytes` fresh bytes, a multiple of 64, or undefined when there is no room. */
  allocate(bytes: number): number | undefined {
    const size = Math.max(alignUp(bytes), HEAP_ALIGNMENT);
    const fit = this.#bySize[this.#firstAtLeast(size, 0)];
    let address: number;
    if (fit !== undefined) {
      this.#unlink(fit);
      address = fit.address;
      if (fit.size > size) this.#link({ address: address + size, size: fit.size - size });
    } else {
      if (this.#top + size > this.#limit || !this.#commit(this.#top + size)) return undefined;
      address = this.#top;
      this.#top += size;
    }
    this.#sizes.set(address, size);
    this.#used += size;
    return address;
  }

  free(address: number): void {
    const size = this.#sizes.get(address);
    if (size === undefined) throw new RangeError(`heap: no block at ${address}`);
    this.#sizes.delete(address);
    this.#used -= size;
    let start = address;
    let end = address + size;
    const before = this.#byEnd.get(start);
    if (before !== undefined) {
      this.#unlink(before);
      start = before.address;
    }
    const after = this.#byStart.get(end);
    if (after !== undefined) {
      this.#unlink(after);
      end += after.size;
    }
    if (end === this.#top) this.#top = start;
    else this.#link({ address: start, size: end - start });
  }

  #link(block: FreeBlock): void {
    this.#bySize.splice(this.#firstAtLeast(block.size, block.address), 0, block);
    this.#byStart.set(block.address, block);
    this.#byEnd.set(block.address + block.size, block);
  }
  #unlink(block: FreeBlock): void {
    this.#bySize.splice(this.#firstAtLeast(block.size, block.address), 1);
    this.#byStart.delete(block.address);
    this.#byEnd.delete(block.address + block.size);
  }
  /** Index of the first free block that is not before (size, address). */
  #firstAtLeast(size: number, address: number): number {
    let low = 0;
    let high = this.#bySize.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      const block = this.#bySize[middle]!;
      if (block.size < size || (block.size === size && block.address < address)) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}
