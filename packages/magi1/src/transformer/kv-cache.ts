// Keys and values of finished chunks, per layer. Holds at most `slots` chunks: older ones are overwritten.
import { concat, copyRows } from '@magi1/kernels';
import { Magi1Error } from '@magi1/tensor';
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
}

export class KvCache {
  readonly shape: KvCacheShape;
  readonly #layers: readonly Layer[];
  /** Which chunk each slot holds. */
  readonly #chunkOfSlot: (number | undefined)[];

  constructor(device: Device, shape: KvCacheShape) {
    this.shape = shape;
    const rows = [shape.slots * shape.tokensPerChunk, shape.groups, shape.headDim];
    this.#layers = Array.from({ length: shape.layers }, () => ({
      k: device.empty(rows, 'f32'),
      v: device.empty(rows, 'f32'),
    }));
    this.#chunkOfSlot = new Array<number | undefined>(shape.slots).fill(undefined);
  }

  /** Stores one chunk's keys and values [tokens, groups, head_dim] of one layer. */
  write(layer: number, chunk: number, k: Tensor, v: Tensor): void {
    const slot = chunk % this.shape.slots;
    copyRows(this.#layers[layer]!.k, k, slot * this.shape.tokensPerChunk);
    copyRows(this.#layers[layer]!.v, v, slot * this.shape.tokensPerChunk);
    this.#chunkOfSlot[slot] = chunk;
  }

  /** Keys and values of chunks first..end-1 followed by those given, in one piece each. */
  joined(layer: number, first: number, end: number, k: Tensor, v: Tensor): { k: Tensor; v: Tensor } {
    if (first >= end) return { k, v };
    const { slots, tokensPerChunk } = this.shape;
    const ranges = Array.from({ length: end - first }, (_, i) => {
      const slot = (first + i) % slots;
      if (this.#chunkOfSlot[slot] !== first + i)
        throw new Magi1Error(`key-value cache: chunk ${first + i} is not held any more`);
      return [slot * tokensPerChunk, (slot + 1) * tokensPerChunk] as const;
    });
    const { k: keys, v: values } = this.#layers[layer]!;
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
