// H.264 by the system's ffmpeg: raw frames go down its stdin, encoded ones come out of its stdout at once and are put into
// the file here. So nothing depends on what ffmpeg does to a disk, or says about it: what counts are the frames that came.
// It is ended by closing its stdin: an interrupt would hang while that is open.
import { Magi1Error } from '@magi1/tensor';
import { FlvReader } from '../flv.ts';
import type { VideoOptions } from '../types.ts';
import { rgbToYuv420 } from '../yuv.ts';
import { endChild, startChild } from './child.ts';
import type { Ffmpeg } from './find-ffmpeg.ts';
import type { FrameSink } from './frame-sink.ts';
import type { Mp4File } from './mp4-file.ts';

const KEYFRAME_EVERY = 24;
/** Seconds in which an encoder that has work must do something; fewer once the run is given up. */
const LONGEST_SILENCE = 60;
const LONGEST_AFTER_CANCEL = 5;
/** Seconds for which a frame's encoded form is waited for before it counts as held back, which ffmpeg is asked not to do. */
const HELD_BACK = 10;
/** Milliseconds between the end of ffmpeg and that of its pipes, which its children may hold open. */
const GRACE_MS = 1_000;

function encodeArguments({ width, height, fps }: VideoOptions): string[] {
  const colour = ['-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709', '-color_range', 'tv'];
  const rate = Number.isInteger(fps) ? String(fps) : `${Math.round(fps * 1000)}/1000`;
  const input = ['-f', 'rawvideo', '-pix_fmt', 'yuv420p', '-s', `${width}x${height}`, '-framerate', rate, ...colour];
  const quality = ['-preset', 'medium', '-crf', '12', '-pix_fmt', 'yuv420p', '-g', String(KEYFRAME_EVERY)];
  return [
    ...['-hide_banner', '-loglevel', 'error', '-nostats', ...input, '-i', 'pipe:0'],
    // No look-ahead: a frame that went in comes out before the next one goes in.
    ...['-an', '-c:v', 'libx264', ...quality, '-tune', 'zerolatency', '-flush_packets', '1'],
    ...[...colour, '-chroma_sample_location', 'center'],
    ...['-flvflags', 'no_duration_filesize+no_sequence_end+no_metadata', '-f', 'flv', 'pipe:1'],
  ];
}

/** Starts ffmpeg on frames of the options' size; encoded frames are appended to `file`. */
export function startFfmpeg(
  ffmpeg: Ffmpeg,
  options: VideoOptions,
  file: Mp4File,
  longestSilence = LONGEST_SILENCE,
): FrameSink {
  const { width, height, signal } = options;
  let patience = longestSilence;
  const child = startChild(ffmpeg.command, encodeArguments(options), ['pipe', 'pipe', 'pipe']);
  const [stdin, stdout] = [child.stdin!, child.stdout!];
  const reader = new FlvReader();
  const failed = new AbortController();
  let errors = '';
  let given = 0;
  let held = 0;
  let closing = false;
  let closed = false;
  let writing: Promise<void> = Promise.resolve();

  // Whoever waits looks again whenever something has happened.
  let wake: () => void = () => undefined;
  let changed = new Promise<void>((done) => (wake = done));
  const notify = (): void => {
    wake();
    changed = new Promise((done) => (wake = done));
  };
  const fail = (error: Error): void => {
    if (!failed.signal.aborted) failed.abort(error);
    endChild(child);
    notify();
  };
  /** False when nothing has happened for so long. */
  const until = async (done: () => boolean, longest = () => patience): Promise<boolean> => {
    while (!done()) {
      let timer: NodeJS.Timeout | undefined;
      const silent = new Promise<true>((settle) => (timer = setTimeout(settle, longest() * 1000, true)));
      const wasSilent = await Promise.race([changed, silent]);
      clearTimeout(timer);
      if (wasSilent === true) return done();
    }
    return true;
  };
  const hangs = (): Error => new Magi1Error(`ffmpeg has done nothing for ${longestSilence} s`);
  const ended = (): Error => {
    const how = child.signalCode === null ? `with status ${String(child.exitCode)}` : `by ${child.signalCode}`;
    const last = errors.trim().split('\n').at(-1)!;
    return new Magi1Error(`ffmpeg ended ${how}${last === '' ? '' : `: ${last}`}`);
  };
  const onEnd = (): void => {
    closed = true;
    if (!closing) fail(ended());
    notify();
  };

  child.once('error', (error) => fail(new Magi1Error(`${ffmpeg.command} does not start: ${error.message}`)));
  child.once('close', onEnd);
  child.once('exit', () => setTimeout(() => (closed ? undefined : onEnd()), GRACE_MS).unref());
  child.stderr!.setEncoding('utf8').on('data', (text: string) => (errors = (errors + text).slice(-10_000)));
  stdin.on('drain', notify);
  stdin.on('error', () => {
    // Its end, if that is why, carries the reason.
    setTimeout(() => fail(new Magi1Error('ffmpeg has closed its input')), GRACE_MS).unref();
  });
  stdout.on('data', (bytes: Buffer) => {
    try {
      const samples = reader.push(bytes);
      if (samples.length === 0) return;
      const { avcC } = reader;
      if (avcC === undefined) throw new Magi1Error('ffmpeg gave a frame before its parameters');
      writing = writing.then(() => file.append(avcC, samples)).then(notify);
      writing.catch(fail);
    } catch (error) {
      fail(error as Error);
    }
  });

  const check = (): void => {
    signal?.throwIfAborted();
    failed.signal.throwIfAborted();
  };
  const stopped = (): boolean => failed.signal.aborted || signal?.aborted === true;
  signal?.addEventListener('abort', notify, { once: true });
  /** Ends ffmpeg by the end of its input, and waits until all that it gives is in the file. */
  const drain = async (): Promise<void> => {
    closing = true;
    stdin.end();
    if (!(await until(() => closed || failed.signal.aborted))) fail(hangs());
    signal?.removeEventListener('abort', notify);
    await writing;
  };

  return {
    failed: failed.signal,
    async add(frame) {
      check();
      await file.check();
      given++;
      if (stdin.write(rgbToYuv420(frame, width, height))) return;
      if (!(await until(() => !stdin.writableNeedDrain || stopped()))) fail(hangs());
      check();
    },
    async settle() {
      await until(
        () => given - file.frames <= held || stopped(),
        () => Math.min(patience, HELD_BACK),
      );
      held = Math.max(held, given - file.frames);
      check();
      return file.frames;
    },
    async finish() {
      await drain();
      failed.signal.throwIfAborted();
      if (file.frames !== given)
        throw new Magi1Error(`ffmpeg took ${given} frames and gave ${file.frames}; ${ended().message}`);
      if (given > 0) await file.finish();
      await file.close();
      return given;
    },
    hurry() {
      patience = Math.min(patience, LONGEST_AFTER_CANCEL);
      notify();
    },
    async stop() {
      try {
        await drain().catch(() => undefined); // what went wrong is known; here it is about what is there
        await file.finish().catch(() => undefined); // fragments play as well
      } finally {
        await file.close();
      }
      return file.frames;
    },
  };
}
