// Chooses who writes an mp4, and who writes a path at all.
import { Magi1Error } from '@magi1/tensor';
import type { VideoOptions, VideoWriter } from '../types.ts';
import { openFfmpegWriter } from './ffmpeg.ts';
import { findFfmpeg } from './find-ffmpeg.ts';
import { checkEvenSize, checkSize } from './frames.ts';
import { openWasmWriter } from './h264-wasm.ts';
import { checkOutputPath } from './output.ts';
import { openPngWriter } from './png.ts';

export async function openMp4Writer(options: VideoOptions): Promise<VideoWriter> {
  const what = `output ${options.path}`;
  checkSize(what, options);
  checkEvenSize(what, options);
  options.signal?.throwIfAborted();
  if ((await checkOutputPath(options.path)) !== 'mp4') throw new Magi1Error(`${what}: a name ending in .mp4 expected`);
  if (options.encoder === 'wasm') return openWasmWriter(options, 'asked for');
  const ffmpeg = await findFfmpeg(options.signal);
  if (!('unusable' in ffmpeg)) return openFfmpegWriter(ffmpeg, options);
  if (options.encoder === 'ffmpeg')
    throw new Magi1Error(`${what}: ${ffmpeg.unusable}; choose the wasm encoder or install ffmpeg`);
  return openWasmWriter(options, ffmpeg.unusable);
}

/** An mp4 for names ending in .mp4, else a folder of PNGs. */
export async function openVideoWriter(options: VideoOptions): Promise<VideoWriter> {
  return (await checkOutputPath(options.path)) === 'mp4' ? openMp4Writer(options) : openPngWriter(options);
}
