// Pictures and videos to frames, and frames to files: mp4 by ffmpeg or WebAssembly, folders of PNGs, contact sheets, the
// sidecar. What needs Node is imported when it is called, so that a browser can import this file.
import type { Ffmpeg } from './node/find-ffmpeg.ts';
import type { Output } from './node/output.ts';
import type { OutputOptions } from './node/output-target.ts';
import type { ContactSheetOptions } from './node/png.ts';
import type { MediaInput } from './rgb-frames.ts';
import type { ImageOptions, LoadedFrames, VideoFrameOptions, VideoInputOptions } from './types.ts';
import type { VideoOptions, VideoWriter } from './types.ts';

export { usablePrefixFrames } from './prefix-frames.ts';
export type { UsablePrefix } from './prefix-frames.ts';
export { scaleFrames } from './scale.ts';
export type { Fit, Scaler } from './scale.ts';
export type { MediaInput, RgbFrames } from './rgb-frames.ts';
export { outputKind, OutputTakenError } from './output-kind.ts';
export type { OutputKind } from './output-kind.ts';
export type { ImageDecoder, ImageOptions, LoadedFrames } from './types.ts';
export type { VideoEnd, VideoFrameOptions, VideoInputOptions } from './types.ts';
export type { VideoMetadata } from './mp4.ts';
export type { EndedEarly, Mp4Encoder, VideoFile, VideoOptions, VideoWriter } from './types.ts';
export type { ContactSheetOptions, Ffmpeg, Output, OutputOptions };

/**
 * One picture as one frame [1, height, width, 3]: JPEG, PNG or WebP by path, bytes or Blob, or a decoded frame. Exif's
 * orientation is applied, alpha dropped, colour profiles are not looked at, and the picture is scaled: by ffmpeg where the
 * machine has it, else decoded by sharp and scaled here. The two agree within 1 level for PNG, and differ by a few levels
 * where JPEG and lossy WebP store colour at half resolution. With `scaler: 'original'` and ffmpeg the bytes are those that
 * the original gets. Throws FileFormatError, before decoding, for what is unreadable, empty, animated, truncated, CMYK or
 * above 2^28 pixels.
 */
export async function loadImage(input: MediaInput, options: ImageOptions): Promise<LoadedFrames> {
  return (await import('./node/load-image.ts')).loadImage(input, options);
}

/**
 * Leading or last frames of a video [frameCount, height, width, 3], resampled to `fps` from its first picture on, then
 * scaled; at most `maxFrames`, fewer if the clip is shorter (`usablePrefixFrames` tells how many of them a prefix can use).
 * Anything that ffmpeg reads, by path, bytes or Blob, or decoded frames, which need no ffmpeg and keep their own timing.
 * Sound is not looked at. Throws FileFormatError for what is unreadable, empty, or damaged within the frames read;
 * Magi1Error at the start when ffmpeg is missing.
 */
export async function loadVideo(input: MediaInput, options: VideoInputOptions): Promise<LoadedFrames> {
  return (await import('./node/load-video.ts')).loadVideo(input, options);
}

/** The same of every frame of a video, one by one: [height, width, 3] each. */
export async function* videoFrames(
  input: MediaInput,
  options: VideoFrameOptions,
): AsyncGenerator<Uint8Array, void, undefined> {
  yield* (await import('./node/load-video.ts')).videoFrames(input, options);
}

/** Throws unless this machine can read videos: to be called before a long run that will. */
export async function requireVideoReader(what = 'video'): Promise<void> {
  await (await import('./node/load-video.ts')).requireVideoReader(what);
}

/** Opens an H.264 mp4 writer (BT.709, limited range). Throws before any work when the path or the size will not do. */
export async function openMp4Writer(options: VideoOptions): Promise<VideoWriter> {
  return (await import('./node/mp4-writer.ts')).openMp4Writer(options);
}

/** Opens a folder for frame_00000.png, frame_00001.png, ... */
export async function openPngWriter(options: Omit<VideoOptions, 'encoder' | 'metadata'>): Promise<VideoWriter> {
  return (await import('./node/mp4-writer.ts')).openPngWriter(options);
}

/** `openMp4Writer` for names ending in .mp4, else `openPngWriter`. */
export async function openVideoWriter(options: VideoOptions): Promise<VideoWriter> {
  return (await import('./node/mp4-writer.ts')).openVideoWriter(options);
}

/** The system's ffmpeg, or why it cannot be used: one that gives no answer is given up after some seconds, or at the signal. */
export async function findFfmpeg(signal?: AbortSignal): Promise<Ffmpeg | { readonly unusable: string }> {
  return (await import('./node/find-ffmpeg.ts')).findFfmpeg(signal);
}

/**
 * Reserves an output for this process before a long run, as writers do when they are opened: hand it to one as its path.
 * Throws OutputTakenError where something is that may not be replaced, or that another run is writing.
 */
export async function reserveOutput(path: string, options?: OutputOptions): Promise<Output> {
  return new (await import('./node/output.ts')).Output(path, options);
}

/** Writes frames [count, height, width, 3] as one grid. */
export async function writeContactSheet(
  path: string | Output,
  frames: Uint8Array,
  count: number,
  options: ContactSheetOptions,
): Promise<void> {
  await (await import('./node/png.ts')).writeContactSheet(path, frames, count, options);
}
