// One call of a pipeline while it is under way: how far it is, what ends it early, and the listeners that it has.

export type StageName = 'loading' | 'text' | 'encoding' | 'denoising' | 'decoding';

export interface Progress {
  readonly stage: StageName;
  /** What is being worked on: a network's name, `chunks 1 to 4 of 8`. */
  readonly detail: string;
  /** Of the whole call, 0 to 1; never falls. Stages count by an estimate of their work. */
  readonly fraction: number;
  /** Of the stage, 0 to 1. Denoising and decoding alternate; each has its own. */
  readonly stageFraction: number;
  /** Seconds until the call is done at the present pace; undefined while nothing is known. */
  readonly secondsLeft: number | undefined;
}

/** Called at once, and not waited for; where it returns a promise that rejects, the call ends with that error. */
export type ProgressListener = (progress: Progress) => unknown;

/** Work of each stage of a call, in one unit. */
export type Work = Partial<Readonly<Record<StageName, number>>>;

/** Tells a listener how far a call is. */
export class CallProgress {
  readonly #listener: ProgressListener | undefined;
  readonly #work: Work;
  readonly #stages = new Map<StageName, StageProgress>();
  #fraction = 0;
  #pace: { readonly time: number; readonly fraction: number } | undefined;

  constructor(work: Work, listener: ProgressListener | undefined) {
    this.#work = work;
    this.#listener = listener;
    if (Object.values(work).filter((share) => share > 0).length === 1) this.measureFromHere();
  }

  /** A stage, whose own work is counted in any unit. */
  stage(name: StageName, total: number): StageProgress {
    const stage = new StageProgress(total, (detail) => this.#tell(name, detail));
    this.#stages.set(name, stage);
    return stage;
  }

  /** From here on the time left is judged by the pace of what comes: stages differ in theirs. */
  measureFromHere(): void {
    this.#pace = { time: performance.now(), fraction: this.#now() };
  }

  #tell(stage: StageName, detail: string): void {
    const fraction = this.#now();
    this.#fraction = fraction;
    this.#listener?.({
      stage,
      detail,
      fraction,
      stageFraction: this.#stages.get(stage)!.fraction,
      secondsLeft: this.#secondsLeft(fraction),
    });
  }

  #secondsLeft(fraction: number): number | undefined {
    if (this.#pace === undefined || fraction <= this.#pace.fraction) return undefined;
    const seconds = (performance.now() - this.#pace.time) / 1000;
    return (seconds * (1 - fraction)) / (fraction - this.#pace.fraction);
  }

  #now(): number {
    let done = 0;
    let all = 0;
    for (const [name, work] of Object.entries(this.#work) as [StageName, number][]) {
      all += work;
      done += work * (this.#stages.get(name)?.fraction ?? 0);
    }
    return Math.max(this.#fraction, all === 0 ? 1 : Math.min(1, done / all));
  }
}

export class StageProgress {
  readonly #total: number;
  readonly #tell: (detail: string) => void;
  readonly #start = performance.now();
  #done = 0;

  constructor(total: number, tell: (detail: string) => void) {
    this.#total = total;
    this.#tell = tell;
  }

  /** Seconds since the stage began. */
  get seconds(): number {
    return (performance.now() - this.#start) / 1000;
  }
  get done(): number {
    return this.#done;
  }
  get fraction(): number {
    return this.#total === 0 ? 1 : Math.min(1, this.#done / this.#total);
  }

  at(done: number, detail: string): void {
    this.#done = done;
    this.#tell(detail);
  }

  advance(by: number, detail: string): void {
    this.at(this.#done + by, detail);
  }

  /** All is done, also what turned out to be unneeded; nobody is told before the next stage is. */
  finish(): void {
    this.#done = this.#total;
  }
}

export interface CallOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/** Ends by the caller's signals, when its pipeline is disposed, and when its listener's promise rejects. */
export class Call {
  readonly signal: AbortSignal;
  readonly #controller = new AbortController();
  readonly #sources: readonly AbortSignal[];
  readonly #onProgress: ProgressListener | undefined;
  readonly #listening = new Set<Promise<void>>();
  #failure: { readonly error: unknown } | undefined;

  constructor({ signal, onProgress }: CallOptions, ...others: readonly (AbortSignal | undefined)[]) {
    this.signal = this.#controller.signal;
    this.#sources = [...others, signal].filter((source) => source !== undefined);
    this.#onProgress = onProgress;
    for (const source of this.#sources) {
      if (source.aborted) this.#controller.abort(source.reason);
      source.addEventListener('abort', this.#abort);
    }
  }

  readonly #abort = ({ target }: Event): void => this.#controller.abort((target as AbortSignal).reason);

  /** The caller's listener. It is called at once and not waited for; a promise of it that rejects ends the call. */
  readonly onProgress = (progress: Progress): void => {
    const answer: unknown = this.#onProgress?.(progress);
    if (!(answer instanceof Promise)) return;
    const settled: Promise<void> = answer.then(
      () => void this.#listening.delete(settled),
      (error: unknown) => {
        this.#failure ??= { error };
        this.#controller.abort(error);
      },
    );
    this.#listening.add(settled);
  };

  /** What listeners have begun is waited for: @throws what one of them rejected with. */
  async settle(): Promise<void> {
    await Promise.all(this.#listening);
    if (this.#failure !== undefined) throw this.#failure.error;
  }

  [Symbol.dispose](): void {
    for (const source of this.#sources) source.removeEventListener('abort', this.#abort);
  }
}
