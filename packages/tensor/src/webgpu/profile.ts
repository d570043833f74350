// GPU time per op, from timestamps around every dispatch. While a profile is taken each dispatch has a pass of its own.
import { COPY_SRC, MAP_MODE_READ, MAP_READ, COPY_DST, QUERY_RESOLVE } from './adapter.ts';

/** GPU time of one op in a profile. */
export interface OpProfile {
  readonly op: string;
  readonly dispatches: number;
  readonly milliseconds: number;
}

const PAIRS = 1024;
const BYTES = PAIRS * 16;

export class Profiler {
  readonly #gpu: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #totals = new Map<string, { dispatches: number; nanoseconds: number }>();
  readonly #reading: Promise<void>[] = [];
  #ops: string[] = [];
  #staging: GPUBuffer | undefined;

  constructor(gpu: GPUDevice) {
    this.#gpu = gpu;
    this.#queries = gpu.createQuerySet({ type: 'timestamp', count: PAIRS * 2 });
    this.#resolved = gpu.createBuffer({ size: BYTES, usage: QUERY_RESOLVE | COPY_SRC });
  }

  get full(): boolean {
    return this.#ops.length === PAIRS;
  }

  begin(op: string): GPUComputePassTimestampWrites {
    const first = this.#ops.push(op) * 2 - 2;
    return { querySet: this.#queries, beginningOfPassWriteIndex: first, endOfPassWriteIndex: first + 1 };
  }

  /** Before a submit. */
  resolve(encoder: GPUCommandEncoder): void {
    const byteLength = this.#ops.length * 16;
    if (byteLength === 0) return;
    this.#staging = this.#gpu.createBuffer({ size: byteLength, usage: MAP_READ | COPY_DST });
    encoder.resolveQuerySet(this.#queries, 0, this.#ops.length * 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, byteLength);
  }

  /** After it. */
  submitted(): void {
    const staging = this.#staging;
    if (staging === undefined) return;
    this.#reading.push(this.#read(staging, this.#ops));
    this.#staging = undefined;
    this.#ops = [];
  }

  drop(): void {
    this.#ops = [];
  }

  /** The result, the dearest op first. */
  async finish(): Promise<OpProfile[]> {
    await Promise.all(this.#reading);
    this.#queries.destroy();
    this.#resolved.destroy();
    const rows = [...this.#totals].map(([op, { dispatches, nanoseconds }]) => ({
      op,
      dispatches,
      milliseconds: nanoseconds / 1e6,
    }));
    return rows.sort((a, b) => b.milliseconds - a.milliseconds);
  }

  async #read(staging: GPUBuffer, ops: readonly string[]): Promise<void> {
    await staging.mapAsync(MAP_MODE_READ);
    const times = new BigUint64Array(staging.getMappedRange().slice(0));
    staging.destroy();
    ops.forEach((op, i) => {
      const total = this.#totals.get(op) ?? { dispatches: 0, nanoseconds: 0 };
      total.dispatches++;
      // A counter that wrapped or was reset gives a negative time: nothing is known then.
      total.nanoseconds += Math.max(0, Number(times[2 * i + 1]! - times[2 * i]!));
      this.#totals.set(op, total);
    });
  }
}
