// H.264 by the system's ffmpeg: raw frames go down its stdin. It runs in a process group of its own, because Ctrl-C in
// the terminal must not reach it, and is ended by closing its stdin: an interrupt would hang while that is open.
import { rename, rm, stat } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import type { VideoFile, VideoMetadata, VideoOptions, VideoWriter } from '../types.ts';
import { rgbToYuv420 } from '../yuv.ts';
import { ended, execute, limitChild, startChild } from './child.ts';
import type { Exit } from './child.ts';
import type { Ffmpeg } from './find-ffmpeg.ts';
import { splitFrames } from './frames.ts';
import { besides, workingPath } from './output.ts';

const KEYFRAME_EVERY = 24;
/** Seconds after which an ffmpeg that takes no frame is ended, and one that does not end by itself. */
const LONGEST_WRITE = 120;
const LONGEST_END = 20;

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';

function encodeArguments({ width, height, fps, metadata }: VideoOptions, output: string): string[] {
  const colour = ['-colorspace', 'bt709', '-color_primaries', 'bt709', '-color_trc', 'bt709', '-color_range', 'tv'];
  const rate = Number.isInteger(fps) ? String(fps) : `${Math.round(fps * 1000)}/1000`;
  return [
    ...['-hide_banner', '-loglevel', 'error', '-nostats', '-y'],
    ...[
      '-f',
      'rawvideo',
      '-pix_fmt',
      'yuv420p',
      '-s',
      `${width}x${height}`,
      '-framerate',
      rate,
      ...colour,
      '-i',
      'pipe:0',
    ],
    ...[
      '-an',
      '-c:v',
      'libx264',
      '-preset',
      'medium',
      '-crf',
      '12',
      '-pix_fmt',
      'yuv420p',
      '-g',
      String(KEYFRAME_EVERY),
    ],
    // No look-ahead: a frame that was given is a frame on disk, in a fragment of its own, even after a kill.
    ...['-tune', 'zerolatency', '-flush_packets', '1', '-movflags', '+frag_every_frame+empty_moov+default_base_moof'],
    ...[...colour, '-chroma_sample_location', 'center', ...metadataArguments(metadata), '-f', 'mp4', output],
  ];
}

function metadataArguments(metadata: VideoMetadata | undefined): string[] {
  return Object.entries(metadata ?? {}).flatMap(([key, value]) => ['-metadata', `${key}=${String(value)}`]);
}

/** Copies fragments into a plain mp4 with its index in front. Rejects with ffmpeg's last line. */
async function defragment(ffmpeg: Ffmpeg, from: string, to: string): Promise<void> {
  const args = ['-hide_banner', '-loglevel', 'error', '-y', '-i', from, '-map', '0', '-c', 'copy'];
  // A copy: a minute, and what a slow disk takes.
  const seconds = 60 + (await stat(from)).size / 1e6;
  const exit = await execute(ffmpeg.command, [...args, '-movflags', '+faststart', '-f', 'mp4', to], seconds);
  if (exit === 'silent') throw new Magi1Error(`ffmpeg did not end within ${Math.round(seconds)} s`);
  const { code, output } = exit;
  if (code !== 0) throw new Magi1Error(`ffmpeg ended with status ${String(code)}: ${lastLine(output)}`);
}

/** Sizes and the path are checked by the caller. */
export async function openFfmpegWriter(
  ffmpeg: Ffmpeg,
  options: VideoOptions,
  longestEnd = LONGEST_END,
): Promise<VideoWriter> {
  const { width, height, signal } = options;
  const path = resolve(options.path);
  const what = `output ${options.path}`;
  const working = await workingPath(path);
  // Ends by the end of its input or by SIGTERM with everything written that it was given.
  const child = startChild(ffmpeg.command, encodeArguments(options, working), ['pipe', 'ignore', 'pipe'], 'SIGTERM');
  const stdin = child.stdin!;
  let exited: Exit | undefined;
  const exit = ended(child).then(
    (result) => (exited = result),
    (error: unknown) => (exited = { code: -1, output: String(error) }),
  );
  // A broken pipe shows as ffmpeg's exit, which carries the reason.
  stdin.on('error', () => stdin.destroy());

  let stuck: string | undefined;
  const failed = (result: Exit): Magi1Error =>
    new Magi1Error(
      `${what}: ${stuck ?? `ffmpeg ended with status ${String(result.code)}: ${lastLine(result.output)}`}`,
    );
  let frames = 0;
  let aborted = false;
  let closing: Promise<VideoFile | undefined> | undefined;

  const drained = (): Promise<void> =>
    new Promise((done) => {
      const stop = limitChild(child, LONGEST_WRITE, () => (stuck = `ffmpeg took no frame for ${LONGEST_WRITE} s`));
      const settle = (): void => {
        stop();
        stdin.off('drain', settle).off('close', settle);
        signal?.removeEventListener('abort', settle);
        done();
      };
      stdin.once('drain', settle).once('close', settle);
      signal?.addEventListener('abort', settle, { once: true });
    });

  const close = (): Promise<VideoFile | undefined> =>
    (closing ??= (async () => {
      stdin.end();
      const stop = limitChild(child, longestEnd, () => (stuck = `ffmpeg did not end within ${longestEnd} s`));
      const result = await exit;
      stop();
      if (frames === 0) {
        await rm(working, { force: true });
        return undefined;
      }
      if (result.code !== 0) throw failed(result);
      const whole = besides(path, 'whole');
      try {
        await defragment(ffmpeg, working, whole);
      } catch (error) {
        await rm(whole, { force: true });
        throw new Magi1Error(`${what}: kept in fragments as ${working}: ${String(error)}`);
      }
      await rename(whole, path);
      if (working !== path) await rm(working, { force: true });
      return { path, frames };
    })());
  const abort = (): Promise<VideoFile | undefined> => {
    aborted = true;
    return close();
  };
  const onSignal = (): void => void abort().catch(() => undefined); // whoever calls abort() or finish() gets the error
  signal?.addEventListener('abort', onSignal, { once: true });

  return {
    path,
    encoder: `ffmpeg ${ffmpeg.version} (libx264)`,
    async write(chunk, count) {
      for (const frame of splitFrames(what, chunk, count, width, height)) {
        signal?.throwIfAborted();
        if (closing !== undefined) throw new Magi1Error(`${what}: closed already`);
        if (exited !== undefined) throw failed(exited);
        frames++;
        if (!stdin.write(rgbToYuv420(frame, width, height))) await drained();
      }
      signal?.throwIfAborted();
    },
    async finish() {
      signal?.throwIfAborted();
      if (aborted) throw new Magi1Error(`${what}: aborted already`);
      const file = await close();
      signal?.removeEventListener('abort', onSignal);
      if (file === undefined) throw new Magi1Error(`${what}: no frame was written`);
      return file;
    },
    abort,
  };
}
