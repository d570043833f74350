// Decoding by the system's ffmpeg: a file or bytes in, raw RGB frames out, one by one.
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import type { Size } from '../scale.ts';
import { endChild, limitChild, startChild } from './child.ts';
import type { Ffmpeg } from './find-ffmpeg.ts';
import { FfmpegLog } from './ffmpeg-log.ts';

export interface FrameSource {
  /** For messages: `video clip.mp4`. */
  readonly what: string;
  /** What precedes `-i`, and the input itself. */
  readonly input: readonly string[];
  /** Goes down its stdin when `input` is pipe:0. */
  readonly bytes?: Uint8Array;
  readonly filters: string;
  /** Larger source pictures are refused. */
  readonly maxPixels: number;
  /** What the filters scale to. */
  readonly size: Size;
  /** Stops after so many frames; reads to the end where left out. */
  readonly maxFrames?: number | undefined;
  /** An ffmpeg that gives nothing for so long is ended. */
  readonly longestSilence?: number;
  readonly signal?: AbortSignal | undefined;
}

/** What is known of a source once it has been read. */
export interface SourceFacts {
  /** Of its pictures as they are meant to be seen: turned upright, with square pixels. */
  readonly shape: Size | undefined;
  /** Warnings. */
  readonly notes: readonly string[];
}

/** Nothing but local files: a playlist must not make ffmpeg fetch. Damage ends the run instead of being painted over. */
const SAFE_INPUT = ['-protocol_whitelist', 'file,pipe', '-xerror'];

/** Seconds. Decoders hold many frames before they give the first. */
const LONGEST_SILENCE = 120;

/** Frames [size.height, size.width, 3], as they are decoded. */
export async function* decodeFrames(
  ffmpeg: Ffmpeg,
  { what, input, bytes, filters, maxPixels, size, maxFrames, longestSilence = LONGEST_SILENCE, signal }: FrameSource,
): AsyncGenerator<Uint8Array, SourceFacts, undefined> {
  signal?.throwIfAborted();
  const args = [
    ...['-hide_banner', '-nostdin', '-nostats', '-v', 'level+verbose', ...SAFE_INPUT],
    ...['-max_pixels', String(maxPixels), ...input, '-map', '0:V:0', '-vf', filters],
    ...(maxFrames === undefined ? [] : ['-frames:v', String(maxFrames)]),
    ...['-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1'],
  ];
  const child = startChild(ffmpeg.command, args, ['pipe', 'pipe', 'pipe']);
  const end = (): void => endChild(child);
  signal?.addEventListener('abort', end, { once: true });
  const log = new FfmpegLog();
  child.stderr!.setEncoding('utf8').on('data', (text: string) => log.add(text));
  child.stdin!.on('error', () => undefined); // it ends as soon as it has what it needs
  child.stdin!.end(bytes);
  let startError: Error | undefined;
  const closed = new Promise<string | undefined>((done) => {
    child.once('error', (error) => (startError = error));
    child.once('close', (status, crash) =>
      done(crash === null ? (status === 0 ? undefined : '') : `it ended by ${crash}`),
    );
  });
  let silent = false;
  const limit = (): (() => void) => limitChild(child, longestSilence, () => (silent = true));
  const frameBytes = size.width * size.height * 3;
  let frames = 0;
  let filled = 0;
  try {
    let frame = new Uint8Array(frameBytes);
    const pieces = (child.stdout! as AsyncIterable<Buffer>)[Symbol.asyncIterator]();
    for (;;) {
      const stop = limit(); // while we wait for it, and not while it waits for us
      const piece = await pieces.next().finally(stop);
      if (piece.done === true) break;
      for (let at = 0; at < piece.value.length;) {
        const part = piece.value.subarray(at, at + frameBytes - filled);
        frame.set(part, filled);
        at += part.length;
        filled += part.length;
        if (filled < frameBytes) break;
        frames++;
        yield frame;
        frame = new Uint8Array(frameBytes);
        filled = 0;
      }
    }
    const stop = limit();
    const failure = await closed.finally(stop);
    signal?.throwIfAborted();
    if (startError !== undefined)
      throw new Magi1Error(`${what}: ${ffmpeg.command} does not start: ${startError.message}`);
    if (silent) throw new Magi1Error(`${what}: ffmpeg gave nothing for ${longestSilence} s and was ended`);
    if (failure !== undefined && log.reason?.includes('matches no streams') === true)
      throw new FileFormatError(`${what}: there are no pictures in it`);
    if (failure !== undefined)
      throw new FileFormatError(`${what}: ffmpeg cannot read it: ${log.reason ?? (failure || 'no reason given')}`);
    if (filled !== 0)
      throw new Magi1Error(
        `${what}: ffmpeg gave ${frames * frameBytes + filled} bytes, no multiple of ${frameBytes} for ${size.width}x${size.height}`,
      );
    // It reports damage and goes on where a decoder can conceal it; within the requested range a concealed frame is not good enough.
    if (log.damage !== undefined && frames < (maxFrames ?? Infinity))
      throw new FileFormatError(`${what}: it is damaged or truncated after ${frames} frames: ${log.damage}`);
    return { shape: log.shape, notes: log.startNotes };
  } finally {
    end();
    signal?.removeEventListener('abort', end);
  }
}
