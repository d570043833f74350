// Quantising a model folder: what it takes is checked first; then file by file, into a folder beside the new one, which takes
// its name when it is complete.
import { createHash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, readFile, realpath, rename, rm, rmdir, statfs } from 'node:fs/promises';
import { basename, dirname, join, resolve, sep } from 'node:path';
import { isFolder } from '@magi1/loaders';
import type { Folder } from '@magi1/loaders';
import { Magi1Error, describeValue } from '@magi1/tensor';
import { DownloadRate } from '../../hub/node/rate.ts';
import type { DownloadListener } from '../../hub/node/rate.ts';
import { sizeOf, writeWhole } from '../../hub/node/store.ts';
import { namesIn, reasonOf, statOf } from '../../media/node/move.ts';
import { reserve } from '../../media/node/reservation.ts';
import { formatLimit, formatNeed } from '../../wording.ts';
import { planModel, readModel } from '../model-plan.ts';
import type { Bits, ModelPlan, PlannedFile, QuantizedPart } from '../model-plan.ts';
import { NETWORK_NAMES } from '../network-names.ts';
import type { NetworkName } from '../network-names.ts';
import { WrongContentError, bytesThere, dropFile, growFile } from './growing-file.ts';
import type { CheckedSource, GrowingPaths } from './growing-file.ts';

export interface PlanQuantizeOptions {
  readonly bits: Bits;
  /** Networks that are quantised; the others are copied. Default all. */
  readonly only?: readonly NetworkName[] | undefined;
  /** Replaces a quantised model that is at the destination. */
  readonly overwrite?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface QuantizeOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: DownloadListener | undefined;
}

export interface QuantizedModel {
  /** The folder for `fromPretrained` and `--model`. */
  readonly modelFolder: string;
  readonly files: number;
  readonly bytes: number;
  /** Bytes of the source that were read now: less than all where an earlier run had done some of it. */
  readonly readBytes: number;
}

/** The layout of the folder, and the name of the file that says what it is. */
const FORMAT = 'magi1-quantized-1';
const MANIFEST = 'quantized.json';

interface Manifest {
  readonly format: string;
  readonly bits: Bits;
  readonly quantized: readonly NetworkName[];
  /** Of the source and the settings. */
  readonly identity: string;
  readonly files: Readonly<Record<string, { readonly bytes: number; readonly sha256: string }>>;
}

/** What quantising will do. */
export class QuantizePlan {
  readonly modelFolder: string;
  readonly bits: Bits;
  readonly parts: readonly QuantizedPart[];
  /** Of the source's files that are read. */
  readonly sourceBytes: number;
  /** Of the new model. */
  readonly bytes: number;
  /** Of it, what is still to be written. */
  readonly missingBytes: number;
  /** On the disk, for whoever quantises. */
  readonly freeBytes: number;
  /** The new model is there already, made of the same source with the same settings. */
  readonly complete: boolean;
  readonly #plan: ModelPlan;
  readonly #only: readonly NetworkName[];
  readonly #identity: string;
  readonly #work: string;

  constructor(
    modelFolder: string,
    plan: ModelPlan,
    settings: { bits: Bits; only: readonly NetworkName[]; identity: string },
    found: { complete: boolean; missingBytes: number; freeBytes: number },
  ) {
    this.modelFolder = modelFolder;
    this.bits = settings.bits;
    this.parts = plan.parts;
    this.sourceBytes = plan.files.reduce((sum, { read }) => sum + read, 0);
    this.bytes = plan.files.reduce((sum, { size }) => sum + size, 0);
    ({ complete: this.complete, missingBytes: this.missingBytes, freeBytes: this.freeBytes } = found);
    this.#plan = plan;
    this.#only = settings.only;
    this.#identity = settings.identity;
    this.#work = workFolder(modelFolder);
  }

