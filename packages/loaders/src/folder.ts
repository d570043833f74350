// A folder of files, wherever it is: everything that reads a model goes through one.
import { FileFormatError, Magi1Error, describeValue } from '@magi1/tensor';
import { NotFoundError, STEP, checkRange, destination, reason } from './bytes.ts';
import type { ByteSource } from './bytes.ts';
import { localPath, requireNode } from './node.ts';

type FileHandle = Awaited<ReturnType<(typeof import('node:fs/promises'))['open']>>;

export interface FolderOptions {
  readonly signal?: AbortSignal | undefined;
}

/**
 * Files by path, with forward slashes. On a disk (`nodeFolder`), behind a URL or in a browser: whoever reads a model
 * needs no more than this.
 */
export interface Folder {
  /** What its user calls it; error messages begin with it. */
  readonly name: string;
  /**
   * Names of the files and folders right in it.
   * @throws NotFoundError where there is no such folder
   */
  list(options?: FolderOptions): Promise<readonly string[]>;
  /**
   * A file in it or below it, which the caller closes.
   * @throws NotFoundError where there is no such file
   */
  open(path: string, options?: FolderOptions): Promise<ByteSource>;
  /** The folder at a path from here, which need not exist. */
  at(path: string): Folder;
}

/**
 * A folder on the disk, for Node. Its paths may lead out of it (`../weights`) or be absolute; it stays the same one when
 * the working directory changes.
 */
export function nodeFolder(where: string | URL): Folder {
  const name = localPath(where);
  return diskFolder(requireNode('node:path').resolve(name), name);
}

function diskFolder(root: string, name: string): Folder {
  const path = requireNode('node:path');
  return {
    name,
    async list({ signal } = {}) {
      signal?.throwIfAborted();
      const { readdir } = requireNode('node:fs/promises');
      const names = await readdir(root).catch((cause: unknown) => {
        const { code } = cause as { code?: unknown };
        if (code === 'ENOENT') throw new NotFoundError(`${name}: there is no such folder`, { cause });
        throw new FileFormatError(
          `${name}: ${code === 'ENOTDIR' ? 'expected a folder, found a file' : `cannot be listed (${reason(cause)})`}`,
          { cause },
        );
      });
      return names.sort();
    },
    async open(file, { signal } = {}) {
      signal?.throwIfAborted();
      const where = under(name, file);
      const { open, constants } = requireNode('node:fs/promises');
      // Else the opening of a pipe would wait for its writer; Windows has no such flag and no such pipes.
      const flags = constants.O_RDONLY | ((constants.O_NONBLOCK as number | undefined) ?? 0);
      const handle = await open(path.resolve(root, file), flags).catch((cause: unknown) => {
        if ((cause as { code?: unknown }).code === 'ENOENT')
          throw new NotFoundError(`${where}: there is no such file`, { cause });
        throw new FileFormatError(`${where}: cannot be opened (${reason(cause)})`, { cause });
      });
      const facts = await handle.stat();
      if (facts.isFile()) return fileSource(handle, where, facts.size, String(facts.mtimeMs));
      await handle.close();
      throw new FileFormatError(
        `${where}: expected a file, found ${facts.isDirectory() ? 'a folder' : 'a special file'}`,
      );
    },
    at: (folder) => diskFolder(path.resolve(root, folder), under(name, folder)),
  };
}

/** Closes what its user forgot: Node would complain about the handle, newer versions by an exception. */
const forgotten = new FinalizationRegistry<{ close(): Promise<void> }>((handle) => void handle.close());

function fileSource(handle: FileHandle, name: string, size: number, version: string): ByteSource {
  const source: ByteSource = {
    name,
    size,
    version,
    async read(offset, length, into, stop) {
      checkRange(source, offset, length);
      const out = destination(name, length, into);
      for (let done = 0; done < length;) {
        stop?.throwIfAborted();
        const { bytesRead } = await handle.read(out, done, Math.min(STEP, length - done), offset + done);
        // `source` is named here, so that it is not collected, and its file not closed, while it reads.
        if (bytesRead === 0)
          throw new FileFormatError(`${source.name}: shrank while it was read, at byte ${offset + done}`);
        done += bytesRead;
      }
      return out;
    },
    close() {
      forgotten.unregister(source);
      return handle.close();
    },
  };
  forgotten.register(source, handle, source);
  return source;
}

/**
 * Opens a file for reading in Node.
 * @throws NotFoundError when it is missing, FileFormatError when it is unreadable or not a regular file.
 */
