// A zstd-compressed file read forwards, one block in memory at a time.
// fzstd decodes the blocks. This file walks frames and block headers itself, so that exactly one block is asked for at a
// time (its push interface would decode all that it is given), window and block sizes are bounded before fzstd
// allocates, and the frame's checksum and content size, which fzstd ignores, are verified.
import { FileFormatError } from '@magi1/tensor';
import type { Decompress } from 'fzstd';
import { destination } from './bytes.ts';
import type { ByteSource } from './bytes.ts';
import { Xxh64 } from './xxh64.ts';

/** What the zstd tool itself accepts without being asked for more. */
const MAX_WINDOW = 128 << 20;
const MAX_BLOCK = 128 << 10;
const INPUT_STEP = 1 << 20;

interface Frame {
  readonly decoder: Decompress;
  readonly blockLimit: number;
  readonly contentSize: number | undefined;
  readonly hash: Xxh64 | undefined;
  produced: number;
}

/** Decompressed bytes of a .zst source. The size is unknown until the end; going back starts over. */
export class ZstdSource {
  readonly name: string;
  /** Where the decompressed data must end, once that is known: the read that comes to it checks that nothing follows. */
  end: number | undefined;
  private readonly source: ByteSource;
  private input: Uint8Array = new Uint8Array(0);
  private inputStart = 0;
  private position = 0;
  private frame: Frame | undefined;
  private frames = 0;
  private decoded: Uint8Array[] = [];
  private block: Uint8Array = new Uint8Array(0);
  private blockStart = 0;
  private queue: Promise<unknown> = Promise.resolve();

  constructor(source: ByteSource) {
    this.source = source;
    this.name = source.name;
  }

  /** Bytes of the compressed file consumed so far, for progress. */
  get compressedPosition(): number {
    return this.position;
  }

  get compressedSize(): number {
    return this.source.size;
  }

  close(): Promise<void> {
    return this.source.close();
  }

  /** Exactly `length` decompressed bytes from `offset`. Forward reads decode only once. */
  read(offset: number, length: number, into?: Uint8Array, signal?: AbortSignal): Promise<Uint8Array> {
    return this.inTurn(async () => {
      signal?.throwIfAborted();
      const bytes = await this.readNow(offset, length, into);
      if (offset + length === this.end) await this.endsAt(this.end);
      return bytes;
    });
  }

  /** Checks that the decompressed data ends at `offset`, all checksums included. */
  expectEnd(offset: number): Promise<void> {
    return this.inTurn(() => this.endsAt(offset));
  }

