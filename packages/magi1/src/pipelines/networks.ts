// The networks on the device: loaded when a stage needs them, and freed between stages where memory is short.
import { Magi1Error } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import type { T5Encoder } from '../t5/encoder.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { formatBytes } from './format-bytes.ts';
import type { Residency } from './memory.ts';
import type { ModelFiles, StoredNetwork } from './model.ts';
import type { StageProgress } from './progress.ts';

export interface LoadingOptions {
  readonly signal?: AbortSignal | undefined;
  /** Counts the bytes that are loaded. */
  readonly loading?: StageProgress | undefined;
}

export interface UseOptions extends LoadingOptions {
  /** A whole run, between whose chunks the caller's code comes: nobody can wait for its end. */
  readonly run?: boolean | undefined;
}

export type Slot = 'textEncoder' | 'transformer' | 'vae';

/** Networks that stay loaded until they are given back. */
export interface Held<Loaded> extends Disposable {
  readonly networks: Loaded;
}

/** What every use of a disposed pipeline ends with. */
export const disposedError = (): Magi1Error => new Magi1Error('the pipeline was disposed');

export class Networks {
  residency: Residency;
  /** Seconds spent loading so far. */
  loadingSeconds = 0;
  readonly #files: Pick<ModelFiles, Slot>;
  readonly #device: Device;
  readonly #loaded = new Map<Slot, { dispose(): void }>();
  readonly #users = new Map<Slot, Set<{ readonly run: boolean }>>();
  #turn: Promise<unknown> = Promise.resolve();
  #givenBack = deferred<undefined>();
  #disposed = false;

  constructor(files: Pick<ModelFiles, Slot>, device: Device, residency: Residency) {
    this.#files = files;
    this.#device = device;
    this.residency = residency;
  }

