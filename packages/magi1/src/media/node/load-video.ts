// Frames of a video, through ffmpeg: resampled in time, then scaled, then RGB, as the original does.
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import { checkFrames, checkSides, frameAt, isRgbFrames, takeFrames } from '../rgb-frames.ts';
import type { MediaInput } from '../rgb-frames.ts';
import { OWN_SCALER, scaleFrames } from '../scale.ts';
import type { LoadedFrames, VideoFrameOptions, VideoInputOptions } from '../types.ts';
import { videoFilters } from './ffmpeg-filters.ts';
import { decodeFrames } from './ffmpeg-read.ts';
import type { SourceFacts } from './ffmpeg-read.ts';
import { findFfmpegReader } from './find-ffmpeg.ts';
import type { Ffmpeg } from './find-ffmpeg.ts';
import { byteLength, bytesOf, checkFile, checkNoText, inputPath, nameInput } from './read-input.ts';
import type { EncodedInput } from './read-input.ts';

/** The original's prefix. */
const DEFAULT_FRAMES = 32;
/** Bytes of frames before the wanted ones that are held; beyond them a clip is decoded again when they are asked for. */
const MAX_EARLIER = 2 ** 30;
/** Per frame: a decoder holds many of them at once. 8K is half of it. */
const MAX_VIDEO_PIXELS = 2 ** 26;

/** Throws unless videos can be read on this machine. */
export async function requireVideoReader(what: string, signal?: AbortSignal): Promise<Ffmpeg> {
  const ffmpeg = await findFfmpegReader(signal);
  if ('unusable' in ffmpeg)
    throw new Magi1Error(
      `${what}: reading videos needs ffmpeg (${ffmpeg.unusable}); install it, or give decoded frames`,
    );
  return ffmpeg;
}

export async function loadVideo(input: MediaInput, options: VideoInputOptions): Promise<LoadedFrames> {
  const what = nameInput('video', input);
  const { width, height, maxFrames = DEFAULT_FRAMES, from = 'start', fit, scaler } = options;
  checkOptions(what, options);
  if (!Number.isInteger(maxFrames) || maxFrames < 1)
    throw new Magi1Error(`${what}: maxFrames must be a whole number from 1, got ${String(maxFrames)}`);
  if (isRgbFrames(what, input)) {
    checkFrames(what, input);
    const taken = takeFrames(input, maxFrames, from);
    const frames = scaleFrames(taken, { width, height }, fit, scaler);
    const clip = { clipFrames: input.frameCount, shape: { width: input.width, height: input.height }, notes: [] };
    return { ...frames, ...clip, decoder: `given frames, ${OWN_SCALER}` };
  }
  const ffmpeg = await checkInput(what, input, options.signal);
  const frames = decodeVideo(what, ffmpeg, input, options, from === 'start' ? maxFrames : undefined);
  const kept: Uint8Array[] = []; // of a long clip only as many as are wanted
  let earlier: Uint8Array[] | undefined = options.keepEarlier === true ? [] : undefined;
  let count = 0;
  for (;;) {
    const next = await frames.next();
    if (next.done !== true) {
      count++;
      if (kept.push(next.value) <= maxFrames) continue;
      const left = kept.shift()!;
      if (earlier !== undefined && earlier.push(left) * left.length > MAX_EARLIER) earlier = undefined;
      continue;
    }
    if (count === 0) throw new FileFormatError(`${what}: there is no frame in it`);
    const wholeClip = from === 'end' || count < maxFrames ? { clipFrames: count } : {};
    return {
      data: joinFrames(kept),
      frameCount: kept.length,
      width,
      height,
      decoder: `ffmpeg ${ffmpeg.version}`,
      ...next.value,
      ...wholeClip,
      ...(earlier === undefined ? {} : { earlier }),
    };
  }
}

/** Every frame [height, width, 3] of a video from its start on, one by one. */
export async function* videoFrames(
  input: MediaInput,
  options: VideoFrameOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  const what = nameInput('video', input);
  checkOptions(what, options);
  if (isRgbFrames(what, input)) {
    checkFrames(what, input);
    for (let i = 0; i < input.frameCount; i++) {
      options.signal?.throwIfAborted();
      const frame = { ...input, data: frameAt(input, i), frameCount: 1 };
      yield scaleFrames(frame, options, options.fit, options.scaler).data;
    }
    return;
  }
  yield* decodeVideo(what, await checkInput(what, input, options.signal), input, options, undefined);
}

function checkOptions(what: string, { width, height, fps, signal }: VideoFrameOptions): void {
  checkSides(`${what}: target`, { width, height });
  if (!(fps > 0 && fps <= 1000))
    throw new Magi1Error(`${what}: fps above 0 and up to 1000 expected, got ${String(fps)}`);
  signal?.throwIfAborted();
}

async function checkInput(what: string, input: EncodedInput, signal: AbortSignal | undefined): Promise<Ffmpeg> {
  const path = inputPath(what, input);
  if (path !== undefined) await checkFile(what, path);
  else if (byteLength(input) === 0) throw new FileFormatError(`${what}: it is empty`);
  return requireVideoReader(what, signal);
}

async function* decodeVideo(
  what: string,
  ffmpeg: Ffmpeg,
  input: EncodedInput,
  { width, height, fps, fit = 'stretch', scaler = 'accurate', signal }: VideoFrameOptions,
  maxFrames: number | undefined,
): AsyncGenerator<Uint8Array, SourceFacts, undefined> {
  const path = inputPath(what, input);
  // ffmpeg has to jump about in most formats, which a pipe does not allow.
  const folder = path === undefined ? await mkdtemp(join(tmpdir(), 'magi1-video-')) : undefined;
  try {
    const file = folder === undefined ? resolve(path!) : join(folder, 'video');
    if (folder !== undefined) await writeFile(file, await bytesOf(input), signal ? { signal } : {});
    await checkNoText(what, file);
    return yield* decodeFrames(ffmpeg, {
      what,
      input: ['-i', `file:${file}`],
      filters: videoFilters(fps, fit, { width, height }, scaler),
      maxPixels: MAX_VIDEO_PIXELS,
      size: { width, height },
      maxFrames,
      signal,
    });
  } finally {
    if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  }
}

function joinFrames(frames: readonly Uint8Array[]): Uint8Array {
  const size = frames[0]!.length;
  const data = new Uint8Array(frames.length * size);
  frames.forEach((frame, i) => data.set(frame, i * size));
  return data;
}
