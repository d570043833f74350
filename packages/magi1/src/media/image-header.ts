// What a JPEG, PNG or WebP file says about itself, read from its structure without decoding: size, orientation, whether
// it is animated and whether it is all there. ITU T.81, PNG 3rd edition, RFC 9649, Exif 2.32 (tag 0x0112).
import { FileFormatError } from '@magi1/tensor';
import { MAX_PIXELS, MAX_SIDE } from './rgb-frames.ts';
import type { Size } from './scale.ts';

export type ImageFormat = 'JPEG' | 'PNG' | 'WebP';

/** Exif's orientation: 1 upright, 2 to 8 mirrored, turned or both. */
export type Orientation = 1 | 2 | 3 | 4 | 5 | 6 | 7 | 8;

/** Width and height as stored, before the orientation is applied. */
export interface ImageHeader extends Size {
  readonly format: ImageFormat;
  readonly orientation: Orientation;
  /** Bytes of the picture itself: what follows them is none of it. */
  readonly length: number;
}

/** Throws, in one line, unless `bytes` is one whole still picture of a size that can be handled. */
export function readImageHeader(what: string, bytes: Uint8Array): ImageHeader {
  if (bytes.length === 0) throw new FileFormatError(`${what}: it is empty`);
  const format = imageFormat(bytes);
  if (format === undefined)
    throw new FileFormatError(`${what}: JPEG, PNG or WebP expected, got ${otherFormat(bytes)}; convert it first`);
  let facts: Facts;
  try {
    facts = READERS[format](new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength));
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new FileFormatError(`${what}: this ${format} file is truncated, it ends after ${bytes.length} bytes`);
  }
  const { width, height, animated, exif, cmyk, length } = facts;
  if (cmyk)
    throw new FileFormatError(
      `${what}: this JPEG file is CMYK, made for print, and programs disagree on what its colours look like; convert it to RGB first`,
    );
  if (animated) throw new FileFormatError(`${what}: this ${format} file is animated; a single picture expected`);
  if (width === undefined || height === undefined || width === 0 || height === 0)
    throw new FileFormatError(`${what}: this ${format} file does not tell its width and height`);
  if (width > MAX_SIDE * 4 || height > MAX_SIDE * 4 || width * height > MAX_PIXELS)
    throw new FileFormatError(
      `${what}: ${width}x${height} pixels are too many, up to ${MAX_PIXELS} are handled; make it smaller first`,
    );
  return { format, width, height, length, orientation: exif === undefined ? 1 : readOrientation(exif) };
}

interface Facts {
  /** Where the picture ends in the file. */
  length: number;
  /** Four colours, with black. */
  cmyk?: boolean;
  width?: number;
  height?: number;
  animated?: boolean;
  exif?: DataView;
}

const latin1 = (view: DataView, at: number, length: number): string =>
  String.fromCharCode(...Array.from({ length }, (_, i) => view.getUint8(at + i)));

function startsWith(bytes: Uint8Array, text: string, at = 0): boolean {
  return Array.from(text).every((char, i) => bytes[at + i] === char.charCodeAt(0));
}

function imageFormat(bytes: Uint8Array): ImageFormat | undefined {
  if (startsWith(bytes, '\xff\xd8\xff')) return 'JPEG';
  if (startsWith(bytes, '\x89PNG\r\n\x1a\n')) return 'PNG';
  if (startsWith(bytes, 'RIFF') && startsWith(bytes, 'WEBP', 8)) return 'WebP';
  return undefined;
}

function otherFormat(bytes: Uint8Array): string {
  const known: readonly (readonly [string, string, number])[] = [
    ['GIF', 'GIF8', 0],
    ['BMP', 'BM', 0],
    ['TIFF', 'II*\0', 0],
    ['TIFF', 'MM\0*', 0],
    ['JPEG XL', '\xff\x0a', 0],
    ['JPEG XL', 'JXL ', 4],
    ['AVIF', 'ftypavi', 4],
    ['HEIC', 'ftyphei', 4],
    ['HEIC', 'ftypmif1', 4],
    ['a video (mp4)', 'ftyp', 4],
    ['a video (WebM or Matroska)', '\x1a\x45\xdf\xa3', 0],
    ['a video (AVI)', 'AVI ', 8],
    ['SVG or HTML', '<', 0],
  ];
  return known.find(([, magic, at]) => startsWith(bytes, magic, at))?.[0] ?? `${bytes.length} bytes of something else`;
}