  /** Loads all that stays, so that the first run need not. */
  async loadResident(options: LoadingOptions): Promise<void> {
    if (this.residency !== 'all') return;
    (await this.#use(['textEncoder', 'transformer', 'vae'], options))[Symbol.dispose]();
  }

  async textEncoder(options: UseOptions): Promise<Held<{ textEncoder: T5Encoder }>> {
    return (await this.#use(['textEncoder'], options)) as Held<{ textEncoder: T5Encoder }>;
  }

  async transformerAndVae(options: UseOptions): Promise<Held<{ transformer: VideoDiT; vae: ViTVae }>> {
    return (await this.#use(['transformer', 'vae'], options)) as Held<{ transformer: VideoDiT; vae: ViTVae }>;
  }

  async vae(options: UseOptions): Promise<Held<{ vae: ViTVae }>> {
    return (await this.#use(['vae'], options)) as Held<{ vae: ViTVae }>;
  }

  /** Bytes of the networks of these that have to be loaded. */
  missingBytes(...slots: readonly Slot[]): number {
    return this.#bytesOf(slots.filter((slot) => !this.#loaded.has(slot)));
  }

  /** Bytes that a run has to load, with or without texts to encode. */
  missingBytesOfRun(texts: boolean): number {
    const all: readonly Slot[] = ['textEncoder', 'transformer', 'vae'];
    if (!texts) return this.missingBytes('transformer', 'vae');
    return this.residency === 'staged'
      ? this.missingBytes('textEncoder') + this.#bytesOf(['transformer', 'vae'])
      : this.missingBytes(...all);
  }

  /** Frees everything at once; whoever is loading or waiting fails. */
  dispose(): void {
    this.#disposed = true;
    this.#free('textEncoder', 'transformer', 'vae');
    this.#givenBack.resolve(undefined);
  }

  #bytesOf(slots: readonly Slot[]): number {
    return slots.reduce((sum, slot) => sum + this.#files[slot].deviceBytes, 0);
  }

  #free(...slots: readonly Slot[]): void {
    for (const slot of slots) {
      this.#loaded.get(slot)?.dispose();
      this.#loaded.delete(slot);
    }
  }

  /** One after the other: who comes second finds loaded what the first has loaded. */
  async #use(slots: readonly Slot[], options: UseOptions): Promise<Held<unknown>> {
    const before = this.#turn;
    const turn = deferred<undefined>();
    this.#turn = turn.promise;
    try {
      await settledOrAborted(before, options.signal);
      if (this.residency === 'staged') await this.#makeRoom(slots, options);
      for (const slot of slots) await this.#load(slot, options);
      return this.#hold(slots, options.run === true);
    } finally {
      void before.then(() => turn.resolve(undefined));
    }
  }

  /** Frees the other side, text encoder or transformer and VAE, once nobody uses it. */
  async #makeRoom(slots: readonly Slot[], { signal }: UseOptions): Promise<void> {
    const others: readonly Slot[] = slots.includes('textEncoder') ? ['transformer', 'vae'] : ['textEncoder'];
    for (;;) {
      this.#check(signal);
      const users = others.flatMap((slot) => [...(this.#users.get(slot) ?? [])]);
      if (users.length === 0) break;
      if (users.some(({ run }) => run))
        throw new Magi1Error(
          'pipeline: a run is under way, and memory is short: the text encoder does not fit beside its networks; encode prompts before the run or after it',
        );
      this.#givenBack = deferred();
      await settledOrAborted(this.#givenBack.promise, signal);
    }
    this.#free(...others);
  }

  async #load(slot: Slot, { signal, loading }: UseOptions): Promise<void> {
    this.#check(signal);
    if (this.#loaded.has(slot)) return;
    const stored: StoredNetwork<{ dispose(): void }> = this.#files[slot];
    const start = performance.now();
    const before = loading?.done ?? 0;
    const { deviceBytes } = stored;
    const detail = `${stored.name} (${formatBytes(deviceBytes)})`;
    const network = await stored.load(this.#device, {
      signal,
      onProgress: ({ bytes, total }) => loading?.at(before + (deviceBytes * bytes) / Math.max(1, total), detail),
    });
    this.loadingSeconds += (performance.now() - start) / 1000;
    // What is there is kept, though the call may have been cancelled in the meantime.
    if (this.#disposed) network.dispose();
    else this.#loaded.set(slot, network);
    this.#check(signal);
  }

  #hold(slots: readonly Slot[], run: boolean): Held<unknown> {
    const user = { run };
    for (const slot of slots) this.#users.set(slot, (this.#users.get(slot) ?? new Set()).add(user));
    return {
      networks: Object.fromEntries(slots.map((slot) => [slot, this.#loaded.get(slot)])),
      [Symbol.dispose]: () => {
        for (const slot of slots) this.#users.get(slot)?.delete(user);
        this.#givenBack.resolve(undefined);
      },
    };
  }

  #check(signal: AbortSignal | undefined): void {
    if (this.#disposed) throw disposedError();
    signal?.throwIfAborted();
  }
}

interface Deferred<T> {
  readonly promise: Promise<T>;
  readonly resolve: (value: T) => void;
  readonly reject: (error: Error) => void;
}

/** Promise.withResolvers, which Node 20 does not have. */
function deferred<T>(): Deferred<T> {
  let [resolve, reject]: [Deferred<T>['resolve']?, Deferred<T>['reject']?] = [];
  const promise = new Promise<T>((...settle) => ([resolve, reject] = settle));
  return { promise, resolve: resolve!, reject: reject! };
}

/** Resolves when the promise does, which never rejects; rejects with the signal's reason when that comes first. */
async function settledOrAborted(promise: Promise<unknown>, signal: AbortSignal | undefined): Promise<void> {
  signal?.throwIfAborted();
  const aborted = deferred<never>();
  const abort = () => aborted.reject(signal?.reason as Error);
  signal?.addEventListener('abort', abort);
  try {
    await Promise.race([promise, aborted.promise]);
  } finally {
    signal?.removeEventListener('abort', abort);
  }
}
