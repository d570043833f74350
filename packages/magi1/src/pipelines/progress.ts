// How far a run is: a fraction and the time left per stage.

export type StageName = 'loading' | 'text' | 'encoding' | 'denoising' | 'decoding';

export interface Progress {
  readonly stage: StageName;
  /** What is being worked on: a network's name, `step 3 of 40`, `chunk 2 of 4`. */
  readonly detail: string;
  /** Of the stage, 0 to 1. Denoising and decoding alternate; each has its own. */
  readonly fraction: number;
  /** Seconds until the stage is done at the present pace; undefined while nothing is known. */
  readonly secondsLeft: number | undefined;
}

export type ProgressListener = (progress: Progress) => void;

/** Tells a listener about one stage, whose work is counted in any unit. */
export class StageProgress {
  readonly #stage: StageName;
  readonly #listener: ProgressListener | undefined;
  readonly #total: number;
  readonly #start = performance.now();
  #done = 0;

  constructor(stage: StageName, total: number, listener: ProgressListener | undefined) {
    this.#stage = stage;
    this.#total = total;
    this.#listener = listener;
  }

  /** Seconds since the stage began. */
  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }

  at(done: number, detail: string): void {
    this.#done = done;
    const fraction = this.#total === 0 ? 1 : Math.min(1, this.#done / this.#total);
    const secondsLeft = fraction > 0 ? (this.seconds * (1 - fraction)) / fraction : undefined;
    this.#listener?.({ stage: this.#stage, detail, fraction, secondsLeft });
  }

  advance(by: number, detail: string): void {
    this.at(this.#done + by, detail);
  }
}
