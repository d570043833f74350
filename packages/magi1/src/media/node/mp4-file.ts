// The mp4 of both encoders on the disk. It grows by fragments, each whole or not there, so that it plays at any time; at
// the end an index is appended and the file becomes a plain mp4 by sixteen bytes: no copy, no second time the space.
import { open, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { Magi1Error } from '@magi1/tensor';
import { Mp4Muxer } from '../mp4.ts';
import type { Mp4Sample, Mp4Track } from '../mp4.ts';
import { concatBytes } from '../mp4.ts';
import { checkMp4 } from './mp4-check.ts';

export class Mp4File {
  readonly #path: string;
  readonly #track: Omit<Mp4Track, 'avcC'>;
  #handle: FileHandle | undefined;
  #muxer: Mp4Muxer | undefined;
  #frames = 0;
  /** Bytes of the header and whole fragments. */
  #end = 0;

  constructor(path: string, track: Omit<Mp4Track, 'avcC'>) {
    this.#path = path;
    this.#track = track;
  }

  /** Frames that are on the disk. */
  get frames(): number {
    return this.#frames;
  }

  /** Adds samples as one fragment. */
  async append(avcC: Uint8Array, samples: readonly Mp4Sample[]): Promise<void> {
    this.#handle ??= await open(this.#path, 'wx');
    const parts: Uint8Array[] = [];
    if (this.#muxer === undefined) {
      this.#muxer = new Mp4Muxer({ ...this.#track, avcC });
      parts.push(this.#muxer.header());
    }
    parts.push(this.#muxer.fragment(samples));
    const bytes = concatBytes(parts);
    await this.#write(bytes, this.#end);
    this.#end += bytes.length;
    this.#frames += samples.length;
  }

  /** Whether the file is still there under its name. */
  async check(): Promise<void> {
    if (this.#handle === undefined) return;
    const [mine, there] = [await this.#handle.stat(), await stat(this.#path).catch(() => undefined)];
    if (there?.ino === mine.ino && there.dev === mine.dev) return;
    this.#frames = 0;
    throw new Magi1Error(`${this.#path}, where it was written, is gone`);
  }

  /** Makes it a plain mp4 and looks at what came of it. When it throws, what is there still plays as fragments. */
  async finish(): Promise<void> {
    const [handle, muxer] = [this.#handle, this.#muxer];
    if (handle === undefined || muxer === undefined) return;
    await this.check();
    if (muxer.frames !== this.#frames) throw new Magi1Error('a fragment is missing'); // it was said when it failed
    const { index, patch, undo, patchAt } = muxer.finish();
    await this.#write(index, this.#end);
    await handle.sync(); // some disks say only now that they are full
    await handle.write(patch, 0, patch.length, patchAt);
    try {
      await handle.sync();
      checkMp4(this.#path, this.#frames);
    } catch (error) {
      await handle.write(undo, 0, undo.length, patchAt);
      throw error;
    }
  }

  async close(): Promise<void> {
    const handle = this.#handle;
    this.#handle = undefined;
    await handle?.close();
  }

  /** All of it, or the file stays as it was. */
  async #write(bytes: Uint8Array, at: number): Promise<void> {
    const handle = this.#handle!;
    try {
      for (let done = 0; done < bytes.length;)
        done += (await handle.write(bytes, done, bytes.length - done, at + done)).bytesWritten;
    } catch (error) {
      await handle.truncate(this.#end);
      throw error;
    }
  }
}
