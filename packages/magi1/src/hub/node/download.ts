// Downloading a model: what it needs, what is there, whether the disk has room, then file by file.
import { createHash } from 'node:crypto';
import type { Hash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, open, readFile, rm, statfs } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { readHttpRange } from '@magi1/loaders';
import type { HttpOptions } from '@magi1/loaders';
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import { PUBLISHED_MODELS } from '../../config/published.ts';
import type { PublishedModel } from '../../config/published.ts';
import { exists, reasonOf } from '../../media/node/move.ts';
import { reserve } from '../../media/node/reservation.ts';
import { formatLimit, formatNeed } from '../../wording.ts';
import type { Bits } from '../../quantize/index.ts';
import { planQuantize } from '../../quantize/node/quantize.ts';
import type { QuantizePlan } from '../../quantize/node/quantize.ts';
import { modelConfig, modelFiles } from '../model-files.ts';
import { HubRepository } from '../repository.ts';
import type { HubFile } from '../repository.ts';
import { checkedFolder } from './checked-folder.ts';
import { DownloadRate } from './rate.ts';
import type { DownloadListener } from './rate.ts';
import { hubSettings } from './settings.ts';
import { cacheStore, localStore, sizeOf, writeWhole } from './store.ts';
import type { FileState, Store } from './store.ts';

export interface PlanDownloadOptions extends HttpOptions {
  readonly model: PublishedModel;
  /** A branch, a tag or a commit; default main. */
  readonly revision?: string | undefined;
  /** A folder for the repository's files, instead of the cache. */
  readonly localDir?: string | undefined;
  /** Default HF_ENDPOINT, else https://huggingface.co. */
  readonly endpoint?: string | undefined;
  /** Default HF_TOKEN, else the one that huggingface_hub's login has stored. */
  readonly token?: string | undefined;
  /** Default HF_HUB_CACHE, else what huggingface_hub takes. */
  readonly cacheDir?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface DownloadOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: DownloadListener | undefined;
}

export interface DownloadFile {
  /** In the repository. */
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  readonly state: FileState;
  /** Bytes that an earlier download has left. */
  readonly partial: number;
}

export interface DownloadedModel {
  /** The folder for `fromPretrained` and `--model`. */
  readonly modelFolder: string;
  /** That the revision is. */
  readonly commit: string;
  readonly files: number;
  readonly bytes: number;
  /** That came over the network. */
  readonly fetchedBytes: number;
}

/** What a download will do. */
export class DownloadPlan {
  readonly repository: string;
  readonly model: PublishedModel;
  readonly revision: string;
  readonly commit: string;
  /** Will be the model's. */
  readonly modelFolder: string;
  readonly files: readonly DownloadFile[];
  /** Of all files. */
  readonly bytes: number;
  /** To be fetched. */
  readonly missingBytes: number;
  /** On the disk, for whoever downloads. */
  readonly freeBytes: number;
  readonly #repository: HubRepository;
  readonly #store: Store;
  readonly #wanted: readonly HubFile[];

  constructor(
    repository: HubRepository,
    store: Store,
    model: PublishedModel,
    wanted: readonly HubFile[],
    files: readonly DownloadFile[],
    freeBytes: number,
  ) {
    this.#repository = repository;
    this.#store = store;
    this.#wanted = wanted;
    ({ name: this.repository, revision: this.revision, commit: this.commit } = repository);
    this.model = model;
    this.modelFolder = join(store.root, store.modelFolder(model));
    this.files = files;
    this.bytes = files.reduce((sum, { size }) => sum + size, 0);
    this.missingBytes = files.reduce(
      (sum, { size, partial, state }) => sum + (state === 'missing' ? size - partial : 0),
      0,
    );
    this.freeBytes = freeBytes;
  }

