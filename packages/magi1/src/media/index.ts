// Frames to files: mp4 by ffmpeg or WebAssembly, folders of PNGs, contact sheets, the sidecar. What needs Node is
// imported when it is called, so that a browser can import this file.
import type { Ffmpeg } from './node/ffmpeg.ts';
import type { ContactSheetOptions } from './node/png.ts';
import type { OutputKind } from './output-kind.ts';
import type { VideoOptions, VideoWriter } from './types.ts';

export { outputKind } from './output-kind.ts';
export type { OutputKind } from './output-kind.ts';
export type { Mp4Encoder, VideoFile, VideoMetadata, VideoOptions, VideoWriter } from './types.ts';
export type { ContactSheetOptions, Ffmpeg };

/** Opens an H.264 mp4 writer (BT.709, limited range). Throws before any work when the path or the size will not do. */
export async function openMp4Writer(options: VideoOptions): Promise<VideoWriter> {
  return (await import('./node/mp4-writer.ts')).openMp4Writer(options);
}

/** Opens a folder for frame_00000.png, frame_00001.png, ... */
export async function openPngWriter(options: Omit<VideoOptions, 'encoder' | 'metadata'>): Promise<VideoWriter> {
  return (await import('./node/png.ts')).openPngWriter(options);
}

/** `openMp4Writer` for names ending in .mp4, else `openPngWriter`. */
export async function openVideoWriter(options: VideoOptions): Promise<VideoWriter> {
  return (await import('./node/mp4-writer.ts')).openVideoWriter(options);
}

/** The system's ffmpeg, or why it cannot be used. */
export async function findFfmpeg(): Promise<Ffmpeg | { readonly unusable: string }> {
  return (await import('./node/ffmpeg.ts')).findFfmpeg();
}

/** Throws, naming the path, unless it can be written. Leaves nothing behind. */
export async function checkOutputPath(path: string): Promise<OutputKind> {
  return (await import('./node/output.ts')).checkOutputPath(path);
}

/** Writes `facts` to `<output>.json`; returns that path. */
export async function writeSidecar(output: string, facts: object): Promise<string> {
  return (await import('./node/output.ts')).writeSidecar(output, facts);
}

/** Writes frames [count, height, width, 3] as one grid. */
export async function writeContactSheet(
  path: string,
  frames: Uint8Array,
  count: number,
  options: ContactSheetOptions,
): Promise<void> {
  await (await import('./node/png.ts')).writeContactSheet(path, frames, count, options);
}
