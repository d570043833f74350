// Deferred execution for devices that compute on the host's own threads: jobs run in order, with yields between them.
import { Magi1Error } from './errors.ts';

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

/** Gets the signal of the drain that it was recorded for; a long job should heed it. */
export type Job = (signal?: AbortSignal) => void | Promise<void>;

/** What jobs read and write. */
export interface Data {
  /** Why the contents were never computed, or not wholly. Whatever reads them fails with it. */
  spoiled?: Error;
}

export interface Recorded {
  /** In errors, such as the op's name. */
  readonly name: string;
  readonly run: Job;
  readonly reads?: readonly Data[];
  readonly writes?: readonly Data[];
}

interface Entry {
  /** Undefined once it was dropped. */
  job: Recorded | undefined;
  /** Undefined for work of nobody, which is never dropped. */
  owner: Wait | undefined;
}

/** A drain under way. */
interface Wait {
  readonly signal: AbortSignal | undefined;
  /** Entries that must be done, counted from the first one ever. */
  readonly end: number;
  readonly resolve: () => void;
  readonly reject: (error: Error) => void;
  error?: Error;
}

/**
 * Runs jobs in order while somebody waits for them. Several runs may share a queue, so an abort or an error may take
 * down its owner's jobs only. Nobody is told who records; but what is recorded and the drain that follows it stand in one
 * synchronous stretch of code, so a drain owns what was pushed in its stretch. What is left at the end of a stretch
 * belongs to nobody and runs in any case.
 */
export class JobQueue {
  #entries: Entry[] = [];
  #head = 0;
  /** Entries done or dropped before `#entries`. */
  #passed = 0;
  /** Pushed in the present stretch of code, not owned yet. */
  #unowned: Entry[] = [];
  #running: Entry | undefined;
  readonly #waits = new Set<Wait>();
  #pumping = false;
  #pump: Promise<void> | undefined;
  #closed: Error | undefined;

  /** Nothing is queued or being run. */
  get empty(): boolean {
    return this.#head === this.#entries.length && this.#running === undefined;
  }

  push(job: Recorded): void {
    if (this.#closed !== undefined) throw this.#closed;
    const entry: Entry = { job, owner: undefined };
    this.#entries.push(entry);
    if (this.#unowned.push(entry) === 1) queueMicrotask(() => (this.#unowned = []));
  }

  /**
   * Resolves when everything pushed so far is done; rejects with the first error of the jobs it owns or of nobody's. When
   * `signal` aborts, those of its jobs that have not begun are dropped and it rejects with the signal's reason.
   */
  drain(signal?: AbortSignal): Promise<void> {
    if (this.#closed !== undefined) return Promise.reject(this.#closed);
    return new Promise((resolve, reject) => {
      const abort = (): void => this.#fail(wait, signal!.reason as Error);
      const settled = (): void => signal?.removeEventListener('abort', abort);
      const wait: Wait = {
        signal,
        end: this.#passed + this.#entries.length,
        resolve: () => {
          settled();
          resolve();
        },
        reject: (error) => {
          settled();
          reject(error);
        },
      };
      for (const entry of this.#unowned) entry.owner = wait;
      this.#unowned = [];
      this.#waits.add(wait);
      signal?.addEventListener('abort', abort);
      if (signal?.aborted) abort();
      if (!this.#pumping) this.#pump = this.#run();
    });
  }

  /** Drops everything; who waits, pushes or drains gets `error`. Resolves when no job is being run any more. */
  async close(error: Error): Promise<void> {
    this.#closed = error;
    for (const wait of this.#waits) this.#fail(wait, error);
    for (const entry of this.#entries.slice(this.#head)) drop(entry, error);
    await this.#pump;
  }

  async #run(): Promise<void> {
    this.#pumping = true;
    await Promise.resolve(); // Drains of one stretch begin together.
    let last = performance.now();
    while (this.#waits.size > 0) {
      for (const wait of this.#waits) {
        if (wait.end > this.#passed + this.#head) continue;
        this.#waits.delete(wait);
        wait.resolve();
        // Who was waiting goes on in a turn of its own: stretches of two runs must not mix.
        if (this.#waits.size > 0) await yieldToEventLoop();
      }
      if (this.#waits.size === 0) break;
      const entry = this.#entries[this.#head++]!;
      this.#running = entry;
      try {
        const pending = begin(entry);
        if (pending !== undefined) await pending;
        this.#end(entry);
      } catch (error) {
        this.#end(entry, error as Error);
      }
      if (performance.now() - last > YIELD_EVERY_MS) {
        await yieldToEventLoop();
        last = performance.now();
      }
    }
    this.#pumping = false;
  }

  #end(entry: Entry, error?: Error): void {
    const { owner } = entry;
    this.#running = undefined;
    if (error !== undefined) {
      drop(entry, error);
      for (const wait of owner === undefined ? [...this.#waits] : [owner]) {
        if (owner !== undefined || wait.end >= this.#passed + this.#head) this.#fail(wait, error);
      }
    } else if (owner?.error !== undefined) {
      this.#fail(owner, owner.error);
    }
    if (this.#head < this.#entries.length) return;
    this.#passed += this.#head;
    this.#entries = [];
    this.#head = 0;
  }

  #fail(wait: Wait, error: Error): void {
    if (!this.#waits.has(wait)) return;
    wait.error ??= error;
    for (let i = this.#head; i < this.#entries.length; i++) {
      if (this.#entries[i]!.owner === wait) drop(this.#entries[i]!, error);
    }
    // Its caller may free what the job uses, so it hears of the end when the job has stopped.
    if (this.#running?.owner === wait) return;
    this.#waits.delete(wait);
    wait.reject(wait.error);
  }
}

const NONE: readonly Data[] = [];

function begin({ job, owner }: Entry): void | Promise<void> {
  for (const data of job?.reads ?? NONE) {
    if (data.spoiled !== undefined) throw unknownInput(job!.name, data.spoiled);
  }
  return job?.run(owner?.signal);
}

function drop(entry: Entry, error: Error): void {
  for (const data of entry.job?.writes ?? []) data.spoiled ??= error;
  entry.job = undefined;
}

function unknownInput(name: string, cause: Error): Magi1Error {
  return new Magi1Error(
    `${name}: an input was never computed: work before it was aborted or failed (${String(cause)})`,
    {
      cause,
    },
  );
}
