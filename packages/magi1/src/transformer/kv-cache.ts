// Keys and values of finished chunks, per layer. Holds at most `slots` chunks: older ones are overwritten. A layer reads
// what it needs before it writes, so a forward may see `slots` chunks and store one more.
import { cast, copyRows } from '@magi1/kernels';
import type { CacheDType } from '@magi1/kernels';
import { Magi1Error, bytesOf, keep, scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';

export interface KvCacheShape {
  readonly layers: number;
  /** Chunks held at once. */
  readonly slots: number;
  readonly tokensPerChunk: number;
  readonly groups: number;
  readonly headDim: number;
  /** How keys and values are stored. */
  readonly dtype: CacheDType;
}

interface Layer {
  readonly k: Tensor; // [slots * tokens, groups, head_dim], after norm and rope
  readonly v: Tensor;
  /** Which chunk each slot holds: while a forward stores a chunk, deeper layers still hold the one it replaces. */
  readonly chunkOfSlot: (number | undefined)[];
}

/** What `attention` takes as its cached keys. */
export interface CachedRing {
  readonly k: Tensor;
  readonly v: Tensor;
  readonly first: number;
  readonly rows: number;
}

export class KvCache {
  readonly shape: KvCacheShape;
  readonly #layers: Layer[] = [];

  constructor(device: Device, shape: KvCacheShape) {
    this.shape = shape;
    const rows = [shape.slots * shape.tokensPerChunk, shape.groups, shape.headDim];
    try {
      for (let i = 0; i < shape.layers; i++) {
        const [k, v] = scope(() => [device.empty(rows, shape.dtype), device.empty(rows, shape.dtype)]) as [
          Tensor,
          Tensor,
        ];
        this.#layers.push({ k: keep(k), v: keep(v), chunkOfSlot: new Array<undefined>(shape.slots).fill(undefined) });
      }
    } catch (error) {
      this.dispose(); // the layers that found room
      throw error;
    }
  }

  /** Bytes of a cache of this shape. */
  static byteLength({ layers, slots, tokensPerChunk, groups, headDim, dtype }: KvCacheShape): number {
    return 2 * layers * bytesOf(dtype, slots * tokensPerChunk * groups * headDim);
  }

  /** Stores one chunk's keys and values, f32 [tokens, groups, head_dim], of one layer. */
  write(layer: number, chunk: number, k: Tensor, v: Tensor): void {
    const { slots, tokensPerChunk, dtype } = this.shape;
    const slot = chunk % slots;
    const held = this.#layers[layer]!;
    const stored = (x: Tensor) => (dtype === 'f32' ? x : cast(x, dtype));
    scope(() => copyRows(held.k, stored(k), slot * tokensPerChunk));
    scope(() => copyRows(held.v, stored(v), slot * tokensPerChunk));
    held.chunkOfSlot[slot] = chunk;
  }

  /** Keys and values of chunks first..end-1, where they lie. */
  ring(layer: number, first: number, end: number): CachedRing | undefined {
    if (first >= end) return undefined;
    const { slots, tokensPerChunk } = this.shape;
    const { k, v, chunkOfSlot } = this.#layers[layer]!;
    for (let chunk = first; chunk < end; chunk++) {
      if (chunkOfSlot[chunk % slots] !== chunk) {
        throw new Magi1Error(`key-value cache: chunk ${chunk} is not held any more`);
      }
    }
    return { k, v, first: (first % slots) * tokensPerChunk, rows: (end - first) * tokensPerChunk };
  }

  dispose(): void {
    for (const { k, v } of this.#layers) {
      k.dispose();
      v.dispose();
    }
  }
}