  /**
   * Makes what is missing. After an abort or a failure what is finished stays for the next time.
   * @throws Magi1Error before anything is written when the disk lacks room or another run is at work there
   */
  async run({ signal, onProgress }: QuantizeOptions = {}): Promise<QuantizedModel> {
    signal?.throwIfAborted();
    const { modelFolder, bytes } = this;
    const files = this.#plan.files.length;
    if (this.complete) {
      await rm(this.#work, { recursive: true, force: true });
      return { modelFolder, files, bytes, readBytes: 0 };
    }
    if (this.missingBytes > this.freeBytes)
      throw new Magi1Error(
        `${modelFolder}: ${formatNeed(this.missingBytes)} are still to be written, and the disk has ${formatLimit(this.freeBytes)} left`,
      );
    try {
      await mkdir(this.#work, { recursive: true });
      const lock = join(this.#work, 'lock');
      for (const left of reserve(lock, `quantising to ${modelFolder}`)) await rm(left, { recursive: true });
      try {
        await writeWhole(join(this.#work, 'identity'), this.#identity);
        const rate = new DownloadRate(this.sourceBytes, onProgress);
        await this.#make(rate, signal);
        await this.#finish();
        return { modelFolder, files, bytes, readBytes: rate.fetched };
      } finally {
        await rm(lock, { recursive: true, force: true });
      }
    } catch (cause) {
      signal?.throwIfAborted();
      const { path, syscall } = cause as NodeJS.ErrnoException;
      if (syscall === undefined || path === undefined) throw cause;
      throw new Magi1Error(`${path}: ${reasonOf(cause)}; what is finished is kept`, { cause });
    }
  }

  async #make(rate: DownloadRate, signal: AbortSignal | undefined): Promise<void> {
    const made: Record<string, Manifest['files'][string]> = {};
    for (const file of this.#plan.files) {
      signal?.throwIfAborted();
      made[file.path] = { bytes: file.size, sha256: await this.#makeFile(file, rate, signal) };
      rate.finished({ path: file.path, size: file.read }, 'quantizing');
    }
    const manifest: Manifest = {
      format: FORMAT,
      bits: this.bits,
      quantized: this.#only,
      identity: this.#identity,
      files: made,
    };
    await writeWhole(join(this.#work, 'model', MANIFEST), `${JSON.stringify(manifest, null, 2)}\n`);
  }

  async #makeFile(file: PlannedFile, rate: DownloadRate, signal: AbortSignal | undefined): Promise<string> {
    const paths = growingPaths(this.#work, file.path);
    const progress = { path: file.path, size: file.read };
    for (let attempt = 1; ; attempt++) {
      rate.begin(progress, 'quantizing');
      const { content, source } = await file.open({ signal });
      try {
        const checked = source !== undefined && 'verify' in source ? (source as CheckedSource) : undefined;
        const { sha256 } = await growFile(paths, content, {
          signal,
          onPiece: (read, activity) => {
            if (activity === 'checking') rate.check(progress)(read);
            else rate.advance(progress, read, activity);
          },
          begin: checked && ((state) => checked.begin(state)),
          state: checked && (() => checked.state()),
          verify: checked && (() => checked.verify()),
        });
        return sha256;
      } catch (cause) {
        if (!(cause instanceof WrongContentError)) throw cause;
        await dropFile(paths);
        if (attempt === 2) throw cause;
      } finally {
        await source?.close();
      }
    }
  }

  /** All files are there: the folder takes its name. What it replaces goes when it has. */
  async #finish(): Promise<void> {
    const made = join(this.#work, 'model');
    if (statOf(this.modelFolder) !== undefined) {
      if (namesIn(this.modelFolder).length === 0) await rmdir(this.modelFolder);
      else await rename(this.modelFolder, join(this.#work, `replaced-${crypto.randomUUID()}`));
    }
    await rename(made, this.modelFolder);
    await rm(this.#work, { recursive: true, force: true });
  }
}

const workFolder = (modelFolder: string): string => `${modelFolder}.unfinished`;

const growingPaths = (work: string, path: string): GrowingPaths => ({
  final: join(work, 'model', path),
  partial: join(work, 'growing', `${path}.incomplete`),
  journal: join(work, 'growing', `${path}.journal`),
});

/**
 * Opens a model, checks it and says what its quantised form will be; nothing is written.
 * @param source a model folder by its path or as a Folder, or a config file of the original
 * @param destination the folder that the new model will be; it is made
 */
export async function planQuantize(
  source: string | URL | Folder,
  destination: string,
  options: PlanQuantizeOptions,
): Promise<QuantizePlan> {
  const { bits, only = NETWORK_NAMES, overwrite = false, signal } = options;
  if ((bits as unknown) !== 8 && (bits as unknown) !== 4)
    throw new Magi1Error(`bits: 8 or 4 expected, got ${describeValue(bits)}`);
  const unknown = only.find((name) => !NETWORK_NAMES.includes(name));
  if (unknown !== undefined || only.length === 0)
    throw new Magi1Error(`only: some of ${NETWORK_NAMES.join(', ')} expected, got ${unknown ?? 'none'}`);
  const chosen = NETWORK_NAMES.filter((name) => only.includes(name));
  const modelFolder = resolve(destination);
  if (!isFolder(source)) await requireApart(source, modelFolder);
  const model = await readModel(source, { signal });
  const plan = await planModel(model, bits, chosen, { signal });
  const identity = identityOf(plan.files, bits, chosen);
  const complete = await requireFree(modelFolder, identity, overwrite);
  const work = workFolder(modelFolder);
  const left = await readFile(join(work, 'identity'), 'utf8').catch(() => undefined);
  if (left !== undefined && left !== identity && !complete) {
    if (!overwrite)
      throw new Magi1Error(
        `${work}: holds unfinished work of another model, another state of it or other settings; go on with those, or ask to overwrite it`,
      );
    await rm(work, { recursive: true });
  }
  let there = 0;
  for (const file of plan.files) there += Math.min(file.size, await bytesThere(growingPaths(work, file.path)));
  const bytes = plan.files.reduce((sum, { size }) => sum + size, 0);
  const missingBytes = complete ? 0 : bytes - there;
  return new QuantizePlan(
    modelFolder,
    plan,
    { bits, only: chosen, identity },
    { complete, missingBytes, freeBytes: await freeBytes(modelFolder) },
  );
}

function identityOf(files: readonly PlannedFile[], bits: Bits, only: readonly NetworkName[]): string {
  const facts = files.map(({ path, size, source }) => [path, size, source]);
  return createHash('sha256')
    .update(JSON.stringify([FORMAT, bits, only, facts]))
    .digest('hex');
}

/** Whether the new model is there; what else is there must be one that may be replaced. */
async function requireFree(modelFolder: string, identity: string, overwrite: boolean): Promise<boolean> {
  const facts = statOf(modelFolder);
  if (facts === undefined) return false;
  if (!facts.isDirectory()) throw new Magi1Error(`${modelFolder}: is a file; name a folder that is to be made`);
  if (namesIn(modelFolder).length === 0) return false;
  const manifest = await readManifest(modelFolder);
  if (manifest === undefined)
    throw new Magi1Error(
      `${modelFolder}: exists, and is no quantised model that could be replaced; name another folder`,
    );
  if (manifest.identity === identity && (await isWhole(modelFolder, manifest))) return true;
  if (!overwrite)
    throw new Magi1Error(
      `${modelFolder}: exists, a model in ${manifest.bits} bits of another source, other settings or with other files; name another folder, or ask to overwrite it`,
    );
  return false;
}

async function readManifest(folder: string): Promise<Manifest | undefined> {
  try {
    const manifest = JSON.parse(await readFile(join(folder, MANIFEST), 'utf8')) as Partial<Manifest>;
    return manifest.format === FORMAT && typeof manifest.files === 'object' ? (manifest as Manifest) : undefined;
  } catch {
    return undefined; // not one of ours
  }
}

async function isWhole(folder: string, { files }: Manifest): Promise<boolean> {
  for (const [path, { bytes }] of Object.entries(files)) if ((await sizeOf(join(folder, path))) !== bytes) return false;
  return true;
}

/** The new model must not lie where the old one is: it would be part of it, or take its place. */
async function requireApart(source: string | URL, modelFolder: string): Promise<void> {
  const { locate } = await import('@magi1/loaders');
  const found = await locate(source).catch(() => undefined);
  if (found === undefined) return; // said when it is read
  const { folder } = found;
  const from = await realpath(resolve(folder.name)).catch(() => resolve(folder.name));
  let parent = dirname(modelFolder);
  while (!existsSync(parent) && dirname(parent) !== parent) parent = dirname(parent);
  const to = existsSync(modelFolder)
    ? await realpath(modelFolder)
    : join(await realpath(parent), modelFolder.slice(parent.length), '.');
  const shown = basename(modelFolder);
  if (from === to) throw new Magi1Error(`${shown}: is the model that is to be quantised; name another folder`);
  if (`${to}${sep}`.startsWith(`${from}${sep}`))
    throw new Magi1Error(`${shown}: lies inside the model that is to be quantised; name a folder outside it`);
  if (`${from}${sep}`.startsWith(`${to}${sep}`))
    throw new Magi1Error(`${shown}: the model that is to be quantised lies inside it; name another folder`);
}

/** Of the disk that a folder is on, or will be. */
async function freeBytes(folder: string): Promise<number> {
  let there = folder;
  while (!existsSync(there) && dirname(there) !== there) there = dirname(there);
  const { bavail, bsize } = await statfs(there);
  return bavail * bsize;
}