export async function openFile(where: string | URL, options?: FolderOptions): Promise<ByteSource> {
  return nodeFolder('.').open(localPath(where), options);
}

/** A path in a folder as messages show it: as it was typed, behind the folder's name. */
function under(name: string, file: string): string {
  const path = requireNode('node:path');
  return path.isAbsolute(file) ? file : path.join(name, file);
}

/** Whether it opens files itself. */
export function isFolder(value: unknown): value is Folder {
  const methods = (value ?? {}) as Record<string, unknown>;
  return !(value instanceof URL) && ['list', 'open', 'at'].every((name) => typeof methods[name] === 'function');
}

/** A file or a folder that a user named by its path: the folder, and the file's name in it where it is a file. */
export interface Located {
  readonly folder: Folder;
  readonly file: string | undefined;
}

/**
 * What is at a path of this machine; a Folder stands for itself.
 * @throws NotFoundError where nothing is there, Magi1Error for what is none of these, and for URLs of another kind than `file:`
 */
export async function locate(where: string | URL | Folder): Promise<Located> {
  if (isFolder(where)) return { folder: where, file: undefined };
  if (typeof where !== 'string' && !((where as unknown) instanceof URL))
    throw new Magi1Error(`a path, URL or Folder (name, list, open, at) expected, got ${describeValue(where)}`);
  const name = localPath(where);
  const facts = await requireNode('node:fs/promises')
    .stat(name)
    .catch((cause: unknown) => {
      const missing = (cause as { code?: unknown }).code === 'ENOENT';
      throw missing
        ? new NotFoundError(`${name}: there is no such file or folder`, { cause })
        : new FileFormatError(`${name}: cannot be read (${reason(cause)})`, { cause });
    });
  if (facts.isDirectory()) return { folder: nodeFolder(name), file: undefined };
  const path = requireNode('node:path');
  return { folder: nodeFolder(path.dirname(name)), file: path.basename(name) };
}

/** Names in a folder, whoever wrote it. */
export async function listNames(folder: Folder, options?: FolderOptions): Promise<readonly string[]> {
  const names: unknown = await folder.list(options);
  if (Array.isArray(names) && names.every((name) => typeof name === 'string')) return names;
  throw new FileFormatError(
    `${folder.name}: list() of a Folder must give a list of names, got ${describeValue(names)}`,
  );
}

/** A file of a folder, whoever wrote that. */
export async function openIn(folder: Folder, path: string, options?: FolderOptions): Promise<ByteSource> {
  const source: unknown = await folder.open(path, options);
  const methods = (source ?? {}) as Record<string, unknown>;
  if (['read', 'close'].every((name) => typeof methods[name] === 'function')) return source as ByteSource;
  throw new FileFormatError(
    `${folder.name}: open(${JSON.stringify(path)}) of a Folder must give a ByteSource, got ${describeValue(source)}`,
  );
}

/** Opens a file, hands it over and closes it, whatever happens. */
export async function withFile<T>(
  folder: Folder,
  path: string,
  use: (source: ByteSource) => Promise<T>,
  options?: FolderOptions,
): Promise<T> {
  const source = await openIn(folder, path, options);
  try {
    return await use(source);
  } finally {
    await source.close();
  }
}

/**
 * All bytes of a small file.
 * @throws FileFormatError when it has more than `limit` bytes
 */
export function readBytes(folder: Folder, path: string, limit: number, options?: FolderOptions): Promise<Uint8Array> {
  return withFile(
    folder,
    path,
    (source) => {
      const { name, size } = source;
      if (size > limit) throw new FileFormatError(`${name}: a file of ${size} bytes, at most ${limit} expected`);
      return source.read(0, size, undefined, options?.signal);
    },
    options,
  );
}

/** Configs have kilobytes. */
const MAX_JSON = 4 << 20;

/** A JSON file of up to 4 MiB; a broken one is an error that names it. */
export async function readJson(folder: Folder, path: string, options?: FolderOptions): Promise<unknown> {
  const bytes = await readBytes(folder, path, MAX_JSON, options);
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) as unknown;
  } catch (cause) {
    throw new FileFormatError(`${folder.at(path).name}: is not valid JSON (${(cause as Error).message})`, { cause });
  }
}

/** What a file holds, or undefined where there is no such file; every other fault stays one. */
export async function ifFound<T>(reading: Promise<T>): Promise<T | undefined> {
  try {
    return await reading;
  } catch (cause) {
    if (cause instanceof NotFoundError) return undefined;
    throw cause;
  }
}
