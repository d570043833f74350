// Bytes of an input: a local file, or bytes that are there already. Checked before anything is read.
import { open, stat } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import type { MediaInput, RgbFrames } from '../rgb-frames.ts';

export type EncodedInput = Exclude<MediaInput, RgbFrames>;

/** Largest file that is taken for one picture, in bytes. */
const MAX_IMAGE_BYTES = 2 ** 29;

/** `image cat.png` for messages; bytes have no name. */
export function nameInput(kind: 'image' | 'video', input: MediaInput): string {
  return typeof input === 'string' || input instanceof URL ? `${kind} ${String(input).slice(0, 300)}` : kind;
}

/** A path, where the input is one: `file:` URLs become paths, other addresses are refused. */
export function inputPath(what: string, input: EncodedInput): string | undefined {
  const isUrl = input instanceof URL || (typeof input === 'string' && /^([a-z][a-z0-9+.-]+:\/\/|data:)/i.test(input));
  if (isUrl) {
    if (!/^file:/i.test(String(input)))
      throw new Magi1Error(`${what}: a local file expected, got an address; download it first`);
    return fileURLToPath(input);
  }
  if (input === '') throw new Magi1Error(`${what.trim()}: a path expected, got an empty name`);
  return typeof input === 'string' ? input : undefined;
}

/** Throws unless `path` is a readable file with something in it; gives its size in bytes. */
export async function checkFile(what: string, path: string): Promise<number> {
  let size: number;
  try {
    const facts = await stat(path);
    if (!facts.isFile())
      throw new FileFormatError(`${what}: it is ${facts.isDirectory() ? 'a folder' : 'not a regular file'}`);
    size = facts.size;
    await (await open(path, 'r')).close();
  } catch (error) {
    if (error instanceof Magi1Error) throw error;
    const { code } = error as NodeJS.ErrnoException;
    const why = { ENOENT: 'there is no such file', EACCES: 'it may not be read' }[code ?? ''];
    throw new FileFormatError(`${what}: ${why ?? `it cannot be read (${code ?? String(error)})`}`);
  }
  if (size === 0) throw new FileFormatError(`${what}: it is empty`);
  return size;
}

/** Throws when `path` starts with plain text: ffmpeg would follow playlists, and paint any other text as a video. */
export async function checkNoText(what: string, path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    const { bytesRead, buffer } = await file.read(Buffer.alloc(4096), 0, 4096, 0);
    const start = buffer.subarray(0, bytesRead);
    const isText = start.every((byte) => byte >= 32 || (byte >= 7 && byte <= 13) || byte === 27);
    if (isText && !start.toString('latin1').startsWith('YUV4MPEG2 '))
      throw new FileFormatError(`${what}: a video expected, got a text file`);
  } finally {
    await file.close();
  }
}

/** The whole of a picture's file. */
export async function readPicture(what: string, input: EncodedInput): Promise<Uint8Array> {
  const limit = (size: number): void => {
    if (size > MAX_IMAGE_BYTES)
      throw new FileFormatError(
        `${what}: ${size} bytes are too many for one picture, up to ${MAX_IMAGE_BYTES} are read`,
      );
  };
  const path = inputPath(what, input);
  if (path !== undefined) {
    limit(await checkFile(what, path));
    const file = await open(path, 'r');
    try {
      return await file.readFile();
    } finally {
      await file.close();
    }
  }
  limit(byteLength(input));
  return bytesOf(input);
}

export function byteLength(input: EncodedInput): number {
  return input instanceof Blob ? input.size : (input as Uint8Array | ArrayBuffer).byteLength;
}

export async function bytesOf(input: EncodedInput): Promise<Uint8Array> {
  if (input instanceof Blob) return new Uint8Array(await input.arrayBuffer());
  if (input instanceof ArrayBuffer) return new Uint8Array(input);
  const view = input as Uint8Array;
  return new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
}
