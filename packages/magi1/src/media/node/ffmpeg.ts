// H.264 by the system's ffmpeg: raw frames go down its stdin. It runs in a process group of its own, because Ctrl-C in
// the terminal must not reach it, and is ended by closing its stdin: an interrupt would hang while that is open.
import { spawn, type ChildProcess } from 'node:child_process';
import { rename, rm } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import type { VideoFile, VideoMetadata, VideoOptions, VideoWriter } from '../types.ts';
import { rgbToYuv420 } from '../yuv.ts';
import { splitFrames } from './frames.ts';
import { besides, workingPath } from './output.ts';

export interface Ffmpeg {
  readonly command: string;
  readonly version: string;
}

const OLDEST = 4;
const KEYFRAME_EVERY = 24;

interface Exit {
  readonly code: number | null;
  readonly output: string;
}

/** Resolves when the process has ended; keeps the last kilobytes it printed. Rejects when it cannot be started. */
function ended(child: ChildProcess): Promise<Exit> {
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding('utf8').on('data', (text: string) => (output = (output + text).slice(-100_000)));
  }
  return new Promise((done, fail) => {
    child.once('error', fail);
    child.once('close', (code) => done({ code, output }));
  });
}

function execute(command: string, args: readonly string[]): Promise<Exit> {
  return ended(spawn(command, args, { stdio: ['ignore', 'pipe', 'pipe'], detached: true }));
}

const lastLine = (text: string): string => text.trim().split('\n').at(-1) ?? '';

type Found = Ffmpeg | { readonly unusable: string };

/** The system's ffmpeg, able to write H.264, or why it cannot be used. `MAGI1_FFMPEG` names another than that on the PATH. */
export async function findFfmpeg(): Promise<Found> {
  const ffmpeg = await findFfmpegReader();
  if ('unusable' in ffmpeg) return ffmpeg;
  const encoders = await execute(ffmpeg.command, ['-hide_banner', '-loglevel', 'error', '-encoders']);
  if (!/\blibx264\b/.test(encoders.output)) return { unusable: `ffmpeg ${ffmpeg.version} has no libx264 encoder` };
  return ffmpeg;
}

const found = new Map<string, Ffmpeg>();

/** As `findFfmpeg`, but to read with: no encoder is asked for. One that was found is remembered. */
export async function findFfmpegReader(): Promise<Found> {
  const command = process.env.MAGI1_FFMPEG ?? 'ffmpeg';
  const known = found.get(command);
  if (known !== undefined) return known;
  const ffmpeg = await lookAt(command);
  if (!('unusable' in ffmpeg)) found.set(command, ffmpeg);
  return ffmpeg;
}

async function lookAt(command: string): Promise<Found> {
  let version: Exit;
  try {
    version = await execute(command, ['-hide_banner', '-version']);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    return {
      unusable: code === 'ENOENT' ? `no ${command} on this machine` : `${command} does not start (${code ?? ''})`,
    };
  }
  const name = /^ffmpeg version (\S+)/m.exec(version.output)?.[1];
  if (version.code !== 0 || name === undefined) return { unusable: `${command} does not tell its version` };
  // Builds from a repository are named by commit (N-12345-g...) and are newer than any release refused here.
  const major = Number(/^n?(\d+)\./.exec(name)?.[1] ?? OLDEST);
  if (major < OLDEST) return { unusable: `ffmpeg ${name} is older than ${OLDEST}` };
  return { command, version: name };
}

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
  const { code, output } = await execute(ffmpeg.command, [...args, '-movflags', '+faststart', '-f', 'mp4', to]);
  if (code !== 0) throw new Magi1Error(`ffmpeg ended with status ${String(code)}: ${lastLine(output)}`);
}

/** Sizes and the path are checked by the caller. */
export async function openFfmpegWriter(ffmpeg: Ffmpeg, options: VideoOptions): Promise<VideoWriter> {
  const { width, height, signal } = options;
  const path = resolve(options.path);
  const what = `output ${options.path}`;
  const working = await workingPath(path);
  const child = spawn(ffmpeg.command, encodeArguments(options, working), {
    stdio: ['pipe', 'ignore', 'pipe'],
    detached: true,
  });
  const { stdin } = child;
  let exited: Exit | undefined;
  const exit = ended(child).then(
    (result) => (exited = result),
    (error: unknown) => (exited = { code: -1, output: String(error) }),
  );
  // A broken pipe shows as ffmpeg's exit, which carries the reason.
  stdin.on('error', () => stdin.destroy());

  const failed = (result: Exit): Magi1Error =>
    new Magi1Error(`${what}: ffmpeg ended with status ${String(result.code)}: ${lastLine(result.output)}`);
  let frames = 0;
  let aborted = false;
  let closing: Promise<VideoFile | undefined> | undefined;

  const drained = (): Promise<void> =>
    new Promise((done) => {
      const settle = (): void => {
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
      const result = await exit;
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
