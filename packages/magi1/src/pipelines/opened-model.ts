// A model on a device. Opening checks request, files and memory before any weight is loaded; its networks are loaded when a
// stage needs them, and freed between stages where memory is short.
import { NotFoundError, ifFound, locate, readNpz, withFile } from '@magi1/loaders';
import type { Folder } from '@magi1/loaders';
import { Device, Magi1Error, isFloat, toFloat32 } from '@magi1/tensor';
import { SPECIAL_TOKEN_VARIABLES } from '../config/index.ts';
import type { SpecialTokenSwitches } from '../config/index.ts';
import { transformerLayouts } from '../layouts/index.ts';
import { LoraSet } from '../lora/index.ts';
import type { T5Encoder } from '../t5/encoder.ts';
import { SPECIAL_TOKEN_ARRAYS, specialTokenTable } from '../text/special-tokens.ts';
import type { SpecialTokenTable } from '../text/special-tokens.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { RequestError, formatBytes, joined, option, worded } from '../wording.ts';
import { tokenOptionOf } from './check-options.ts';
import type { PipelineOptions } from './check-options.ts';
import { NO_PREFIX } from './inputs.ts';
import type { Mode } from './inputs.ts';
import { MemoryPlanner, NO_REQUEST, plannedSize, sizeOf } from './memory.ts';
import type { Residency } from './memory.ts';
import { openModelFiles } from './model-files.ts';
import type { ModelFiles, ModelFolder, StoredNetwork } from './model-files.ts';
import { Run, checkRequest, planRequest, readInput } from './prepare.ts';
import { Call, CallProgress } from './progress.ts';
import type { StageProgress } from './progress.ts';
import type { GenerationOptions } from './request.ts';

/** A model whose files are open, on a device. */
export interface OpenedModel<Request extends GenerationOptions> extends ModelFiles {
  readonly mode: Mode<Request>;
  readonly device: Device;
  readonly ownsDevice: boolean;
  readonly networks: Networks;
  readonly loras: LoraSet;
  readonly memory: MemoryPlanner;
  /**
   * Read when a switch needs it.
   * @throws NotFoundError where the model has none
   */
  specialTokens(): Promise<SpecialTokenTable>;
  /** Of the request that the model was opened with. */
  readonly firstRun: Run<Request> | null;
}

/**
 * Every part is checked, then the request, its picture or clip included, then the memory need is compared with the
 * device, and only then weights are loaded.
 */
export async function openModel<Request extends GenerationOptions>(
  folder: ModelFolder,
  mode: Mode<Request>,
  options: PipelineOptions<Request>,
): Promise<OpenedModel<Request>> {
  const { request } = options;
  const checked =
    request && (await readInput(checkRequest(request, mode, folder), mode, options.signal ?? request.signal));
  const planned = checked ?? ownRun(folder);
  const files = await openModelFiles(folder, options.dtype, options);
  const ownsDevice = !(options.device instanceof Device);
  let table: Promise<SpecialTokenTable> | undefined;
  const specialTokens = () => (table ??= readSpecialTokens(folder));
  let device: Device | undefined;
  let networks: Networks | undefined;
  try {
    const layouts = transformerLayouts(folder.config.model_config);
    const loras = new LoraSet(files.transformer.specs, layouts, (name) => files.transformer.dtypeOf(name));
    for (const { source: file, ...rest } of options.loras ?? []) await loras.load(file, rest);
    await requireSpecialTokens({ specialTokens }, request ?? {}, planned.settings.specialTokens);
    options.signal?.throwIfAborted();
    const firstRun = checked === undefined ? null : new Run(checked);
    device = options.device instanceof Device ? options.device : await Device.open(options.device);
    const memory = new MemoryPlanner(files, device, folder.environment.offloadT5Cache);
    const residency = firstRun
      ? await memory.choose(await sizeOf(firstRun, files.tokenizer, { loras: loras.choose(), signal: options.signal }))
      : await memory.chooseForAny(plannedSize(planned, loras.choose()));
    networks = new Networks(files, device, residency);
    using call = new Call(options, new AbortController().signal);
    const { signal, onProgress } = call;
    const loading = new CallProgress({ loading: 1 }, onProgress).stage(
      'loading',
      networks.missingBytes(...ALL_NETWORKS),
    );
    // What stays loaded is loaded now, so that the first run need not.
    if (residency === 'all') (await networks.use(ALL_NETWORKS, { signal, loading }))[Symbol.dispose]();
    await call.settle();
    return { ...files, mode, device, ownsDevice, networks, loras, memory, specialTokens, firstRun };
  } catch (error) {
    networks?.dispose();
    await files.close();
    if (ownsDevice) await device?.dispose();
    throw error;
  }
}

