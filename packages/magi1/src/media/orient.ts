// Turns and mirrors pictures upright by Exif's orientation, before they are scaled.
import type { Orientation } from './image-header.ts';
import type { RgbFrames } from './rgb-frames.ts';

/** The same as ffmpeg filters. */
export const ORIENT_FILTERS: Readonly<Record<Orientation, readonly string[]>> = {
  1: [],
  2: ['hflip'],
  3: ['hflip', 'vflip'],
  4: ['vflip'],
  5: ['transpose=cclock_flip'],
  6: ['transpose=clock'],
  7: ['transpose=clock_flip'],
  8: ['transpose=cclock'],
};

/** One picture as stored -> upright; width and height change places for orientations 5 to 8. */
export function orientPicture(picture: RgbFrames, orientation: Orientation): RgbFrames {
  if (orientation === 1) return picture;
  const { data, width: w, height: h } = picture;
  const [width, height] = orientation >= 5 ? [h, w] : [w, h];
  // Where the upright picture's first pixel is stored, and how far the next one is to the right and below it.
  const [first, right, down] = {
    2: [w - 1, -1, w],
    3: [w * h - 1, -1, -w],
    4: [w * (h - 1), 1, -w],
    5: [0, w, 1],
    6: [w * (h - 1), -w, 1],
    7: [w * h - 1, -w, -1],
    8: [w - 1, w, -1],
  }[orientation] as [number, number, number];
  const out = new Uint8Array(data.length);
  let to = 0;
  for (let y = 0; y < height; y++) {
    let from = first + y * down;
    for (let x = 0; x < width; x++, from += right) {
      out[to++] = data[3 * from]!;
      out[to++] = data[3 * from + 1]!;
      out[to++] = data[3 * from + 2]!;
    }
  }
  return { data: out, frameCount: 1, width, height };
}