/** Each walks the whole structure; reading past the end throws a RangeError. */
const READERS: Readonly<Record<ImageFormat, (view: DataView) => Facts>> = {
  JPEG: readJpeg,
  PNG: readPng,
  WebP: readWebp,
};

function readJpeg(view: DataView): Facts {
  const facts: Facts = { length: 0 };
  let at = 2;
  for (;;) {
    // Between segments there may be fill bytes; inside a scan FF 00 is data and FF D0 to FF D7 are restart markers.
    while (view.getUint8(at) !== 0xff) at++;
    while (view.getUint8(at) === 0xff) at++;
    const marker = view.getUint8(at++);
    if (marker === 0xd9) return { ...facts, length: at };
    if (marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd8)) continue;
    const length = view.getUint16(at);
    const isFrame = marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker);
    if (isFrame) {
      [facts.height, facts.width] = [view.getUint16(at + 3), view.getUint16(at + 5)];
      facts.cmyk = view.getUint8(at + 7) === 4;
    }
    if (marker === 0xe1 && length > 8 && latin1(view, at + 2, 6) === 'Exif\0\0')
      facts.exif ??= new DataView(view.buffer, view.byteOffset + at + 8, length - 8);
    at += Math.max(length, 2);
  }
}

function readPng(view: DataView): Facts {
  const facts: Facts = { length: 0 };
  for (let at = 8; ;) {
    const length = view.getUint32(at);
    const type = latin1(view, at + 4, 4);
    const data = at + 8;
    if (type === 'IHDR') [facts.width, facts.height] = [view.getUint32(data), view.getUint32(data + 4)];
    if (type === 'acTL') facts.animated = view.getUint32(data) > 1;
    if (type === 'eXIf') facts.exif = new DataView(view.buffer, view.byteOffset + data, length);
    view.getUint32(data + length); // its check sum
    at = data + length + 4;
    if (type === 'IEND') return { ...facts, length: at };
  }
}

function readWebp(view: DataView): Facts {
  const end = 8 + view.getUint32(4, true);
  const facts: Facts = { length: end + (end % 2) };
  const uint24 = (at: number): number => view.getUint16(at, true) | (view.getUint8(at + 2) << 16);
  let pictures = 0;
  for (let at = 12; at + 8 <= end;) {
    const type = latin1(view, at, 4);
    const length = view.getUint32(at + 4, true);
    const data = at + 8;
    if (type === 'VP8X') {
      facts.animated = (view.getUint8(data) & 2) !== 0;
      [facts.width, facts.height] = [uint24(data + 4) + 1, uint24(data + 7) + 1];
    } else if (type === 'VP8 ') {
      pictures++;
      facts.width ??= view.getUint16(data + 6, true) & 0x3fff;
      facts.height ??= view.getUint16(data + 8, true) & 0x3fff;
    } else if (type === 'VP8L') {
      pictures++;
      const bits = view.getUint32(data + 1, true);
      facts.width ??= (bits & 0x3fff) + 1;
      facts.height ??= ((bits >> 14) & 0x3fff) + 1;
    } else if (type === 'ANMF') {
      facts.animated = true;
    } else if (type === 'EXIF') {
      facts.exif = new DataView(view.buffer, view.byteOffset + data, length);
    }
    if (length > 0) view.getUint8(data + length - 1);
    at = data + length + (length % 2);
  }
  if (pictures === 0 && facts.animated !== true) view.getUint8(view.byteLength); // the picture itself is missing
  return facts;
}

/** A damaged Exif block, or none of the eight orientations, is upright: the picture itself is fine. */
function readOrientation(exif: DataView): Orientation {
  try {
    const start = latin1(exif, 0, 4) === 'Exif' ? 6 : 0;
    const order = latin1(exif, start, 2);
    if (order !== 'II' && order !== 'MM') return 1;
    const little = order === 'II';
    const directory = start + exif.getUint32(start + 4, little);
    const entries = exif.getUint16(directory, little);
    for (let i = 0; i < entries; i++) {
      const at = directory + 2 + 12 * i;
      if (exif.getUint16(at, little) !== 0x0112) continue;
      const value = exif.getUint16(at + 8, little);
      return value >= 1 && value <= 8 ? (value as Orientation) : 1;
    }
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
  }
  return 1;
}
