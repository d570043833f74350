// Keys and values of finished chunks, per layer. Holds at most `slots` chunks: older ones are overwritten. A layer reads
// what it needs before it writes, so a forward may see `slots` chunks and store one more.
import { concat, copyRows } from '@magi1/kernels';
import { Magi1Error, keep, scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';

export interface KvCacheShape {
  readonly layers: number;
  /** Chunks held at once. */
  readonly slots: number;
  readonly tokensPerChunk: number;
  readonly groups: number;
  readonly headDim: number;
}

interface Layer {
  readonly k: Tensor; // [slots * tokens, groups, head_dim], after norm and rope
  readonly v: Tensor;
  /** Which chunk each slot holds: while a forward stores a chunk, deeper layers still hold the one it replaces. */
  readonly chunkOfSlot: (number | undefined)[];
}

export class KvCache {
  readonly shape: KvCacheShape;
  readonly #layers: Layer[] = [];

  constructor(device: Device, shape: KvCacheShape) {
    this.shape = shape;
    const rows = [shape.slots * shape.tokensPerChunk, shape.groups, shape.headDim];
    try {
      for (let i = 0; i < shape.layers; i++) {
        const [k, v] = scope(() => [device.empty(rows, 'f32'), device.empty(rows, 'f32')]) as [Tensor, Tensor];
        this.#layers.push({ k: keep(k), v: keep(v), chunkOfSlot: new Array<undefined>(shape.slots).fill(undefined) });
      }
    } catch (error) {
      this.dispose(); // the layers that found room
      throw error;
    }
  }

  /** Stores one chunk's keys and values [tokens, groups, head_dim] of one layer. */
  write(layer: number, chunk: number, k: Tensor, v: Tensor): void {
    const slot = chunk % this.shape.slots;
    const held = this.#layers[layer]!;
    copyRows(held.k, k, slot * this.shape.tokensPerChunk);
    copyRows(held.v, v, slot * this.shape.tokensPerChunk);
    held.chunkOfSlot[slot] = chunk;
  }

  /** Keys and values of chunks first..end-1 followed by those given, in one piece each. */
  joined(layer: number, first: number, end: number, k: Tensor, v: Tensor): { k: Tensor; v: Tensor } {
    if (first >= end) return { k, v };
    const { slots, tokensPerChunk } = this.shape;
    const { k: keys, v: values, chunkOfSlot } = this.#layers[layer]!;
    const ranges = Array.from({ length: end - first }, (_, i) => {
      const slot = (first + i) % slots;
      if (chunkOfSlot[slot] !== first + i)
        throw new Magi1Error(`key-value cache: chunk ${first + i} is not held any more`);
      return [slot * tokensPerChunk, (slot + 1) * tokensPerChunk] as const;
    });
    return {
      k: concat([...ranges.map((range) => keys.slice(...range)), k], 0),
      v: concat([...ranges.map((range) => values.slice(...range)), v], 0),
    };
  }

  dispose(): void {
    for (const { k, v } of this.#layers) {
      k.dispose();
      v.dispose();
    }
  }
}
