// What a writer of frames looks like, whatever it writes to. Frames are uint8 RGB, [T, H, W, 3], row-major.

/** Text kept inside the mp4 itself; everything else belongs into the sidecar. */
export interface VideoMetadata {
  readonly title?: string;
  readonly comment?: string;
  readonly description?: string;
}

/** `auto` takes ffmpeg when the machine has a usable one, else the WebAssembly encoder. */
export type Mp4Encoder = 'auto' | 'ffmpeg' | 'wasm';

export interface VideoOptions {
  /** A file name ending in .mp4, or a folder for PNGs. */
  readonly path: string;
  /** Pixels; even for mp4. */
  readonly width: number;
  readonly height: number;
  /** Frames per second, above 0; PNG folders ignore it. */
  readonly fps: number;
  readonly metadata?: VideoMetadata;
  /** Ends the writer as `abort()` does; a write that waits rejects with the signal's reason. */
  readonly signal?: AbortSignal;
  readonly encoder?: Mp4Encoder;
}

export interface VideoFile {
  readonly path: string;
  readonly frames: number;
}

export interface VideoWriter {
  readonly path: string;
  /** Who encodes and why, for logs and the sidecar: `ffmpeg 5.1.9 (libx264)`. */
  readonly encoder: string;
  /** Takes `count` frames, [count, height, width, 3]. Resolves when the encoder can take more. One call at a time. */
  write(frames: Uint8Array, count: number): Promise<void>;
  /** Completes the file. Throws when no frame was written. */
  finish(): Promise<VideoFile>;
  /** Stops early and completes what was written so far; undefined when that is nothing. Safe to call twice, and after finish. */
  abort(): Promise<VideoFile | undefined>;
}