  private inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.queue.then(task);
    this.queue = turn.catch(() => undefined);
    return turn;
  }

  private async endsAt(offset: number): Promise<void> {
    await this.seek(offset);
    const rest = this.blockStart + this.block.length - offset;
    if (rest > 0 || (await this.nextBlock()))
      throw new FileFormatError(`${this.name}: bytes after the last tensor, expected ${offset} decompressed bytes`);
  }

  private async readNow(offset: number, length: number, into?: Uint8Array): Promise<Uint8Array> {
    await this.seek(offset);
    const out = destination(this.name, length, into);
    for (let done = 0; done < length;) {
      const from = offset + done - this.blockStart;
      const part = this.block.subarray(from, from + length - done);
      out.set(part, done);
      done += part.length;
      if (done < length && !(await this.nextBlock())) this.truncated(offset + length);
    }
    return out;
  }

  private async seek(offset: number): Promise<void> {
    if (offset < this.blockStart) {
      this.position = 0;
      this.frame = undefined;
      this.frames = 0;
      this.decoded = [];
      this.block = new Uint8Array(0);
      this.blockStart = 0;
    }
    while (offset > this.blockStart + this.block.length) if (!(await this.nextBlock())) this.truncated(offset);
  }

  private truncated(needed: number): never {
    const end = this.blockStart + this.block.length;
    throw new FileFormatError(`${this.name}: truncated, ${needed} decompressed bytes are needed but it ends at ${end}`);
  }

  /** Makes the next decoded block current; false at the end of the file. */
  private async nextBlock(): Promise<boolean> {
    while (this.decoded.length === 0) {
      if (!this.frame && !(await this.openFrame())) return false;
      await this.decodeBlock(this.frame!);
    }
    this.blockStart += this.block.length;
    this.block = this.decoded.shift()!;
    return true;
  }

  private async openFrame(): Promise<boolean> {
    for (;;) {
      if (this.position === this.source.size && this.frames > 0) return false;
      const magic = word(await this.take(4));
      if (magic >>> 4 === 0x184d2a5) {
        const length = word(await this.take(4));
        this.position += length;
        if (this.position > this.source.size) this.corrupt('skippable frame past the end');
        continue;
      }
      if (magic !== 0xfd2fb528) {
        throw new FileFormatError(
          `${this.name}: no zstd frame at byte ${this.position - 4}, magic 0x${magic.toString(16)}`,
        );
      }
      break;
    }
    const start = this.position - 4;
    const descriptor = (await this.take(1))[0]!;
    const single = (descriptor >> 5) & 1;
    if (descriptor & 8) this.corrupt('reserved bit set in the frame header');
    const windowByte = single ? 0 : (await this.take(1))[0]!;
    const dictionary = await this.take([0, 1, 2, 4][descriptor & 3]!);
    if (dictionary.some((byte) => byte !== 0)) this.corrupt('it needs a dictionary');
    const sizeCode = descriptor >> 6;
    const sizeBytes = await this.take(sizeCode === 0 ? single : 1 << sizeCode);
    const contentSize =
      sizeBytes.length === 0
        ? undefined
        : sizeBytes.reduceRight((sum, byte) => sum * 256 + byte, 0) + (sizeBytes.length === 2 ? 256 : 0);
    const base = 2 ** (10 + (windowByte >> 3));
    const window = single ? contentSize! : base + (base / 8) * (windowByte & 7);
    if (window > MAX_WINDOW) {
      throw new FileFormatError(
        `${this.name}: zstd window of ${window} bytes, at most ${MAX_WINDOW} supported; compress without --long`,
      );
    }
    const { Decompress } = await import('fzstd');
    const decoder = new Decompress((part) => {
      if (part.length > 0) this.decoded.push(part);
    });
    const header = await this.compressed(start, this.position - start);
    this.frame = {
      decoder,
      blockLimit: Math.min(MAX_BLOCK, window),
      contentSize,
      hash: descriptor & 4 ? new Xxh64() : undefined,
      produced: 0,
    };
    this.frames++;
    this.push(this.frame, header, false);
    return true;
  }

  private async decodeBlock(frame: Frame): Promise<void> {
    const start = this.position;
    const head = await this.compressed(start, 3);
    const bits = head[0]! | (head[1]! << 8) | (head[2]! << 16);
    const last = (bits & 1) === 1;
    const kind = (bits >> 1) & 3;
    const size = bits >>> 3;
    if (kind === 3 || size > frame.blockLimit) this.corrupt(`invalid block at byte ${start}`);
    const length = 3 + (kind === 1 ? 1 : size) + (last && frame.hash ? 4 : 0);
    const bytes = await this.take(length);
    const checksum = last && frame.hash ? word(bytes.subarray(length - 4)) : undefined;
    this.push(frame, bytes, last);
    for (const part of this.decoded) {
      if (part.length > frame.blockLimit) this.corrupt(`block at byte ${start} is too large`);
      frame.hash?.update(part);
      frame.produced += part.length;
    }
    if (!last) return;
    this.frame = undefined;
    if (frame.contentSize !== undefined && frame.contentSize !== frame.produced) {
      this.corrupt(`frame of ${frame.contentSize} bytes holds ${frame.produced}`);
    }
    if (checksum !== undefined && checksum !== frame.hash!.digest()) this.corrupt('checksum mismatch');
  }

  private push(frame: Frame, bytes: Uint8Array, last: boolean): void {
    try {
      frame.decoder.push(bytes, last);
    } catch (cause) {
      this.corrupt(cause instanceof Error ? cause.message : String(cause), cause);
    }
  }

  private corrupt(problem: string, cause?: unknown): never {
    throw new FileFormatError(`${this.name}: corrupt zstd data, ${problem}`, { cause });
  }

  /** The next compressed bytes. */
  private async take(length: number): Promise<Uint8Array> {
    const bytes = await this.compressed(this.position, length);
    this.position += length;
    return bytes;
  }

  /** Compressed bytes at any place; buffers are replaced, never overwritten, since fzstd keeps what it is given. */
  private async compressed(at: number, length: number): Promise<Uint8Array> {
    if (at < this.inputStart || at + length > this.inputStart + this.input.length) {
      const step = Math.max(length, Math.min(INPUT_STEP, this.source.size - at));
      this.input = await this.source.read(at, step);
      this.inputStart = at;
    }
    const from = at - this.inputStart;
    return this.input.subarray(from, from + length);
  }
}

function word(bytes: Uint8Array): number {
  return (bytes[0]! | (bytes[1]! << 8) | (bytes[2]! << 16) | (bytes[3]! << 24)) >>> 0;
}
