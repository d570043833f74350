// What readers and writers of frames look like, whatever they read and write. Frames are uint8 RGB, [T, H, W, 3], row-major.
import type { VideoMetadata } from './mp4.ts';
import type { EndedEarly, Output } from './node/output.ts';
import type { RgbFrames } from './rgb-frames.ts';
import type { Fit, Scaler, Size } from './scale.ts';

/** `auto` takes ffmpeg when the machine has a usable one, else the WebAssembly encoder. */
export type Mp4Encoder = 'auto' | 'ffmpeg' | 'wasm';

export interface VideoOptions {
  /** A file name ending in .mp4, or a folder for PNGs; or one that `reserveOutput` has reserved. */
  readonly path: string | Output;
  /** Pixels; even for mp4. */
  readonly width: number;
  readonly height: number;
  /** Frames per second, above 0; PNG folders ignore it. */
  readonly fps: number;
  readonly metadata?: VideoMetadata;
  /** Ends the writer as `abort()` does; a write that waits rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly encoder?: Mp4Encoder;
  /** Whether something of that name may be replaced, once the new one is whole. Default true. */
  readonly overwrite?: boolean | undefined;
}

export interface VideoFile {
  readonly path: string;
  readonly frames: number;
}

export type { EndedEarly };

export interface VideoWriter {
  readonly path: string;
  /** Who encodes and why, for logs and the sidecar: `ffmpeg 5.1.9 (libx264)`. */
  readonly encoder: string;
  /** Aborts, with the reason, when the encoder ends by itself: a run need not go on until its next chunk is written. */
  readonly failed: AbortSignal;
  /**
   * Takes `count` frames, [count, height, width, 3]. Resolves when they are on the disk, all but what an encoder must hold
   * back. One call at a time. When it rejects, the writer is closed, and the message says what is kept.
   */
  write(frames: Uint8Array, count: number): Promise<void>;
  /**
   * Completes the output, looks at it, and gives it its name, replacing what is there; `facts` are written beside it as
   * `<path>.json`. Throws when no frame was written, or saying what is kept.
   */
  finish(facts?: object): Promise<VideoFile>;
  /**
   * Stops early and keeps what is finished, as `clip.partial.mp4` unless the run was cancelled and the name is free;
   * undefined when that is nothing. Default: cancelled if the signal is. Safe to call twice, and after finish.
   */
  abort(why?: EndedEarly): Promise<VideoFile | undefined>;
}

/** Frames that were read, and who decoded and scaled them, for logs and the sidecar: `ffmpeg 5.1.9-0+deb12u1`. */
export interface LoadedFrames extends RgbFrames {
  readonly decoder: string;
  /** Of the source as it is meant to be seen: turned upright, with square pixels. */
  readonly shape?: Size | undefined;
  /** Frames of the whole clip at the rate it was read at, where it was read to its end. */
  readonly clipFrames?: number;
  /** Frames of the clip before these, where they were to be kept and there are not too many. */
  readonly earlier?: readonly Uint8Array[];
  /** Warnings. */
  readonly notes: readonly string[];
}

/** `auto` takes ffmpeg when the machine has a usable one, else sharp. */
export type ImageDecoder = 'auto' | 'ffmpeg' | 'sharp';

export interface ImageOptions {
  /** Pixels of the frame wanted. */
  readonly width: number;
  readonly height: number;
  /** Default `stretch`: the aspect ratio is ignored, as in the original. */
  readonly fit?: Fit | undefined;
  /** Default `accurate`. */
  readonly scaler?: Scaler | undefined;
  readonly decoder?: ImageDecoder;
  readonly signal?: AbortSignal | undefined;
}

/** Which end of a clip is meant. */
export type VideoEnd = 'start' | 'end';

export interface VideoFrameOptions {
  /** Pixels of the frames wanted. */
  readonly width: number;
  readonly height: number;
  /** Frames per second that the video is resampled to. Decoded frames are taken as they come. */
  readonly fps: number;
  /** Default `stretch`, as in the original. `crop` and `pad` keep the shape that the clip is meant to have. */
  readonly fit?: Fit | undefined;
  /** Default `accurate`. */
  readonly scaler?: Scaler | undefined;
  readonly signal?: AbortSignal | undefined;
}

export interface VideoInputOptions extends VideoFrameOptions {
  /** At most so many frames. Default 32, the original's prefix. */
  readonly maxFrames?: number;
  /** The first of them, or the last, for which the whole clip is decoded. Default `start`. */
  readonly from?: VideoEnd | undefined;
  /** With `from: 'end'`: holds the frames before the last ones as well, up to 1 GiB. */
  readonly keepEarlier?: boolean | undefined;
}
