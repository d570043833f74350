// Deferred execution for devices that compute on the host's own threads: jobs run in order, with yields between them.

/** Gives the event loop one turn, so that timers, I/O and signals are served. */
export function yieldToEventLoop(): Promise<void> {
  return new Promise((resolve) => {
    if (typeof setImmediate === 'function') setImmediate(resolve);
    else postTurn(resolve);
  });
}

// Browsers make nested timers wait 4 ms; messages come at the next turn.
let turns: MessageChannel | undefined;
const waiting: (() => void)[] = [];
function postTurn(resolve: () => void): void {
  if (turns === undefined) {
    turns = new MessageChannel();
    turns.port1.onmessage = () => waiting.shift()?.();
  }
  waiting.push(resolve);
  turns.port2.postMessage(null);
}

const YIELD_EVERY_MS = 8;

/** Gets the signal of the drain that runs it; a long job should heed it. */
export type Job = (signal?: AbortSignal) => void | Promise<void>;

export class JobQueue {
  #jobs: Job[] = [];
  #head = 0;
  #draining: Promise<void> | undefined;

  get empty(): boolean {
    return this.#head === this.#jobs.length && this.#draining === undefined;
  }

  push(job: Job): void {
    this.#jobs.push(job);
  }

  /** Runs what is queued. When `signal` aborts, what has not begun is dropped and the promise rejects. */
  async drain(signal?: AbortSignal): Promise<void> {
    while (this.#draining !== undefined) await this.#draining.catch(() => undefined);
    this.#draining = this.#run(signal);
    try {
      await this.#draining;
    } finally {
      this.#draining = undefined;
    }
  }

  clear(): void {
    this.#jobs = [];
    this.#head = 0;
  }

  async #run(signal?: AbortSignal): Promise<void> {
    let last = performance.now();
    try {
      while (this.#head < this.#jobs.length) {
        signal?.throwIfAborted();
        const job = this.#jobs[this.#head++]!;
        const pending = job(signal);
        if (pending !== undefined) await pending;
        const now = performance.now();
        if (now - last > YIELD_EVERY_MS) {
          await yieldToEventLoop();
          last = performance.now();
        }
      }
      signal?.throwIfAborted();
    } finally {
      this.clear();
    }
  }
}
