// Watches the latents of a run: a small reduction after every step, read while the device works on the next ones, so that
// no step waits for it. The first step that went wrong is named, whenever its value arrives.
import { MagnitudeReading, NotFiniteError, magnitudeFault } from '../not-finite.ts';

/** What a step has left in each chunk that it worked on. */
interface WatchedStep {
  readonly index: number;
  readonly chunks: readonly number[];
  readonly arrived: Promise<void>;
  magnitudes: readonly number[] | undefined;
}

export interface RunExtent {
  readonly steps: number;
  /** Chunks that are made, and whole prefix chunks before them. */
  readonly chunks: number;
  readonly chunkOffset: number;
}

export class LatentWatch {
  readonly #extent: RunExtent;
  readonly #remedies: readonly string[];
  #steps: WatchedStep[] = [];

  constructor(extent: RunExtent, remedies: readonly string[] = []) {
    this.#extent = extent;
    this.#remedies = remedies;
  }

  /** Reads what was recorded after a step; call it when that work has been handed to the device. */
  add(index: number, chunks: readonly number[], reading: MagnitudeReading): void {
    const arrived = reading.read().then((magnitudes) => {
      step.magnitudes = magnitudes;
    });
    arrived.catch(() => undefined); // `settle` and `check` tell
    const step: WatchedStep = { index, chunks, arrived, magnitudes: undefined };
    this.#steps.push(step);
  }

  /** Looks at what has arrived, in order; waits for nothing. */
  checkArrived(): void {
    while (this.#steps[0]?.magnitudes !== undefined) this.#check(this.#steps.shift()!);
  }

  /** Waits for all that is under way. */
  async check(): Promise<void> {
    for (const step of this.#steps) await step.arrived;
    this.checkArrived();
  }

  /** Ends when nothing is under way any more, whatever its outcome. */
  async settle(): Promise<void> {
    await Promise.allSettled(this.#steps.map(({ arrived }) => arrived));
  }

  #check({ index, chunks, magnitudes }: WatchedStep): void {
    const { steps, chunks: count, chunkOffset } = this.#extent;
    const bad = magnitudes!.findIndex((magnitude) => magnitudeFault(magnitude) !== undefined);
    if (bad < 0) return;
    throw new NotFiniteError(
      {
        stage: 'denoising',
        what: 'the latents',
        chunk: { index: chunks[bad]! - chunkOffset, count },
        step: { index, count: steps },
      },
      magnitudes![bad]!,
      this.#remedies,
    );
  }
}
