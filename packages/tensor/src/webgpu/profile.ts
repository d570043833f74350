// Profiles of a GPU: from timestamps around every dispatch, each of which has a pass of its own while a profile is taken;
// or, on adapters without them, from handing over one op at a time and seeing when it is done.
import { Profiler } from '../profile.ts';
import type { Profile, Timing } from '../profile.ts';
import type { AnyOp, OpCall } from '../op.ts';
import { COPY_SRC, MAP_MODE_READ, MAP_READ, COPY_DST, QUERY_RESOLVE } from './adapter.ts';

const PAIRS = 1024;
const BYTES = PAIRS * 16;

export class TimestampProfiler extends Profiler {
  readonly #gpu: GPUDevice;
  readonly #queries: GPUQuerySet;
  readonly #resolved: GPUBuffer;
  readonly #reading: Promise<void>[] = [];
  #call: Timing | undefined;
  /** Whose dispatches the recording holds. */
  #timings: Timing[] = [];
  #staging: GPUBuffer | undefined;
  /** When the GPU was first given something, by the host's clock, and what its own clock said first. */
  #hostStart: number | undefined;
  #gpuStart: bigint | undefined;

  constructor(gpu: GPUDevice) {
    super('GPU timestamps');
    this.#gpu = gpu;
    this.#queries = gpu.createQuerySet({ type: 'timestamp', count: PAIRS * 2 });
    this.#resolved = gpu.createBuffer({ size: BYTES, usage: QUERY_RESOLVE | COPY_SRC });
  }

  get full(): boolean {
    return this.#timings.length === PAIRS;
  }

  override call(op: AnyOp, call: OpCall): Timing {
    return (this.#call = super.call(op, call));
  }

  /** A pass of the op that was called last, or of the runtime's own. */
  begin(op: string): GPUComputePassTimestampWrites {
    if (this.#call?.op !== op) this.#call = this.add(op, { flops: 0, bytes: 0 });
    const first = this.#timings.push(this.#call) * 2 - 2;
    return { querySet: this.#queries, beginningOfPassWriteIndex: first, endOfPassWriteIndex: first + 1 };
  }

  /** Before a submit. */
  resolve(encoder: GPUCommandEncoder): void {
    const byteLength = this.#timings.length * 16;
    if (byteLength === 0) return;
    this.#hostStart ??= performance.now();
    this.#staging = this.#gpu.createBuffer({ size: byteLength, usage: MAP_READ | COPY_DST });
    encoder.resolveQuerySet(this.#queries, 0, this.#timings.length * 2, this.#resolved, 0);
    encoder.copyBufferToBuffer(this.#resolved, 0, this.#staging, 0, byteLength);
  }

  /** After it. */
  submitted(): void {
    const staging = this.#staging;
    if (staging === undefined) return;
    this.#reading.push(this.#read(staging, this.#timings));
    this.#staging = undefined;
    this.#timings = [];
  }

  drop(): void {
    this.#timings = [];
  }

  override async finish(): Promise<Profile> {
    await Promise.all(this.#reading);
    this.#queries.destroy();
    this.#resolved.destroy();
    return super.finish();
  }

  async #read(staging: GPUBuffer, timings: readonly Timing[]): Promise<void> {
    await staging.mapAsync(MAP_MODE_READ);
    const times = new BigUint64Array(staging.getMappedRange().slice(0));
    staging.destroy();
    timings.forEach((timing, i) => {
      const [begin, end] = [times[2 * i]!, times[2 * i + 1]!];
      this.#gpuStart ??= begin;
      const host = (time: bigint) => this.#hostStart! + Number(time - this.#gpuStart!) / 1e6;
      // A counter that wrapped or was reset gives a negative time: nothing is known then.
      timing.add(host(begin), host(end < begin ? begin : end));
    });
  }
}

export class WaitProfiler extends Profiler {
  readonly #waiting: Promise<void>[] = [];
  #last = 0;

  constructor() {
    super('submission and wait');
  }

  /** The op was submitted alone; `done` resolves when the GPU has computed it. */
  submitted(timing: Timing, done: Promise<undefined>): void {
    const from = performance.now();
    this.#waiting.push(
      done.then(() => {
        const now = performance.now();
        timing.add(Math.max(from, this.#last), now);
        this.#last = now;
      }),
    );
  }

  override async finish(): Promise<Profile> {
    await Promise.all(this.#waiting);
    return super.finish();
  }
}
