// One picture of any size as a frame. With ffmpeg on the machine its decoder and scaler do it; without it, sharp decodes and
// our own scaler scales.
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import { readImageHeader } from '../image-header.ts';
import type { ImageHeader } from '../image-header.ts';
import { orientPicture } from '../orient.ts';
import { MAX_PIXELS, checkFrames, checkSides, isRgbFrames } from '../rgb-frames.ts';
import type { MediaInput, RgbFrames } from '../rgb-frames.ts';
import { OWN_SCALER, scaleFrames } from '../scale.ts';
import type { ImageOptions, LoadedFrames } from '../types.ts';
import { pictureFilters } from './ffmpeg-filters.ts';
import { decodeFrames } from './ffmpeg-read.ts';
import { findFfmpegReader } from './find-ffmpeg.ts';
import { nameInput, readPicture } from './read-input.ts';

export async function loadImage(input: MediaInput, options: ImageOptions): Promise<LoadedFrames> {
  const what = nameInput('image', input);
  const { width, height, fit = 'stretch', scaler = 'accurate', decoder = 'auto', signal } = options;
  const size = { width, height };
  checkSides(`${what}: target`, size);
  signal?.throwIfAborted();
  if (isRgbFrames(what, input)) {
    checkFrames(what, input);
    if (input.frameCount !== 1) throw new Magi1Error(`${what}: a single frame expected, got ${input.frameCount}`);
    const shape = { width: input.width, height: input.height };
    return { ...scaleFrames(input, size, fit, scaler), shape, notes: [], decoder: `given frames, ${OWN_SCALER}` };
  }
  const file = await readPicture(what, input);
  const header = readImageHeader(what, file);
  const bytes = file.subarray(0, header.length); // what follows a picture is none of it
  const { width: w, height: h, orientation } = header;
  const facts = { shape: orientation >= 5 ? { width: h, height: w } : { width: w, height: h }, notes: [] };
  const ffmpeg = decoder === 'sharp' ? { unusable: 'not asked for' } : await findFfmpegReader(signal);
  if (!('unusable' in ffmpeg)) {
    const frames = decodeFrames(ffmpeg, {
      what,
      // Damage to a picture is an error, too, where a decoder would grey it out and go on. The orientation is applied by
      // our own filters: ffmpeg's versions differ in which formats they look into.
      input: [
        ...['-err_detect', 'crccheck+explode', '-noautorotate'],
        ...['-f', `${header.format.toLowerCase()}_pipe`, '-i', 'pipe:0'],
      ],
      bytes,
      filters: pictureFilters(header, fit, size, scaler),
      maxPixels: MAX_PIXELS,
      size,
      maxFrames: 1,
      signal,
    });
    let data: Uint8Array | undefined;
    for await (const frame of frames) data = frame;
    if (data === undefined) throw new FileFormatError(`${what}: ffmpeg finds no picture in this ${header.format} file`);
    return { data, frameCount: 1, width, height, ...facts, decoder: `ffmpeg ${ffmpeg.version}` };
  }
  if (decoder === 'ffmpeg')
    throw new Magi1Error(`${what}: ${ffmpeg.unusable}; install ffmpeg, or choose decoder sharp`);
  const { picture, version } = await decodeBySharp(what, bytes, header, ffmpeg.unusable);
  signal?.throwIfAborted();
  const upright = orientPicture(picture, orientation);
  return { ...scaleFrames(upright, size, fit, scaler), ...facts, decoder: `sharp ${version}, ${OWN_SCALER}` };
}

/** The stored picture at full size; alpha is dropped and colour profiles are not looked at, as ffmpeg does. */
async function decodeBySharp(
  what: string,
  bytes: Uint8Array,
  header: ImageHeader,
  noFfmpeg: string,
): Promise<{ picture: RgbFrames; version: string }> {
  const sharp = await importSharp(what, noFfmpeg);
  let decoded: { data: Uint8Array; info: { width: number; height: number; channels: number } };
  try {
    decoded = await sharp(bytes, { failOn: 'warning', ignoreIcc: true, limitInputPixels: header.width * header.height })
      .toColourspace('srgb')
      .removeAlpha()
      .raw({ depth: 'uchar' })
      .toBuffer({ resolveWithObject: true });
  } catch (error) {
    const reason =
      (error as Error).message
        .split('\n')
        .filter((line) => line.trim() !== '')
        .at(-1) ?? '';
    throw new FileFormatError(`${what}: this ${header.format} file cannot be decoded: ${reason}`);
  }
  const { data, info } = decoded;
  if (info.width !== header.width || info.height !== header.height || info.channels !== 3)
    throw new FileFormatError(
      `${what}: the header says ${header.width}x${header.height}, the picture is ${info.width}x${info.height} with ${info.channels} channels`,
    );
  const picture = { data: new Uint8Array(data.buffer, data.byteOffset, data.length), frameCount: 1 };
  return { picture: { ...picture, width: info.width, height: info.height }, version: sharp.versions.sharp ?? '' };
}

async function importSharp(what: string, noFfmpeg: string): Promise<(typeof import('sharp'))['default']> {
  try {
    return (await import('sharp')).default;
  } catch (error) {
    const reason = (error as Error).message.split('\n')[0] ?? '';
    throw new Magi1Error(
      `${what}: pictures are read by ffmpeg (${noFfmpeg}) or the optional package sharp (${reason}); install one of them`,
    );
  }
}
