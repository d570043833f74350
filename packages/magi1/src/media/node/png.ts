// Frames as PNG files: a folder of single frames, and a contact sheet that shows many at once.
import { mkdir, rename, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import { PNG } from 'pngjs';
import type { VideoOptions } from '../types.ts';
import type { FrameSink } from './frame-sink.ts';
import { splitFrames } from './frames.ts';
import { Output } from './output.ts';
import { publishFile } from './single-file.ts';

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

/** Writes frame_00000.png, frame_00001.png, ... into `folder`, which is made with the first one. */
export function startPngs(folder: string, { width, height }: VideoOptions): FrameSink {
  const sizes: number[] = [];
  /** Leading frames that are there, and whole. */
  const count = async (): Promise<number> => {
    for (const [i, size] of sizes.entries())
      if ((await stat(join(folder, frameName(i))).catch(() => undefined))?.size !== size) return i;
    return sizes.length;
  };
  return {
    failed: new AbortController().signal, // it runs in this process
    async add(frame) {
      if (sizes.length === 0) await mkdir(folder);
      const png = encodePng(frame, width, height);
      // Beside the folder, so that the folder holds whole frames only.
      const unfinished = `${folder}.frame`;
      await writeFile(unfinished, png);
      await rename(unfinished, join(folder, frameName(sizes.length)));
      sizes.push(png.length);
    },
    settle: () => Promise.resolve(sizes.length),
    async finish() {
      const there = await count();
      if (there < sizes.length) throw new Magi1Error(`${join(folder, frameName(there))} is gone or not whole`);
      return there;
    },
    stop: count,
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
  path: string | Output,
  frames: Uint8Array,
  count: number,
  { width, height, gap = 4, columns = Math.ceil(Math.sqrt((count * height) / width)) }: ContactSheetOptions,
): Promise<void> {
  const what = typeof path === 'string' ? `contact sheet ${path}` : path.what;
  const views = splitFrames(what, frames, count, width, height);
  if (count === 0) throw new Magi1Error(`${what}: at least one frame expected`);
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
  const png = encodePng(sheet, sheetWidth, sheetHeight);
  await publishFile(typeof path === 'string' ? new Output(path, { single: 'contactSheet' }) : path, png);
}
