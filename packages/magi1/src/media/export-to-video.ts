// A video in memory to a file, in one call.
import { Magi1Error, describeValue, isOptions } from '@magi1/tensor';
import type { VideoMetadata } from './mp4.ts';
import type { Mp4Encoder, VideoFile } from './types.ts';

export interface ExportOptions {
  /** Frames per second of the file; the video's own, else 24, where left out. */
  readonly fps?: number;
  readonly metadata?: VideoMetadata;
  readonly signal?: AbortSignal;
  readonly encoder?: Mp4Encoder;
  /** Whether something of that name may be replaced, once the new one is whole. Default true. */
  readonly overwrite?: boolean;
}

/** What pipelines give, or any frames with their size. */
export interface FramesToExport {
  /** RGB [frames, height, width, 3]: uint8 levels, or float32 from 0 to 1. */
  readonly frames: Uint8Array | Float32Array;
  readonly width: number;
  readonly height: number;
  readonly fps?: number;
}

/**
 * Writes frames to a file ending in .mp4, or into a folder of PNGs.
 * @throws Magi1Error, before anything is written, if the frames are not whole pictures of the size
 */
export async function exportToVideo(
  { frames, width, height, fps }: FramesToExport,
  path: string,
  options: ExportOptions = {},
): Promise<VideoFile> {
  if (!isOptions(options))
    throw new Magi1Error(`exportToVideo: an object of options expected, got ${describeValue(options)}`);
  const picture = width * height * 3;
  if (!(picture > 0) || frames.length === 0 || frames.length % picture !== 0)
    throw new Magi1Error(
      `exportToVideo: frames of ${width}x${height} RGB have ${picture} values each, got ${frames.length} values in all`,
    );
  const { openVideoWriter } = await import('./node/mp4-writer.ts');
  const writer = await openVideoWriter({ path, width, height, fps: fps ?? 24, ...options });
  try {
    for (let at = 0; at < frames.length; at += picture)
      await writer.write(levels(frames.subarray(at, at + picture)), 1);
    return await writer.finish();
  } catch (error) {
    await writer.abort();
    throw error;
  }
}

/** Truncated, as the model's own conversion to levels does. */
function levels(frame: Uint8Array | Float32Array): Uint8Array {
  if (frame instanceof Uint8Array) return frame;
  return Uint8Array.from(frame, (value) => Math.min(255, Math.max(0, value * 255)));
}