  /**
   * Fetches what is missing. After an abort or a failure what has come stays for the next time.
   * @throws Magi1Error before anything is written when the disk lacks room or another download is at work there
   */
  async run({ signal, onProgress }: DownloadOptions = {}): Promise<DownloadedModel> {
    signal?.throwIfAborted();
    this.#requireRoom();
    try {
      const { lock } = this.#store;
      await mkdir(dirname(lock), { recursive: true });
      for (const left of reserve(lock, `download of ${this.repository}`)) await rm(left, { recursive: true });
      try {
        return await this.#fetch(new DownloadRate(this.bytes, onProgress), signal);
      } finally {
        await rm(lock, { recursive: true, force: true });
      }
    } catch (cause) {
      signal?.throwIfAborted();
      const { path, syscall } = cause as NodeJS.ErrnoException;
      if (syscall === undefined || path === undefined) throw cause;
      throw new Magi1Error(`${path}: ${reasonOf(cause)}`, { cause });
    }
  }

  async #fetch(rate: DownloadRate, signal: AbortSignal | undefined): Promise<DownloadedModel> {
    const store = this.#store;
    for (const file of this.#wanted) {
      signal?.throwIfAborted();
      const state = await store.state(file);
      const here =
        state === 'here' ||
        (state === 'unchecked' && (await isWhole(store.path(file), file, rate.check(file), signal)));
      if (here) await store.confirm(file);
      else await fetchFile(this.#repository, store, file, rate, signal);
      rate.finished(file);
    }
    await this.#writeConfig();
    await store.finish();
    const { modelFolder, commit, files, bytes } = this;
    return { modelFolder, commit, files: files.length, bytes, fetchedBytes: rate.fetched };
  }

  #requireRoom(): void {
    if (this.missingBytes > this.freeBytes)
      throw new Magi1Error(
        `${this.#store.root}: ${formatNeed(this.missingBytes)} are still to come, and the disk has ${formatLimit(this.freeBytes)} left`,
      );
  }

  async #writeConfig(): Promise<void> {
    const path = join(this.modelFolder, 'config.json');
    if (!exists(path)) await writeWhole(path, `${JSON.stringify(this.#config(), null, 2)}\n`);
  }

  #config(): ReturnType<typeof modelConfig> {
    const depth = this.#store
      .modelFolder(this.model)
      .split(/[\\/]/)
      .filter((part) => part !== '.').length;
    return modelConfig(this.model, depth === 0 ? '.' : Array.from({ length: depth }, () => '..').join('/'));
  }

  /** A config that is there may have been edited; that of another model is in the way. */
  async requireOwnConfig(): Promise<void> {
    const path = join(this.modelFolder, 'config.json');
    const text = await readFile(path, 'utf8').catch(() => undefined);
    if (text === undefined) return;
    let load: unknown;
    try {
      load = (JSON.parse(text) as { runtime_config?: { load?: unknown } }).runtime_config?.load;
    } catch {
      load = undefined; // in the way as well
    }
    if (load !== this.#config().runtime_config.load)
      throw new Magi1Error(`${path}: is not the config of ${this.model}; name another folder, or move it away`);
  }
}

export interface PlanQuantizedDownloadOptions extends PlanDownloadOptions {
  readonly bits: Bits;
}

/** A model that is quantised as it comes: its files in their own types never lie on the disk. */
export async function planQuantizedDownload(
  name: string,
  { bits, ...options }: PlanQuantizedDownloadOptions,
): Promise<QuantizePlan> {
  const { model, localDir, cacheDir, signal } = options;
  const repository = await openRepository(name, options);
  if (model.endsWith('_quant'))
    throw new Magi1Error(
      `${model}: is quantised already (fp8); ${model.replace('_quant', '')} can be had in ${bits} bits`,
    );
  await modelFiles(repository, model, signal); // names what is lacking
  const config = new TextEncoder().encode(JSON.stringify(modelConfig(model, '.')));
  const folder = checkedFolder(repository, new Map([['config.json', config]]));
  const store = cacheStore(cacheDir ?? hubSettings().cache, repository);
  const destination = localDir ?? join(store.root, `${store.modelFolder(model)}-q${bits}`);
  return planQuantize(folder, destination, { bits, signal });
}

export async function planDownload(name: string, options: PlanDownloadOptions): Promise<DownloadPlan> {
  const { model, localDir, signal, cacheDir } = options;
  const repository = await openRepository(name, options);
  const wanted = await modelFiles(repository, model, signal);
  const store =
    localDir === undefined ? cacheStore(cacheDir ?? hubSettings().cache, repository) : localStore(localDir, repository);
  const files: DownloadFile[] = [];
  for (const file of wanted) {
    const state = await store.state(file);
    const partial = state === 'missing' ? ((await sizeOf(store.partial(file))) ?? 0) : 0;
    files.push({ path: file.path, size: file.size, state, partial: partial > file.size ? 0 : partial });
  }
  const plan = new DownloadPlan(repository, store, model, wanted, files, await freeBytes(store.root));
  await plan.requireOwnConfig();
  return plan;
}

