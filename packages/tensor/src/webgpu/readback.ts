// Reading GPU buffers through reused staging buffers: fresh ones are many times slower.
import { COPY_DST, MAP_MODE_READ, MAP_READ } from './adapter.ts';

const PIECE = 32 * 2 ** 20;
const SMALLEST = 2 ** 16;
const KEPT_BYTES = 4 * PIECE;

interface Piece {
  readonly staging: GPUBuffer;
  readonly byteStart: number;
  readonly byteLength: number;
}

export class Readback {
  readonly #gpu: GPUDevice;
  #free: GPUBuffer[] = [];
  #reserved = 0;

  constructor(gpu: GPUDevice) {
    this.#gpu = gpu;
  }

  get reserved(): number {
    return this.#reserved;
  }

  /** Staging for `byteLength` bytes (a multiple of four), as pieces to copy into. */
  take(byteLength: number): Piece[] {
    const pieces: Piece[] = [];
    for (let byteStart = 0; byteStart < byteLength; byteStart += PIECE) {
      const length = Math.min(PIECE, byteLength - byteStart);
      pieces.push({ staging: this.#staging(length), byteStart, byteLength: length });
    }
    return pieces;
  }

  /** Maps each piece and copies it out; `wait` waits for a mapping. Gives the staging back in any case. */
  async collect(
    pieces: readonly Piece[],
    wait: (mapping: Promise<undefined>) => Promise<unknown>,
  ): Promise<Uint8Array> {
    const last = pieces.at(-1)!;
    const bytes = new Uint8Array(last.byteStart + last.byteLength);
    const waiting = [...pieces];
    try {
      for (const piece of pieces) {
        await wait(piece.staging.mapAsync(MAP_MODE_READ, 0, piece.byteLength));
        bytes.set(new Uint8Array(piece.staging.getMappedRange(0, piece.byteLength)), piece.byteStart);
        piece.staging.unmap();
        this.#give(waiting.shift()!.staging);
      }
    } finally {
      for (const { staging } of waiting) this.#destroy(staging);
    }
    return bytes;
  }

  trim(): void {
    for (const staging of this.#free.splice(0)) this.#destroy(staging);
  }

  #staging(byteLength: number): GPUBuffer {
    const size = Math.max(SMALLEST, 2 ** Math.ceil(Math.log2(byteLength)));
    const index = this.#free.findIndex((staging) => staging.size === size);
    if (index >= 0) return this.#free.splice(index, 1)[0]!;
    this.#reserved += size;
    return this.#gpu.createBuffer({ label: 'readback', size, usage: MAP_READ | COPY_DST });
  }

  #give(staging: GPUBuffer): void {
    this.#free.push(staging);
    while (this.#free.reduce((sum, { size }) => sum + size, 0) > KEPT_BYTES) this.#destroy(this.#free.shift()!);
  }

  #destroy(staging: GPUBuffer): void {
    this.#reserved -= staging.size;
    staging.destroy();
  }
}
