// Workers that share the work items of a step with the main thread.
//
// A step is written into the control block and opened (state odd); every thread, the main one too, takes grains from the
// counter `next` until none is left. The main thread then closes the step and waits until no worker is `active`, that is,
// looking at it: only after that the block may change. A worker that wakes late finds the step closed and sleeps again, so
// nobody waits for slow starters. Modules and external buffers arrive as messages; a worker that sees more messages
// `posted` than it has handled goes back to its event loop to receive them.
import { DeviceLostError, Magi1Error } from '../errors.ts';
import { isNode } from '../is-node.ts';
import { yieldToEventLoop } from '../queue.ts';
import { PAGE } from './memory.ts';
import type { ExternalBuffer } from './memory.ts';
import { CONTROL_BYTES, FAULT_TEXT_BYTE, MAX_ARGS, WORD, WORKER_PROGRAM } from './worker-program.ts';
import type { PreparedStep } from './prepared.ts';
import type { WorkerMessage } from './worker-program.ts';

/** What Node's and the browser's workers have in common. */
interface WorkerHandle {
  post(message: WorkerMessage): void;
  terminate(): Promise<void>;
}

/** How long the main thread looks before it sleeps, and how long it sleeps before the event loop gets a turn. */
const SPIN_MS = 0.05;
const WAIT_MS = 10;

export class WorkerPool {
  readonly #workers: readonly WorkerHandle[];
  readonly #control = new SharedArrayBuffer(CONTROL_BYTES);
  readonly #words = new Int32Array(this.#control);
  readonly #floats = new Float32Array(this.#control);
  readonly #doubles = new Float64Array(this.#control);
  readonly #known = new Set<number>();
  readonly #memory: WebAssembly.Memory;
  #lost: Error | undefined;

  constructor(count: number, memory: WebAssembly.Memory) {
    this.#memory = memory;
    const lost = (error: Error): void => {
      this.#lost ??= error;
    };
    this.#workers = Array.from({ length: count }, () => (isNode() ? nodeWorker(lost) : browserWorker(lost)));
    this.#workers.forEach((worker, i) => worker.post({ start: i + 1, memory, control: this.#control }));
  }

