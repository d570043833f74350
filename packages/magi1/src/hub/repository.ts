// A model repository of a Hugging Face hub, at one commit: its files with their checksums, and a Folder that reads them.
import { HttpError, fetchDocument, httpFolder } from '@magi1/loaders';
import type { Folder, HttpFile, HttpOptions } from '@magi1/loaders';
import { FileFormatError, Magi1Error } from '@magi1/tensor';

export interface HubFile {
  /** In the repository, with forward slashes. */
  readonly path: string;
  /** In bytes. */
  readonly size: number;
  /** What the hub calls its content: the SHA-256 of a large file, else the hash that git has for it. */
  readonly etag: string;
  /** Of its bytes; `git` puts `blob <size>\0` before them. */
  readonly checksum: 'sha256' | 'git';
}

export interface RepositoryOptions extends HttpOptions {
  /** Default https://huggingface.co. */
  readonly endpoint?: string | undefined;
  readonly token?: string | undefined;
  /** A branch, a tag or a commit; default main. */
  readonly revision?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

const ENDPOINT = 'https://huggingface.co';
/** Of one answer of the hub's API. */
const MAX_ANSWER = 64 << 20;
const MAX_PAGES = 1000;

/** @throws Magi1Error unless it is the address of a server; a password in it is not shown */
export function checkEndpoint(what: string, endpoint: string): void {
  // All up to the last @ of what names the server.
  const secret = /^(?:[a-z]+:)?(?:\/\/)?[^/?#]*@/i;
  if (secret.test(endpoint))
    throw new Magi1Error(
      `${what}: a URL without a user and a password expected, got one of ${endpoint.replace(secret, '')}; give a token in HF_TOKEN`,
    );
  if (!/^https?:\/\/[^/]/.test(endpoint) || !URL.canParse(endpoint))
    throw new Magi1Error(`${what}: a URL as in https://huggingface.co expected, got "${endpoint}"`);
}

export class HubRepository {
  /** `owner/name` */
  readonly name: string;
  readonly revision: string;
  /** The commit that the revision is. */
  readonly commit: string;
  readonly files: ReadonlyMap<string, HubFile>;
  /** All files, read over the network by ranges. */
  readonly folder: Folder;
  /** For requests of single files. */
  readonly http: HttpOptions;
  readonly #resolve: string;

  private constructor(
    names: Pick<HubRepository, 'name' | 'revision' | 'commit'>,
    files: ReadonlyMap<string, HubFile>,
    endpoint: string,
    http: HttpOptions,
  ) {
    ({ name: this.name, revision: this.revision, commit: this.commit } = names);
    this.files = files;
    this.http = http;
    this.#resolve = `${endpoint}/${this.name}/resolve/${this.commit}`;
    const sizes = new Map([...files].map(([path, { size }]) => [path, size]));
    this.folder = httpFolder(this.#resolve, { ...http, name: this.name, files: sizes });
  }

  /**
   * Asks the hub for a repository's commit and files.
   * @throws Magi1Error that says what to do where the hub refuses
   */
  static async open(
    name: string,
    { endpoint = ENDPOINT, token, revision = 'main', signal, ...options }: RepositoryOptions = {},
  ): Promise<HubRepository> {
    if (!/^(?!.*(\.\.|--))[\w.-]+\/[\w.-]+$/.test(name))
      throw new Magi1Error(`repository "${name}": a name as in sand-ai/MAGI-1 expected`);
    if (!/^(?!.*\.\.)[\w.-]+(\/[\w.-]+)*$/.test(revision))
      throw new Magi1Error(`revision "${revision}": a branch, a tag or a commit expected`);
    checkEndpoint('endpoint', endpoint);
    const http = { ...options, headers: { ...options.headers, ...(token && { authorization: `Bearer ${token}` }) } };
    const hub = endpoint.replace(/\/+$/, '');
    const ask = async (path: string) => {
      const called = `${hub}${path.replace(/\?.*/, '')}`;
      const { bytes, headers } = await fetchDocument(called, `${hub}${path}`, MAX_ANSWER, http, signal).catch(
        (error: unknown) => {
          throw error instanceof HttpError ? refusal(error, { name, revision, hub, token }) : error;
        },
      );
      try {
        return { json: JSON.parse(new TextDecoder().decode(bytes)) as unknown, headers };
      } catch (cause) {
        const page = headers.get('content-type')?.startsWith('text/html') === true;
        throw new FileFormatError(
          `${called}: ${page ? 'a web page came instead of an answer; is there a proxy or a login page in between, or is HF_ENDPOINT no hub?' : 'the answer is not valid JSON'}`,
          { cause },
        );
      }
    };
    const { json } = await ask(`/api/models/${name}/revision/${encodeURIComponent(revision)}`);
    const commit = (json as { sha?: unknown } | null)?.sha;
    if (typeof commit !== 'string' || !/^[0-9a-f]{40}$/.test(commit))
      throw new FileFormatError(`${name}: the hub names no commit for ${revision}`);
    const files = new Map<string, HubFile>();
    const tree = `/api/models/${name}/tree/${commit}`;
    let query: string | undefined = '?recursive=true&expand=false';
    for (let page = 0; query !== undefined; page++) {
      if (page === MAX_PAGES) throw new FileFormatError(`${name}: the list of files does not end`);
      const answer = await ask(tree + query);
      if (!Array.isArray(answer.json)) throw new FileFormatError(`${name}: the hub lists no files`);
      for (const entry of answer.json as unknown[]) {
        const file = readEntry(entry, name);
        if (file !== undefined) files.set(file.path, file);
      }
      query = nextQuery(answer.headers.get('link'), hub, tree);
    }
    return new HubRepository({ name, revision, commit }, files, hub, http);
  }

  /** Where a file is; with a token, only the hub itself is sent it. */
  locate({ path, size }: HubFile): HttpFile {
    const url = `${this.#resolve}/${path.split('/').map(encodeURIComponent).join('/')}`;
    return { name: `${this.name}/${path}`, url, size };
  }
}

/** The page after this one. Of the link only the query counts: mirrors pass on links to the hub that they mirror. */
function nextQuery(link: string | null, hub: string, page: string): string | undefined {
  const next = /<([^>]*)>\s*;[^,]*\brel="?next"?/.exec(link ?? '')?.[1];
  if (next === undefined) return undefined;
  if (!URL.canParse(next, hub))
    throw new FileFormatError(`${hub}${page}: the hub's link to the next page, "${next}", is no URL`);
  return new URL(next, hub).search;
}

/** Undefined for folders, and for paths that could leave the folder that they are put into. */
function readEntry(entry: unknown, repository: string): HubFile | undefined {
  const { type, path, size, oid, lfs } = (entry ?? {}) as Record<string, unknown>;
  if (type !== 'file' || typeof path !== 'string' || !isSafe(path)) return undefined;
  const large = lfs as { oid?: unknown; size?: unknown } | null | undefined;
  const etag = large?.oid ?? oid;
  const bytes = large?.size ?? size;
  const checksum = large ? 'sha256' : 'git';
  if (typeof etag !== 'string' || !(large ? /^[0-9a-f]{64}$/ : /^[0-9a-f]{40}$/).test(etag))
    throw new FileFormatError(`${repository}/${path}: the hub gives no ${checksum} checksum of it`);
  if (!Number.isSafeInteger(bytes) || (bytes as number) < 0)
    throw new FileFormatError(`${repository}/${path}: the hub gives no size of it`);
  return { path, size: bytes as number, etag, checksum };
}

function isSafe(path: string): boolean {
  return !/[\u0000-\u001f\u007f\\:]/.test(path) && !path.split('/').some((part) => ['', '.', '..'].includes(part));
}

interface Asked {
  readonly name: string;
  readonly revision: string;
  readonly hub: string;
  readonly token: string | undefined;
}

function refusal(error: HttpError, { name, revision, hub, token }: Asked): Error {
  const { status, code, message } = error;
  const say = (text: string) => new Magi1Error(text, { cause: error });
  if (code === 'RevisionNotFound') return say(`${name}: has no revision "${revision}"`);
  if (code === 'GatedRepo' || status === 403)
    return say(
      `${name}: access is not granted (${status}); accept its terms at ${hub}/${name} and give a token that may read it in HF_TOKEN`,
    );
  if (status === 401)
    return say(
      token === undefined
        ? `${name}: there is no such public repository at ${hub} (401); if it is private, give a token in HF_TOKEN`
        : `${name}: the hub does not take the token (401), or it may not read this repository; see HF_TOKEN`,
    );
  if (status === 404) return say(`${name}: there is no such repository at ${hub} (404)`);
  return say(message);
}
