// Frames as PNG files: a folder of single frames, and a contact sheet for a look at many at once.
import { mkdir, readdir, rm } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import { PNG } from 'pngjs';
import type { VideoFile, VideoOptions, VideoWriter } from '../types.ts';
import { checkSize, splitFrames } from './frames.ts';
import { checkOutputPath, writeWhole } from './output.ts';

/** rgb [height, width, 3] as a PNG file. */
export function encodePng(rgb: Uint8Array, width: number, height: number): Uint8Array {
  if (rgb.length !== width * height * 3) {
    throw new Magi1Error(`png: ${width}x${height} RGB is ${width * height * 3} bytes, got ${rgb.length} bytes`);
  }
  const png = new PNG({ width, height });
  const data = Buffer.from(rgb.buffer, rgb.byteOffset, rgb.byteLength);
  png.data = data;
  return PNG.sync.write(png, { inputColorType: 2, inputHasAlpha: false, colorType: 2 });
}

const frameName = (index: number): string => `frame_${String(index).padStart(5, '0')}.png`;

/** Writes frame_00000.png, frame_00001.png, ... into the folder, which is made when missing. */
export async function openPngWriter(options: Omit<VideoOptions, 'encoder' | 'metadata'>): Promise<VideoWriter> {
  const { path, width, height, signal } = options;
  const what = `output ${path}`;
  checkSize(what, options);
  signal?.throwIfAborted();
  await checkOutputPath(path);
  const folder = resolve(path);
  await mkdir(folder, { recursive: true });
  let frames = 0;
  let closed = false;
  const file = (): VideoFile => ({ path: folder, frames });
  return {
    path: folder,
    encoder: 'PNG files',
    async write(chunk, count) {
      if (closed) throw new Magi1Error(`${what}: closed already`);
      for (const frame of splitFrames(what, chunk, count, width, height)) {
        signal?.throwIfAborted();
        await writeWhole(join(folder, frameName(frames)), encodePng(frame, width, height));
        frames++;
      }
    },
    async finish() {
      signal?.throwIfAborted();
      if (frames === 0) throw new Magi1Error(`${what}: no frame was written`);
      closed = true;
      // Frames of a longer, earlier run would otherwise look like the end of this one.
      for (const name of await readdir(folder)) {
        const match = /^frame_(\d{5,})\.png$/.exec(name);
        if (match !== null && Number(match[1]) >= frames) await rm(join(folder, name));
      }
      return file();
    },
    abort() {
      closed = true;
      return Promise.resolve(frames === 0 ? undefined : file());
    },
  };
}

export interface ContactSheetOptions {
  readonly width: number;
  readonly height: number;
  /** Default: as square as the frames allow. */
  readonly columns?: number;
  /** Pixels between frames. Default 4. */
  readonly gap?: number;
}

/** A grid of frames [count, height, width, 3] in reading order, on grey, as one PNG. */
export async function writeContactSheet(
  path: string,
  frames: Uint8Array,
  count: number,
  { width, height, gap = 4, columns = Math.ceil(Math.sqrt((count * height) / width)) }: ContactSheetOptions,
): Promise<void> {
  const views = splitFrames(`contact sheet ${path}`, frames, count, width, height);
  if (count === 0) throw new Magi1Error(`contact sheet ${path}: at least one frame expected`);
  const across = Math.max(1, Math.min(columns, count));
  const down = Math.ceil(count / across);
  const sheetWidth = across * (width + gap) + gap;
  const sheetHeight = down * (height + gap) + gap;
  const sheet = new Uint8Array(sheetWidth * sheetHeight * 3).fill(128);
  for (const [i, view] of views.entries()) {
    const left = gap + (i % across) * (width + gap);
    const top = gap + Math.floor(i / across) * (height + gap);
    for (let y = 0; y < height; y++) {
      sheet.set(view.subarray(y * width * 3, (y + 1) * width * 3), ((top + y) * sheetWidth + left) * 3);
    }
  }
  await writeWhole(path, encodePng(sheet, sheetWidth, sheetHeight));
}
