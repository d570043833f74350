// The networks of an open model: loaded when a stage needs them, as much of them as the way of offloading says, and freed
// between stages where memory is short.
import { Magi1Error } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import type { BlockPlace } from '../nn/index.ts';
import type { T5Encoder } from '../t5/encoder.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { formatBytes } from '../wording.ts';
import type { ModelFiles, StoredNetwork } from './model-files.ts';
import type { Offload } from './offload.ts';
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

interface LoadedNetworks {
  readonly textEncoder: T5Encoder;
  readonly transformer: VideoDiT;
  readonly vae: ViTVae;
}
export type Slot = keyof LoadedNetworks;
export const ALL_NETWORKS: readonly Slot[] = ['textEncoder', 'transformer', 'vae'];

/** Given back by its end. */
export interface Held<Loaded> extends Disposable {
  readonly networks: Loaded;
}

/** What every use of a disposed pipeline ends with. */
export const disposedError = (): Magi1Error => new Magi1Error('the pipeline was disposed');

export class Networks {
  /** Taken up by the next use. */
  offload: Offload;
  /** Seconds spent loading so far. */
  loadingSeconds = 0;
  readonly #files: Pick<ModelFiles, Slot>;
  readonly #device: Device;
  readonly #loaded = new Map<Slot, { readonly network: { dispose(): void }; readonly place: BlockPlace }>();
  readonly #users = new Map<Slot, Set<{ readonly run: boolean }>>();
  #turn: Promise<unknown> = Promise.resolve();
  #givenBack = deferred<undefined>();
  #disposed = false;

  constructor(files: Pick<ModelFiles, Slot>, device: Device, offload: Offload) {
    this.#files = files;
    this.#device = device;
    this.offload = offload;
  }

  /**
   * Networks that stay loaded until they are given back. One use is prepared after the other: who comes second finds loaded
   * what the first has loaded.
   */
  async use<Needed extends Slot>(
    slots: readonly Needed[],
    options: UseOptions,
  ): Promise<Held<Pick<LoadedNetworks, Needed>>> {
    const before = this.#turn;
    const turn = deferred<undefined>();
    this.#turn = turn.promise;
    try {
      await settledOrAborted(before, options.signal);
      await this.#makeRoom(slots, options);
      for (const slot of slots) await this.#load(slot, options);
      return this.#hold(slots, options.run === true) as Held<Pick<LoadedNetworks, Needed>>;
    } finally {
      void before.then(() => turn.resolve(undefined));
    }
  }

  /** Bytes of the networks of these that have to be loaded. */
  missingBytes(...slots: readonly Slot[]): number {
    return this.#bytesOf(slots.filter((slot) => !this.#loaded.has(slot)));
  }

  /** Bytes that a run has to load, with or without texts to encode. */
  missingBytesOfRun(texts: boolean): number {
    if (!texts) return this.missingBytes('transformer', 'vae');
    return this.offload !== 'none'
      ? this.missingBytes('textEncoder') + this.#bytesOf(['transformer', 'vae'])
      : this.missingBytes(...ALL_NETWORKS);
  }

  /** Frees everything at once; whoever is loading or waiting fails. */
  dispose(): void {
    this.#disposed = true;
    this.#free(...ALL_NETWORKS);
    this.#givenBack.resolve(undefined);
  }

  #bytesOf(slots: readonly Slot[]): number {
    const place = this.#place;
    return slots.reduce((sum, slot) => sum + loadedBytes(this.#files[slot], place), 0);
  }

  #free(...slots: readonly Slot[]): void {
    for (const slot of slots) {
      this.#loaded.get(slot)?.network.dispose();
      this.#loaded.delete(slot);
    }
  }

  /** Where the matrices of blocks wait. */
  get #place(): BlockPlace {
    if (this.offload === 'none' || this.offload === 'text') return 'device';
    return this.offload === 'group' && this.#device.info.memory === 'adapter' ? 'host' : 'files';
  }

  /**
   * Frees, once nobody uses it, what is not to be there beside the networks asked for: the other side, text encoder or
   * transformer and VAE, where they are offloaded, and what was loaded in another way.
   */
  async #makeRoom(slots: readonly Slot[], { signal }: UseOptions): Promise<void> {
    const otherSide: readonly Slot[] = slots.includes('textEncoder') ? ['transformer', 'vae'] : ['textEncoder'];
    const place = this.#place;
    const others = ALL_NETWORKS.filter((slot) => {
      const loaded = this.#loaded.get(slot);
      return loaded !== undefined && (loaded.place !== place || (this.offload !== 'none' && otherSide.includes(slot)));
    });
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
    const place = this.#place;
    const loaded = loadedBytes(stored, place);
    const detail = `${stored.name} (${formatBytes(loaded)})`;
    const network = await stored.load(this.#device, {
      blocks: place,
      rows: 'files',
      signal,
      onProgress: ({ bytes, total }) => loading?.at(before + (loaded * bytes) / Math.max(1, total), detail),
    });
    this.loadingSeconds += (performance.now() - start) / 1000;
    // What is there is kept, though the call may have been cancelled in the meantime.
    if (this.#disposed) network.dispose();
    else this.#loaded.set(slot, { network, place });
    this.#check(signal);
  }

  #hold(slots: readonly Slot[], run: boolean): Held<unknown> {
    const user = { run };
    for (const slot of slots) this.#users.set(slot, (this.#users.get(slot) ?? new Set()).add(user));
    return {
      networks: Object.fromEntries(slots.map((slot) => [slot, this.#loaded.get(slot)!.network])),
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

/** Bytes that loading reads. */
const loadedBytes = ({ deviceBytes, residentBytes }: StoredNetwork<unknown>, place: BlockPlace): number =>
  place === 'files' ? residentBytes : deviceBytes;

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