/** By the config alone, without a prefix. */
function ownRun(folder: ModelFolder) {
  try {
    return planRequest({}, NO_PREFIX, folder);
  } catch (error) {
    if (!(error instanceof RequestError)) throw error;
    throw new RequestError(worded`${error.wording}; ${NO_REQUEST}`);
  }
}

/**
 * Reads the table where a switch is on.
 * @throws RequestError naming the switches where the model has no table, Magi1Error where it cannot be used
 */
export async function requireSpecialTokens(
  model: Pick<OpenedModel<never>, 'specialTokens'>,
  request: GenerationOptions,
  switches: SpecialTokenSwitches,
): Promise<void> {
  const on = (Object.keys(switches) as (keyof SpecialTokenSwitches)[]).filter((key) => switches[key]);
  if (on.length === 0) return;
  try {
    await model.specialTokens();
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    const names = on.map((key) => {
      const given = tokenOptionOf(request, key);
      return given === undefined ? worded`${SPECIAL_TOKEN_VARIABLES[key]}` : worded`${option(given)}`;
    });
    throw new RequestError(
      worded`${joined(names, ', ')}: this model has no table of special tokens (${error.message}); leave ${on.length === 1 ? 'it' : 'them'} out, or name the special_tokens.npz that belongs to the model in SPECIAL_TOKEN_PATH`,
    );
  }
}

/** Where the token table may be: beside the config, and where the original's repository has it. */
const TOKEN_FILES = ['special_tokens.npz', 'example/assets/special_tokens.npz'];

async function readSpecialTokens({ config, environment, tokenFolders }: ModelFolder): Promise<SpecialTokenTable> {
  const { specialTokenPath: given } = environment;
  const { caption_channels: width } = config.model_config;
  if (given !== null) {
    const { folder, file } = await locate(given);
    if (file === undefined) throw new NotFoundError(`${String(given)}: expected a file, found a folder`);
    return readTokenTable(folder, file, width);
  }
  for (const path of TOKEN_FILES) {
    for (const folder of tokenFolders) {
      const table = await ifFound(readTokenTable(folder, path, width));
      if (table !== undefined) return table;
    }
  }
  throw new NotFoundError(`${tokenFolders[0]!.at(TOKEN_FILES[0]!).name}: there is no such file`);
}

async function readTokenTable(folder: Folder, path: string, captionChannels: number): Promise<SpecialTokenTable> {
  const arrays = await withFile(folder, path, (source) =>
    readNpz(source, { f64: 'f16', bf16: true, names: SPECIAL_TOKEN_ARRAYS }),
  );
  const widened = [...arrays].map(([name, { shape, dtype, data }]) => {
    const values = isFloat(dtype) ? toFloat32(dtype, data) : (data as ArrayLike<number>);
    return [name, { shape, data: values }] as const;
  });
  return specialTokenTable(new Map(widened), captionChannels);
}

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
      if (this.residency === 'staged') await this.#makeRoom(slots, options);
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
    return this.residency === 'staged'
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
    return slots.reduce((sum, slot) => sum + this.#files[slot].deviceBytes, 0);
  }

  #free(...slots: readonly Slot[]): void {
    for (const slot of slots) {
      this.#loaded.get(slot)?.dispose();
      this.#loaded.delete(slot);
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
