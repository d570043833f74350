// Chooses who writes an mp4, and who writes a path at all; only the one that is chosen is imported.
import { Magi1Error, describeValue, isOptions } from '@magi1/tensor';
import type { VideoOptions, VideoWriter } from '../types.ts';
import { startFfmpeg } from './ffmpeg-encoder.ts';
import { findFfmpeg } from './find-ffmpeg.ts';
import type { FrameSink } from './frame-sink.ts';
import { checkEvenSize, checkMetadata, checkSize } from './frames.ts';
import { Mp4File } from './mp4-file.ts';
import { Output } from './output.ts';
import { videoWriter } from './video-writer.ts';

/** An mp4 for names ending in .mp4, else a folder of PNGs. */
export async function openVideoWriter(options: VideoOptions): Promise<VideoWriter> {
  const output = reserved(options);
  try {
    const { sink, encoder } = await startSink(output, options);
    return videoWriter(output, sink, encoder, options);
  } catch (error) {
    output.release();
    throw error;
  }
}

export function openMp4Writer(options: VideoOptions): Promise<VideoWriter> {
  return openAs('mp4', options, 'a name ending in .mp4 expected');
}

export function openPngWriter(options: Omit<VideoOptions, 'encoder' | 'metadata'>): Promise<VideoWriter> {
  return openAs('png', options, 'a folder expected');
}

async function openAs(kind: Output['kind'], options: VideoOptions, expected: string): Promise<VideoWriter> {
  const output = reserved(options);
  if (output.kind === kind) return openVideoWriter({ ...options, path: output });
  output.release();
  throw new Magi1Error(`${output.what}: ${expected}`);
}

function reserved(options: VideoOptions): Output {
  if (!isOptions(options))
    throw new Magi1Error(`video writer: an object of options expected, got ${describeValue(options)}`);
  const { path, overwrite, signal } = options;
  signal?.throwIfAborted();
  if (path instanceof Output) return path;
  if (typeof path === 'string') return new Output(path, { overwrite });
  throw new Magi1Error(`video writer: path: a name or a reserved output expected, got ${describeValue(path)}`);
}

async function startSink(output: Output, options: VideoOptions): Promise<{ sink: FrameSink; encoder: string }> {
  const { what, growing } = output;
  const { width, height, fps, encoder: wanted = 'auto', metadata } = options;
  checkSize(what, options);
  if (output.kind === 'png') {
    const { startPngs } = await import('./png.ts');
    return { sink: startPngs(growing, options), encoder: 'PNG files' };
  }
  checkEvenSize(what, options);
  checkMetadata(what, metadata);
  const file = new Mp4File(growing, { width, height, fps, ...(metadata && { metadata }) });
  const ffmpeg = wanted === 'wasm' ? { unusable: 'asked for' } : await findFfmpeg(options.signal);
  if (!('unusable' in ffmpeg))
    return { sink: startFfmpeg(ffmpeg, options, file), encoder: `ffmpeg ${ffmpeg.version} (libx264)` };
  if (wanted === 'ffmpeg')
    throw new Magi1Error(`${what}: ${ffmpeg.unusable}; choose the wasm encoder or install ffmpeg`);
  const { startWasmEncoder } = await import('./h264-wasm.ts');
  const sink = await startWasmEncoder(options, file);
  return { sink, encoder: `h264-mp4-encoder (WebAssembly; ${ffmpeg.unusable})` };
}