async function openRepository(
  name: string,
  { model, revision, signal, endpoint, token, localDir: _, cacheDir: __, ...http }: PlanDownloadOptions,
): Promise<HubRepository> {
  if (!PUBLISHED_MODELS.includes(model))
    throw new Magi1Error(`model: one of ${PUBLISHED_MODELS.join(', ')} expected, got ${model as string}`);
  const settings = hubSettings();
  return HubRepository.open(name, {
    ...http,
    endpoint: endpoint ?? settings.endpoint,
    token: token ?? settings.token,
    revision,
    signal,
  });
}

/** Of the disk that a folder is on, or will be. */
async function freeBytes(folder: string): Promise<number> {
  let there = folder;
  while (!exists(there) && dirname(there) !== there) there = dirname(there);
  const { bavail, bsize } = await statfs(there);
  return bavail * bsize;
}

function hashOf({ checksum, size }: HubFile): Hash {
  return checksum === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${size}\0`);
}

/** Takes the bytes of a file on the disk into a hash. */
async function hashInto(
  hash: Hash,
  path: string,
  onBytes: (count: number) => void,
  signal: AbortSignal | undefined,
): Promise<void> {
  for await (const piece of createReadStream(path, { highWaterMark: 1 << 20, signal })) {
    hash.update(piece as Buffer);
    onBytes((piece as Buffer).length);
  }
}

async function isWhole(
  path: string,
  file: HubFile,
  onBytes: (count: number) => void,
  signal: AbortSignal | undefined,
): Promise<boolean> {
  const hash = hashOf(file);
  await hashInto(hash, path, onBytes, signal);
  return hash.digest('hex') === file.etag;
}

/** What is there of a file is kept, the rest is fetched; where the whole is not what it should be, all of it once more. */
async function fetchFile(
  repository: HubRepository,
  store: Store,
  file: HubFile,
  rate: DownloadRate,
  signal: AbortSignal | undefined,
): Promise<void> {
  const partial = store.partial(file);
  await mkdir(dirname(partial), { recursive: true });
  for (let attempt = 1; ; attempt++) {
    if (((await sizeOf(partial)) ?? 0) > file.size) await rm(partial);
    rate.begin(file);
    const found = await complete(repository, partial, file, rate, signal);
    if (found === file.etag) break;
    await rm(partial);
    if (attempt === 2)
      throw new FileFormatError(
        `${file.path}: what came is not the file: ${file.checksum === 'git' ? 'git hash' : 'SHA-256'} ${file.etag} expected, twice came ${found} or another one`,
      );
  }
  await store.place(file);
}

/** Appends what is missing and returns the checksum of the whole, which is on the disk then. */
async function complete(
  repository: HubRepository,
  partial: string,
  file: HubFile,
  rate: DownloadRate,
  signal: AbortSignal | undefined,
): Promise<string> {
  const hash = hashOf(file);
  let handle: FileHandle | undefined;
  try {
    handle = await open(partial, 'a');
    const { size: start } = await handle.stat();
    if (start > 0) await hashInto(hash, partial, rate.check(file), signal);
    const options = { ...repository.http, signal, wholeAnswers: 'skip' } as const;
    for await (const piece of readHttpRange(repository.locate(file), start, file.size, options)) {
      await writeAll(handle, piece);
      hash.update(piece);
      rate.advance(file, piece.length);
    }
    await handle.sync();
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof Magi1Error || !('syscall' in (cause as object))) throw cause;
    throw new Magi1Error(`${partial}: ${reasonOf(cause)}; what has come is kept`, { cause });
  } finally {
    await handle?.close();
  }
  return hash.digest('hex');
}

async function writeAll(handle: FileHandle, bytes: Uint8Array): Promise<void> {
  for (let done = 0; done < bytes.length;) {
    const { bytesWritten } = await handle.write(bytes, done);
    done += bytesWritten;
  }
}
