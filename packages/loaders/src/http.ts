// Files over HTTP, read by ranges: a range goes on where it was cut, and a folder of them is read like any other.
import { FileFormatError } from '@magi1/tensor';
import { NotFoundError, checkRange, destination } from './bytes.ts';
import type { ByteSource } from './bytes.ts';
import type { Folder, FolderOptions } from './folder.ts';
import { HttpCut, HttpError, Retries, request, withoutPassword } from './http-request.ts';
import type { HttpAnswer, HttpOptions } from './http-request.ts';

/** A file on a server. */
export interface HttpFile {
  /** What messages call it. */
  readonly name: string;
  readonly url: string;
  /** In bytes; an answer that says otherwise is refused. */
  readonly size: number;
}

export interface HttpRangeOptions extends HttpOptions {
  readonly signal?: AbortSignal | undefined;
  /**
   * What to do with a server that sends the whole file when it is asked for a part: throw away what comes before the part
   * (`skip`), or refuse (the default), since for many small parts that would be many whole files.
   */
  readonly wholeAnswers?: 'refuse' | 'skip';
}

/**
 * The bytes from `start` to `end` in the pieces in which they come. After a cut it asks for the rest, as long as anything
 * comes between failures.
 * @throws NotFoundError when the server has no such file; HttpError when it refuses; FileFormatError when it sends something
 * else, or nothing after several attempts
 */
export async function* readHttpRange(
  file: HttpFile,
  start: number,
  end: number,
  { signal, wholeAnswers = 'refuse', ...options }: HttpRangeOptions = {},
): AsyncGenerator<Uint8Array, void, undefined> {
  checkRange(file, start, end - start);
  const retries = new Retries(file.name, options);
  let at = start;
  while (at < end) {
    try {
      const range = { range: `bytes=${at}-${end - 1}` };
      const answer = await request(file.name, file.url, range, options, signal);
      let skip: number;
      try {
        skip = checkAnswer(file, answer, at, end, wholeAnswers);
      } catch (fault) {
        await answer.cancel();
        throw fault;
      }
      for await (const piece of answer.body()) {
        retries.reset();
        const from = Math.min(skip, piece.length);
        skip -= from;
        const part = piece.subarray(from, from + end - at);
        at += part.length;
        if (part.length > 0) yield part;
        if (at === end) return;
      }
      throw new HttpCut(`the answer ended at byte ${at} of ${end}`);
    } catch (cause) {
      if (cause instanceof HttpError && (cause.status === 404 || cause.status === 410))
        throw new NotFoundError(`${file.name}: there is no such file (the server answers ${cause.status})`, { cause });
      await retries.after(cause, signal);
    }
  }
}

/** How many bytes come before `at` in an answer. */
function checkAnswer(
  { name, size }: HttpFile,
  { status, headers }: HttpAnswer,
  at: number,
  end: number,
  wholeAnswers: 'refuse' | 'skip',
): number {
  const type = headers.get('content-type') ?? '';
  if (type.startsWith('text/html') && !/\.html?$/.test(name))
    throw new FileFormatError(
      `${name}: a web page came instead of the file; is there a proxy or a login page in between?`,
    );
  if (status === 206) {
    const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(headers.get('content-range') ?? '');
    if (range === null || Number(range[1]) !== at)
      throw new FileFormatError(
        `${name}: asked for bytes ${at} to ${end}, the server sends ${headers.get('content-range') ?? 'an unnamed range'}`,
      );
    if (range[2] !== '*') checkSize(name, size, Number(range[2]));
    return 0;
  }
  const length = headers.get('content-length');
  if (length !== null && !headers.has('content-encoding')) checkSize(name, size, Number(length));
  if (at > 0 && wholeAnswers === 'refuse')
    throw new FileFormatError(`${name}: the server sends whole files only, and a part was asked for`);
  return at;
}

function checkSize(name: string, expected: number, said: number): void {
  if (said !== expected) throw new FileFormatError(`${name}: ${expected} bytes expected, the server has ${said}`);
}

/** A file on a server as a ByteSource. Nothing is asked for before it is read. */
export function httpSource(file: HttpFile, options: HttpOptions = {}): ByteSource {
  const { name, size } = file;
  return {
    name,
    size,
    async read(offset, length, into, signal) {
      checkRange(file, offset, length);
      const out = destination(name, length, into);
      let done = 0;
      for await (const piece of readHttpRange(file, offset, offset + length, { ...options, signal })) {
        out.set(piece, done);
        done += piece.length;
      }
      return out;
    },
    close: async () => {},
  };
}

export interface HttpFolderOptions extends HttpOptions {
  /** Default the URL. */
  readonly name?: string | undefined;
  /** Sizes in bytes of all files in it and below, by path: HTTP itself cannot list a folder. */
  readonly files: ReadonlyMap<string, number>;
}

/** Files below a URL as a Folder; each is asked for when it is read. */
export function httpFolder(
  where: string | URL,
  { name = withoutPassword(String(where).replace(/\/+$/, '')), files, ...options }: HttpFolderOptions,
): Folder {
  const base = String(where).replace(/\/*$/, '/');
  return below([]);

  function below(parts: readonly string[]): Folder {
    const called = [name, ...parts].join('/');
    return {
      name: called,
      // eslint-disable-next-line @typescript-eslint/require-await -- errors must reject, not throw
      async list({ signal }: FolderOptions = {}) {
        signal?.throwIfAborted();
        const prefix = parts.map((part) => `${part}/`).join('');
        const inside = [...files.keys()].filter((path) => path.startsWith(prefix));
        if (inside.length === 0) throw new NotFoundError(`${called}: there is no such folder`);
        return [...new Set(inside.map((path) => path.slice(prefix.length).split('/')[0]!))].sort();
      },
      // eslint-disable-next-line @typescript-eslint/require-await -- errors must reject, not throw
      async open(path, { signal }: FolderOptions = {}) {
        signal?.throwIfAborted();
        const whole = resolve(parts, path);
        const size = files.get(whole.join('/'));
        const file = [name, ...whole].join('/');
        if (size === undefined) throw new NotFoundError(`${file}: there is no such file`);
        return httpSource({ name: file, url: base + whole.map(encodeURIComponent).join('/'), size }, options);
      },
      at: (path) => below(resolve(parts, path)),
    };
  }
}

/** `../vae` from `ckpt/magi`; above the root there is nothing, and the root itself stays. */
function resolve(parts: readonly string[], path: string): string[] {
  const result = [...parts];
  for (const part of path.split('/')) {
    if (part === '..') result.pop();
    else if (part !== '' && part !== '.') result.push(part);
  }
  return result;
}