  addKernel(kernel: number, module: WebAssembly.Module, kinds: readonly string[]): void {
    if (kinds.length > MAX_ARGS) throw new Magi1Error(`wasm: a kernel takes at most ${MAX_ARGS} arguments`);
    this.#post({ kernel, module, kinds });
  }
  /** Workers that sleep never collect what they have forgotten. */
  collectGarbage(): void {
    this.#post({ collect: true });
  }
  forgetExternal(buffer: ExternalBuffer): void {
    if (this.#known.delete(buffer.id)) this.#post({ forget: buffer.id });
  }

  /**
   * Runs a step together with the workers. `runGrain` runs one grain on this thread; `checkStop` throws when the run shall
   * end, and is asked between slices.
   */
  run(
    step: PreparedStep,
    grains: number,
    runGrain: (grain: number) => void,
    checkStop: () => void,
    sliceMs: number,
  ): void | Promise<void> {
    if (this.#lost !== undefined) throw this.#lostError();
    this.#open(step);
    const slice = (): boolean => {
      const until = performance.now() + sliceMs;
      for (;;) {
        const grain = Atomics.add(this.#words, WORD.next, 1);
        if (grain >= grains) return true;
        runGrain(grain);
        if (performance.now() >= until) return false;
      }
    };
    let done: boolean;
    try {
      done = slice();
    } catch (error) {
      return this.#abandon(error as Error);
    }
    if (done && this.#close()) {
      this.#checkFault(step);
      return;
    }
    return this.#runSlices(step, done, slice, checkStop);
  }

  async #runSlices(step: PreparedStep, handedOut: boolean, slice: () => boolean, checkStop: () => void): Promise<void> {
    try {
      for (let done = handedOut; !done; done = slice()) {
        await yieldToEventLoop();
        checkStop();
      }
    } catch (error) {
      return this.#abandon(error as Error);
    }
    await this.#closed();
    this.#checkFault(step);
  }

  /** Stops handing out work, waits for what is running, then fails. */
  async #abandon(error: Error): Promise<never> {
    Atomics.store(this.#words, WORD.next, 0x3fffffff);
    await this.#closed();
    Atomics.store(this.#words, WORD.fault, 0);
    throw error;
  }

  #open(step: PreparedStep): void {
    const words = this.#words;
    const { streamed } = step;
    if (streamed !== undefined && !this.#known.has(streamed.buffer.id)) {
      this.#known.add(streamed.buffer.id);
      this.#post({ external: streamed.buffer.id, chunks: streamed.buffer.chunks });
    }
    words[WORD.pages] = this.#memory.buffer.byteLength / PAGE;
    words[WORD.kernel] = step.kernel.id;
    words[WORD.items] = step.items;
    words[WORD.grain] = step.grain;
    words[WORD.scratch] = step.scratch;
    words[WORD.scratchStride] = step.scratchStride;
    words[WORD.streamArg] = streamed?.argIndex ?? -1;
    words[WORD.streamBuffer] = streamed?.buffer.id ?? 0;
    words[WORD.streamBytesPerItem] = streamed?.bytesPerItem ?? 0;
    words[WORD.streamScratch] = streamed?.scratchOffset ?? 0;
    this.#doubles[WORD.streamOffset / 2] = streamed?.byteOffset ?? 0;
    this.#doubles[WORD.streamLength / 2] = streamed?.byteLength ?? 0;
    step.args.forEach((value, i) => {
      if (step.kernel.argKinds[i] === 'f32') this.#floats[WORD.args + i] = value;
      else words[WORD.args + i] = value;
    });
    Atomics.store(words, WORD.next, 0);
    Atomics.add(words, WORD.state, 1);
    this.#wake();
  }

  /** Closes the step; true when no worker is at it any more, after a short wait. */
  #close(): boolean {
    if ((Atomics.load(this.#words, WORD.state) & 1) === 1) Atomics.add(this.#words, WORD.state, 1);
    return this.#idle();
  }
  async #closed(): Promise<void> {
    for (let idle = this.#close(); !idle; idle = this.#idle()) {
      if (this.#lost !== undefined) throw this.#lostError();
      await yieldToEventLoop();
    }
  }
  #idle(): boolean {
    const started = performance.now();
    for (;;) {
      const active = Atomics.load(this.#words, WORD.active);
      if (active === 0) return true;
      const waited = performance.now() - started;
      if (waited > WAIT_MS) return false;
      // A browser's main thread must not sleep here: it goes round through the event loop.
      if (waited > SPIN_MS) {
        if (!isNode()) return false;
        Atomics.wait(this.#words, WORD.active, active, WAIT_MS - waited);
      }
    }
  }

  #checkFault(step: PreparedStep): void {
    const length = Atomics.load(this.#words, WORD.fault);
    if (length === 0) return;
    const text = new Uint8Array(this.#control, FAULT_TEXT_BYTE, length).slice();
    Atomics.store(this.#words, WORD.fault, 0);
    throw new Magi1Error(`${step.op}: wasm kernel ${step.kernel.name} failed: ${new TextDecoder().decode(text)}`);
  }

  #lostError(): DeviceLostError {
    return new DeviceLostError(`wasm: a worker thread failed: ${String(this.#lost)}`);
  }
  #post(message: WorkerMessage): void {
    Atomics.add(this.#words, WORD.posted, 1);
    for (const worker of this.#workers) worker.post(message);
    this.#wake();
  }
  #wake(): void {
    Atomics.add(this.#words, WORD.signal, 1);
    Atomics.notify(this.#words, WORD.signal);
  }

  async dispose(): Promise<void> {
    Atomics.store(this.#words, WORD.exit, 1);
    this.#wake();
    await Promise.all(this.#workers.map((worker) => worker.terminate()));
  }
}

function nodeWorker(lost: (error: Error) => void): WorkerHandle {
  const { Worker } = process.getBuiltinModule('node:worker_threads');
  // No flags of the parent (loaders, inspectors): the program needs none and some break it.
  const worker = new Worker(WORKER_PROGRAM, { eval: true, execArgv: [], name: 'magi1-wasm' });
  worker.on('error', lost);
  // A program that ends without disposing of its devices must still end.
  worker.unref();
  return {
    post: (message) => worker.postMessage(message),
    terminate: async () => {
      await worker.terminate();
    },
  };
}

function browserWorker(lost: (error: Error) => void): WorkerHandle {
  const url = URL.createObjectURL(new Blob([WORKER_PROGRAM], { type: 'text/javascript' }));
  const worker = new Worker(url, { name: 'magi1-wasm' });
  worker.onerror = (event) => lost(new Error(event.message));
  return {
    post: (message) => worker.postMessage(message),
    terminate: () => {
      worker.terminate();
      URL.revokeObjectURL(url);
      return Promise.resolve();
    },
  };
}
