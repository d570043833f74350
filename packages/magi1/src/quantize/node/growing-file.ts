// A file that grows piece by piece and takes its name when it is complete. Beside it lies a journal with a checksum of every
// piece: what an interrupted run has left is compared with it, and what is right is kept.
import { createHash } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import type { ByteSource } from '@magi1/loaders';
import { Magi1Error } from '@magi1/tensor';
import { codeOf, exists, reasonOf } from '../../media/node/move.ts';
import type { Content, Piece } from '../content.ts';

/** Where a source that is read once, from its beginning to its end, is after a piece. */
export type SourceState = string;

/** A source that is read once, from its beginning to its end, while its checksum is made. */
export interface CheckedSource extends ByteSource {
  /** From here on reads go forwards; from a state that was kept. */
  begin(state: SourceState | undefined): void;
  state(): SourceState;
  /** Reads the rest. @throws WrongContentError where the checksum is another one */
  verify(): Promise<void>;
}

/** What came is not the file that was asked for. */
export class WrongContentError extends Magi1Error {}

export interface GrowOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes of the source that a piece stands for: found finished, or done now. */
  readonly onPiece: (read: number, activity: 'checking' | 'quantizing') => void;
  /** Before the first piece that is made: the state after the last one that was kept. */
  readonly begin?: ((state: SourceState | undefined) => void) | undefined;
  readonly state?: (() => SourceState) | undefined;
  /** After the last piece: throws where the source turns out not to be what it should. */
  readonly verify?: (() => Promise<void>) | undefined;
}

export interface GrownFile {
  /** SHA-256 of all of it. */
  readonly sha256: string;
}

export interface GrowingPaths {
  readonly final: string;
  readonly partial: string;
  readonly journal: string;
}

interface Entry {
  readonly end: number;
  readonly sha256: string;
  readonly state?: SourceState;
}

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('hex');

/**
 * Makes a file, or the rest of it. Afterwards it has its name and is on the disk.
 * @throws Magi1Error where the disk does not take it; what is written is kept
 */
export async function growFile(
  { final, partial, journal }: GrowingPaths,
  { size, pieces }: Content,
  { signal, onPiece, begin, state, verify }: GrowOptions,
): Promise<GrownFile> {
  const placed = exists(final);
  const path = placed ? final : partial;
  for (const each of [final, partial, journal]) await mkdir(dirname(each), { recursive: true });
  const hash = createHash('sha256');
  let handle: FileHandle | undefined;
  let notes: FileHandle | undefined;
  try {
    handle = await open(path, placed ? 'r+' : 'a+');
    const kept = await keep(handle, pieces, await readJournal(journal), (bytes, read) => {
      signal?.throwIfAborted();
      hash.update(bytes);
      onPiece(read, 'checking');
    });
    if (placed && kept.length === pieces.length && (await handle.stat()).size === size)
      return { sha256: hash.digest('hex') };
    await handle.truncate(kept.at(-1)?.end ?? 0);
    await handle.close();
    if (placed) await rename(final, partial);
    handle = await open(partial, 'a');
    // Written anew up to where it holds, at once or not at all: an entry that is cut off would spoil the next one.
    const fresh = `${journal}.new`;
    notes = await open(fresh, 'w');
    await notes.appendFile(kept.map((entry) => `${JSON.stringify(entry)}\n`).join(''));
    await rename(fresh, journal);
    begin?.(kept.at(-1)?.state);
    for await (const { piece, fetched, after } of fetchAhead(pieces.slice(kept.length), state)) {
      signal?.throwIfAborted();
      const bytes = piece.make(fetched);
      await handle.appendFile(bytes);
      hash.update(bytes);
      const entry: Entry = { end: piece.end, sha256: sha256(bytes), ...(after !== undefined && { state: after }) };
      await notes.appendFile(`${JSON.stringify(entry)}\n`);
      onPiece(piece.read, 'quantizing');
    }
    await verify?.();
    await handle.sync();
  } catch (cause) {
    signal?.throwIfAborted();
    if (cause instanceof Magi1Error || !('syscall' in (cause as object))) throw cause;
    throw new Magi1Error(`${partial}: ${reasonOf(cause)}; what is finished is kept`, { cause });
  } finally {
    await notes?.close();
    await handle?.close();
  }
  await rename(partial, final);
  return { sha256: hash.digest('hex') };
}

/** Pieces with what they are made of: the next one is fetched while one is made and written. */
async function* fetchAhead(pieces: readonly Piece[], state: (() => SourceState) | undefined) {
  const begin = async (piece: Piece) => ({ piece, fetched: await piece.fetch(), after: state?.() });
  let next = pieces[0] && begin(pieces[0]);
  for (let i = 1; next !== undefined; i++) {
    const one = await next;
    const following = pieces[i];
    next = following && begin(following);
    next?.catch(() => undefined); // it is said when its turn comes, unless the run has ended by then
    yield one;
  }
}

/** Entries of pieces that are as they were written, from the first one on. */
async function keep(
  handle: FileHandle,
  pieces: readonly Piece[],
  entries: readonly Entry[],
  onKept: (bytes: Uint8Array, read: number) => void,
): Promise<Entry[]> {
  const kept: Entry[] = [];
  const { size } = await handle.stat();
  let start = 0;
  for (const [i, piece] of pieces.entries()) {
    const entry = entries[i];
    if (entry === undefined || entry.end !== piece.end || piece.end > size) break;
    const bytes = new Uint8Array(piece.end - start);
    for (let done = 0; done < bytes.length;) {
      const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done);
      if (bytesRead === 0) return kept;
      done += bytesRead;
    }
    if (sha256(bytes) !== entry.sha256) break;
    onKept(bytes, piece.read);
    kept.push(entry);
    start = piece.end;
  }
  return kept;
}

/** Up to the first line that is cut off or none of ours. */
async function readJournal(path: string): Promise<Entry[]> {
  const text = await readFile(path, 'utf8').catch((error: unknown) => {
    if (codeOf(error) === 'ENOENT') return '';
    throw error;
  });
  const entries: Entry[] = [];
  for (const line of text.split('\n')) {
    try {
      const entry = JSON.parse(line) as Partial<Entry> | null;
      if (!Number.isSafeInteger(entry?.end) || typeof entry?.sha256 !== 'string') break;
      entries.push(entry as Entry);
    } catch {
      break; // the line was being written when the run ended
    }
  }
  return entries;
}

/** Forgets what is there of a file whose source was not what it should be. */
export async function dropFile({ final, partial, journal }: GrowingPaths): Promise<void> {
  for (const path of [final, partial, journal]) await rm(path, { force: true });
}

/** Bytes that are there of a file, finished or not. */
export async function bytesThere({ final, partial }: GrowingPaths): Promise<number> {
  for (const path of [final, partial]) {
    const facts = await stat(path).catch(() => undefined);
    if (facts) return facts.size;
  }
  return 0;
}
