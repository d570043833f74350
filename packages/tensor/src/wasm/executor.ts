// The last of three, after plan.ts and prepared.ts: runs prepared steps over their work items, on this thread and on
// workers when there are any.
import { DeviceLostError, Magi1Error } from '../errors.ts';
import { variantKey } from '../kernel.ts';
import type { Variant } from '../kernel.ts';
import { yieldToEventLoop } from '../queue.ts';
import type { WasmFeatures, WasmKernel } from './kernel.ts';
import type { ExternalBuffer, WasmHeap } from './memory.ts';
import type { CompiledKernel, PreparedStep } from './prepared.ts';
import { collectGarbage } from './garbage.ts';
import { WorkerPool } from './threads.ts';

/** The main thread gives the event loop a turn after so much work. */
const SLICE_MS = 15;
/** So many forgotten bytes are worth a collection of garbage, which takes some milliseconds on every thread. */
const GARBAGE_BYTES = 32 * 2 ** 20;

export class Executor {
  readonly threads: number;
  readonly #heap: WasmHeap;
  readonly #features: WasmFeatures;
  readonly #kernels = new Map<string, Promise<CompiledKernel>>();
  readonly #pool: WorkerPool | undefined;
  readonly #stopped = new AbortController();
  #nextId = 0;
  /** Bytes forgotten since the last collection. */
  #garbage = 0;
  #collection: ReturnType<typeof setTimeout> | undefined;

  constructor(heap: WasmHeap, features: WasmFeatures, threads: number) {
    this.#heap = heap;
    this.#features = features;
    this.threads = threads;
    this.#pool = threads > 1 ? new WorkerPool(threads - 1, heap.memory) : undefined;
  }

  /** Compiles once per name and variant. */
  kernel(kernel: WasmKernel, variant: Variant): Promise<CompiledKernel> {
    const key = variantKey(kernel.name, variant);
    let compiled = this.#kernels.get(key);
    if (compiled === undefined) {
      compiled = this.#compile(kernel, variant, key);
      // A failure is reported where the kernel is used; here it must not count as unhandled.
      compiled.catch(() => undefined);
      this.#kernels.set(key, compiled);
    }
    return compiled;
  }

  async #compile(kernel: WasmKernel, variant: Variant, key: string): Promise<CompiledKernel> {
    let module: WebAssembly.Module;
    try {
      module = await WebAssembly.compile(kernel.build(variant, this.#features));
    } catch (error) {
      throw new Magi1Error(`wasm kernel ${key} does not compile: ${String(error)}`);
    }
    const instance = await WebAssembly.instantiate(module, { env: { memory: this.#heap.memory } });
    const id = this.#nextId++;
    const argKinds = Object.values(kernel.args);
    this.#pool?.addKernel(id, module, argKinds);
    return { id, name: kernel.name, module, argKinds, run: instance.exports['run'] as CompiledKernel['run'] };
  }

  /** Gives the buffer's bytes back to the system: nobody reads it any more. */
  forget(buffer: ExternalBuffer): void {
    this.#pool?.forgetExternal(buffer);
    buffer.drop();
    this.#garbage += buffer.byteLength;
    if (this.#garbage < GARBAGE_BYTES || this.#collection !== undefined) return;
    // Later, so that the many weights of a network are collected at once.
    this.#collection = setTimeout(() => {
      this.#collection = undefined;
      this.#garbage = 0;
      // First here: this lets the workers do so.
      collectGarbage();
      this.#pool?.collectGarbage();
    }, 0);
  }

  /** Runs all items; done at once when it takes little time, else in slices with turns of the event loop between. */
  run(step: PreparedStep, signal: AbortSignal | undefined): void | Promise<void> {
    const checkStop = (): void => {
      this.#stopped.signal.throwIfAborted();
      signal?.throwIfAborted();
    };
    const grains = Math.ceil(step.items / step.grain);
    if (this.#pool === undefined || grains === 1) return this.#runAlone(step, grains, checkStop);
    return this.#pool.run(step, grains, (grain) => this.#runGrain(step, grain, 0), checkStop, SLICE_MS);
  }

  #runAlone(step: PreparedStep, grains: number, checkStop: () => void): void | Promise<void> {
    let grain = 0;
    const slice = (): boolean => {
      const until = performance.now() + SLICE_MS;
      while (grain < grains) {
        this.#runGrain(step, grain++, 0);
        if (performance.now() >= until) break;
      }
      return grain === grains;
    };
    if (slice()) return;
    return (async () => {
      do {
        await yieldToEventLoop();
        checkStop();
      } while (!slice());
    })();
  }

  #runGrain(step: PreparedStep, grain: number, thread: number): void {
    const begin = grain * step.grain;
    const end = Math.min(begin + step.grain, step.items);
    const scratch = step.scratch + thread * step.scratchStride;
    let args = step.args;
    if (step.streamed !== undefined) {
      const { argIndex, buffer, byteOffset, byteLength, bytesPerItem, scratchOffset } = step.streamed;
      const address = scratch + scratchOffset;
      const first = begin * bytesPerItem;
      const bytes = Math.min(end * bytesPerItem, byteLength) - first;
      buffer.copyTo(byteOffset + first, this.#heap.view(address, bytes));
      args = args.with(argIndex, (address - first) | 0);
    }
    try {
      step.kernel.run(begin, end, scratch, ...args);
    } catch (error) {
      throw new Magi1Error(`${step.op}: wasm kernel ${step.kernel.name} failed: ${String(error)}`, { cause: error });
    }
  }

  /** Ends a run at its next slice. */
  stop(): void {
    this.#stopped.abort(new DeviceLostError('wasm: the device was disposed'));
  }
  async dispose(): Promise<void> {
    this.#kernels.clear();
    clearTimeout(this.#collection);
    await this.#pool?.dispose();
  }
}
