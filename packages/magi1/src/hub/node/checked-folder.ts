// A repository as a folder whose files are checked while they are read: small ones before they are handed over, weights as
// they pass, once from their beginning to their end.
import { createHash } from 'node:crypto';
import { bytesSource, listNames, readHttpRange } from '@magi1/loaders';
import type { ByteSource, Folder } from '@magi1/loaders';
import { FileFormatError } from '@magi1/tensor';
import { WrongContentError } from '../../quantize/node/growing-file.ts';
import type { CheckedSource } from '../../quantize/node/growing-file.ts';
import { Sha256 } from '../sha256.ts';
import type { HubFile, HubRepository } from '../repository.ts';

/** Everything but weights is read whole: configs, indices, tokenizers, tables. */
const WHOLE = /\.(json|model|npz|txt)$/;
const MAX_WHOLE = 64 << 20;
/** Bytes skipped at a time. */
const STEP = 1 << 20;

/** @param more small files in it that the repository does not have */
export function checkedFolder(repository: HubRepository, more: ReadonlyMap<string, Uint8Array>): Folder {
  const wrap = (inner: Folder): Folder => ({
    name: inner.name,
    list: (options) => listNames(inner, options),
    async open(path, options) {
      const source = await inner.open(path, options);
      const file = repository.files.get(source.name.slice(repository.name.length + 1))!;
      if (WHOLE.test(file.path) || file.checksum === 'git') return readWhole(source, file, options?.signal);
      return new PassingSource(repository, file, options?.signal);
    },
    at: (path) => wrap(inner.at(path)),
  });
  const root = wrap(repository.folder);
  return {
    ...root,
    list: async (options) => [...new Set([...(await root.list(options)), ...more.keys()])].sort(),
    async open(path, options) {
      const bytes = more.get(path);
      return bytes === undefined ? root.open(path, options) : bytesSource(bytes, `${repository.name}/${path}`);
    },
  };
}

async function readWhole(source: ByteSource, file: HubFile, signal: AbortSignal | undefined): Promise<ByteSource> {
  const { name, size } = source;
  if (size > MAX_WHOLE) throw new FileFormatError(`${name}: a file of ${size} bytes, at most ${MAX_WHOLE} expected`);
  for (let attempt = 1; ; attempt++) {
    const bytes = await source.read(0, size, undefined, signal);
    const hash = file.checksum === 'sha256' ? createHash('sha256') : createHash('sha1').update(`blob ${file.size}\0`);
    const found = hash.update(bytes).digest('hex');
    if (found === file.etag) return { ...bytesSource(bytes, name), version: file.etag };
    if (attempt === 2) throw wrongContent(file, found);
  }
}

const wrongContent = ({ path, checksum, etag }: HubFile, found: string) =>
  new WrongContentError(
    `${path}: what came is not the file: ${checksum === 'git' ? 'git hash' : 'SHA-256'} ${etag} expected, twice came ${found} or another one`,
  );

/**
 * First its table of contents is read, by ranges. After `begin` all of it passes once, in one answer of the server: what is
 * skipped is counted in the checksum as well, and what was read before must come again.
 */
class PassingSource implements CheckedSource {
  readonly name: string;
  readonly size: number;
  readonly version: string;
  readonly #repository: HubRepository;
  readonly #file: HubFile;
  readonly #signal: AbortSignal | undefined;
  readonly #early: { readonly offset: number; readonly bytes: Uint8Array }[] = [];
  #hash: Sha256 | undefined;
  #stream: AsyncGenerator<Uint8Array, void, undefined> | undefined;
  /** Of the stream, not taken yet. */
  #piece = new Uint8Array(0);

  constructor(repository: HubRepository, file: HubFile, signal: AbortSignal | undefined) {
    this.name = `${repository.name}/${file.path}`;
    this.size = file.size;
    this.version = file.etag;
    this.#repository = repository;
    this.#file = file;
    this.#signal = signal;
  }

  begin(state: string | undefined): void {
    this.#hash = new Sha256(state);
    const options = { ...this.#repository.http, signal: this.#signal, wholeAnswers: 'skip' } as const;
    this.#stream = readHttpRange(this.#repository.locate(this.#file), this.#hash.length, this.size, options);
  }

  state(): string {
    return this.#hash!.state;
  }

  async verify(): Promise<void> {
    await this.#skip(this.size);
    const found = new Sha256(this.state()).digest();
    if (found !== this.#file.etag) throw wrongContent(this.#file, found);
  }

  async read(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    const out = into?.subarray(0, length) ?? new Uint8Array(length);
    // What lies before the place where an earlier run stopped, such as the record's head, is read once more.
    if (this.#hash === undefined || offset < this.#hash.length) {
      let done = 0;
      const options = { ...this.#repository.http, signal: this.#signal };
      const file = this.#repository.locate(this.#file);
      for await (const piece of readHttpRange(file, offset, offset + length, options)) {
        out.set(piece, done);
        done += piece.length;
      }
      if (this.#hash === undefined) this.#early.push({ offset, bytes: out.slice() });
      return out;
    }
    await this.#skip(offset);
    await this.#take(out);
    return out;
  }

  async close(): Promise<void> {
    await this.#stream?.return();
  }

  async #skip(offset: number): Promise<void> {
    const scratch = new Uint8Array(Math.min(STEP, offset - this.#hash!.length));
    while (this.#hash!.length < offset)
      await this.#take(scratch.subarray(0, Math.min(STEP, offset - this.#hash!.length)));
  }

  /** The next bytes of the stream. */
  async #take(out: Uint8Array): Promise<void> {
    const start = this.#hash!.length;
    for (let done = 0; done < out.length;) {
      if (this.#piece.length === 0) {
        const next = await this.#stream!.next();
        if (next.done) throw new FileFormatError(`${this.name}: ended at byte ${start + done} of ${this.size}`);
        this.#piece = next.value as Uint8Array<ArrayBuffer>;
      }
      const part = this.#piece.subarray(0, out.length - done);
      out.set(part, done);
      this.#piece = this.#piece.subarray(part.length);
      done += part.length;
    }
    this.#hash!.update(out);
    for (const { offset, bytes } of this.#early) {
      const [from, to] = [Math.max(start, offset), Math.min(start + out.length, offset + bytes.length)];
      for (let at = from; at < to; at++)
        if (out[at - start] !== bytes[at - offset])
          throw new WrongContentError(
            `${this.#file.path}: byte ${at} came twice, and differs; the server sends wrong bytes`,
          );
    }
  }
}
