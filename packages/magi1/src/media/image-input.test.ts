// loadImage: the scaler against ffmpeg's, both decoders, all formats and orientations, and what is refused.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { crc32, deflateSync } from 'node:zlib';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import { loadImage, scaleFrames } from './index.ts';
import type { Fit, RgbFrames, Scaler } from './index.ts';
import { fitFilters } from './node/ffmpeg-filters.ts';
import { readImageHeader } from './image-header.ts';
import { movingClip } from './testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'magi1-images-'));
afterAll(() => rmSync(folder, { recursive: true }));

const decoders = ['ffmpeg', 'sharp'] as const;
const raw = (rgb: Uint8Array, width: number, height: number) => sharp(rgb, { raw: { width, height, channels: 3 } });

function noise(width: number, height: number): RgbFrames {
  let state = 12345;
  const data = Uint8Array.from({ length: width * height * 3 }, () => {
    state = (Math.imul(state, 1103515245) + 12345) >>> 0;
    return state >>> 24;
  });
  return { data, frameCount: 1, width, height };
}

function filterByFfmpeg({ data, width, height }: RgbFrames, filters: string): Uint8Array {
  const input = ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', `${width}x${height}`, '-i', 'pipe:0'];
  const output = ['-vf', filters, '-f', 'rawvideo', '-pix_fmt', 'rgb24', 'pipe:1'];
  return execFileSync('ffmpeg', ['-v', 'error', ...input, ...output], { input: data });
}

function differences(a: Uint8Array, b: Uint8Array): { max: number; mean: number } {
  expect(a.length).toBe(b.length);
  let [max, sum] = [0, 0];
  for (let i = 0; i < a.length; i++) {
    const d = Math.abs(a[i]! - b[i]!);
    max = Math.max(max, d);
    sum += d;
  }
  return { max, mean: sum / a.length };
}

/** ffmpeg is in fixed point. */
function expectAlike(actual: Uint8Array, expected: Uint8Array): void {
  expect(differences(actual, expected).max).toBeLessThanOrEqual(1);
}

describe('the scaler', () => {
  it.each([
    [40, 30, 64, 48],
    [40, 30, 40, 17],
    [40, 30, 27, 30],
    [40, 30, 20, 15],
    [41, 31, 30, 62],
    [42, 31, 21, 62],
    [90, 70, 12, 9],
    [300, 40, 11, 16],
    [64, 48, 96, 64],
    [50, 38, 100, 19],
    [4, 4, 32, 24],
  ])('gives what ffmpeg gives, to 1 level: %ix%i to %ix%i', (fromWidth, fromHeight, width, height) => {
    const picture = noise(fromWidth, fromHeight);
    const size = { width, height };
    const original = scaleFrames(picture, size, 'stretch', 'original').data;
    expectAlike(original, filterByFfmpeg(picture, `scale=${width}:${height}`));
    expectAlike(
      scaleFrames(picture, size).data,
      filterByFfmpeg(picture, fitFilters('stretch', size, 'accurate').join()),
    );
  });

  it('halves the colour of odd widths as ffmpeg does, save in the last columns: ffmpeg reads past the row there', () => {
    const picture = noise(41, 31);
    const inner = (rgb: Uint8Array) => rgb.filter((_, i) => i % (20 * 3) < 18 * 3);
    const { data } = scaleFrames(picture, { width: 20, height: 25 }, 'stretch', 'original');
    expectAlike(inner(data), inner(filterByFfmpeg(picture, 'scale=20:25')));
  });

  it('keeps flat colours and equal sizes exact', () => {
    const flat = { data: new Uint8Array(30 * 20 * 3).map((_, i) => [3, 250, 99][i % 3]!), frameCount: 1 };
    const out = scaleFrames({ ...flat, width: 30, height: 20 }, { width: 13, height: 33 });
    expect(out.data.every((value, i) => value === [3, 250, 99][i % 3])).toBe(true);
    const picture = noise(16, 16);
    expect(scaleFrames(picture, { width: 16, height: 16 }).data).toEqual(picture.data);
  });

  const sizes = [
    [60, 20],
    [20, 60],
    [33, 17],
  ] as const;
  const fits = sizes.flatMap((size) => (['crop', 'pad'] as const).map((fit) => [fit, ...size] as const));
  it.each<readonly [Fit, number, number]>(fits)('%s of %ix%i, as ffmpeg does', (fit, width, height) => {
    const picture = noise(width, height);
    const size = { width: 32, height: 32 };
    for (const scaler of ['accurate', 'original'] as const satisfies Scaler[]) {
      const expected = filterByFfmpeg(picture, ['format=rgb24', ...fitFilters(fit, size, scaler)].join(','));
      expectAlike(scaleFrames(picture, size, fit, scaler).data, expected);
    }
  });

  it('refuses what would grow without bound', () => {
    const line = { data: new Uint8Array(16384 * 3), frameCount: 1, width: 1, height: 16384 };
    expect(() => scaleFrames(line, { width: 1280, height: 720 }, 'crop')).toThrow('too elongated');
    expect(scaleFrames(line, { width: 1280, height: 720 }, 'pad').data.length).toBe(1280 * 720 * 3);
  });
});

describe.each(decoders)('pictures by %s', (decoder) => {
  const [width, height] = [192, 128];
  const size = { width: 160, height: 112 };
  const picture = { data: movingClip(width, height, 1, 3), frameCount: 1, width, height };
  const stored = () => raw(picture.data, width, height);
  const wanted = scaleFrames(picture, size).data;

  it.each<[string, () => Promise<Buffer>, number]>([
    ['PNG', () => stored().png().toBuffer(), 0.1],
    ['interlaced PNG', () => stored().png({ progressive: true }).toBuffer(), 0.1],
    ['16-bit PNG', () => stored().toColourspace('rgb16').png().toBuffer(), 1],
    ['PNG with alpha', () => stored().ensureAlpha(0.5).png().toBuffer(), 0.1],
    ['lossless WebP', () => stored().webp({ lossless: true }).toBuffer(), 0.1],
    ['WebP', () => stored().webp({ quality: 95 }).toBuffer(), 2.5],
    ['WebP with alpha', () => stored().ensureAlpha(0.5).webp({ quality: 95, exact: true }).toBuffer(), 2.5],
    ['JPEG 4:4:4', () => stored().jpeg({ quality: 95, chromaSubsampling: '4:4:4' }).toBuffer(), 2],
    ['JPEG 4:2:0', () => stored().jpeg({ quality: 95 }).toBuffer(), 2.5],
    ['progressive JPEG', () => stored().jpeg({ quality: 95, progressive: true }).toBuffer(), 2.5],
  ])('%s', async (_name, encode, tolerance) => {
    const loaded = await loadImage(await encode(), { ...size, decoder });
    expect(loaded).toMatchObject({ frameCount: 1, ...size });
    expect(loaded.decoder).toMatch(decoder === 'ffmpeg' ? /^ffmpeg \S+$/ : /^sharp [\d.]+, built-in bicubic scaler$/);
    expect(differences(loaded.data, wanted).mean).toBeLessThan(tolerance);
  });

  it('greys of one channel, and of a palette', async () => {
    const grey = await stored().greyscale().toColourspace('b-w').raw().toBuffer();
    const rgb = Uint8Array.from({ length: grey.length * 3 }, (_, i) => grey[Math.floor(i / 3)]!);
    const expected = scaleFrames({ ...picture, data: rgb }, size).data;
    for (const file of [
      await stored().greyscale().toColourspace('b-w').png().toBuffer(),
      await stored().greyscale().jpeg({ quality: 98 }).toBuffer(),
      await stored().greyscale().png({ palette: true, dither: 0 }).toBuffer(),
    ]) {
      expect(differences((await loadImage(file, { ...size, decoder })).data, expected).mean).toBeLessThan(1.5);
    }
  });

  it.each(['png', 'jpeg', 'webp'] as const)('all eight orientations of a %s', async (format) => {
    const one = async (orientation: number): Promise<void> => {
      const options = { jpeg: { quality: 95, chromaSubsampling: '4:4:4' }, png: {}, webp: { lossless: true } }[format];
      const file = await stored().withMetadata({ orientation }).toFormat(format, options).toBuffer();
      expect(readImageHeader('file', file)).toMatchObject({ orientation, width, height });
      // sharp turns it by its own reading of the tag.
      const upright = await sharp(file).autoOrient().removeAlpha().raw().toBuffer({ resolveWithObject: true });
      expect(upright.info).toMatchObject(orientation > 4 ? { width: height, height: width } : { width, height });
      const frame = { data: upright.data, frameCount: 1, width: upright.info.width, height: upright.info.height };
      const found = (await loadImage(file, { width: 40, height: 56, decoder })).data;
      const off = differences(found, scaleFrames(frame, { width: 40, height: 56 }).data);
      expect(off.mean, `orientation ${orientation}`).toBeLessThan(format === 'jpeg' ? 1.5 : 0.1);
    };
    await Promise.all([1, 2, 3, 4, 5, 6, 7, 8].map(one));
  });

  it('takes a path, a file URL, bytes, a view, a Blob', async () => {
    const file = await stored().png().toBuffer();
    const path = join(folder, `-an: odd name, ${decoder}.png`);
    writeFileSync(path, file);
    const apart = new Uint8Array(file.length + 8);
    apart.set(file, 5);
    const inputs = [
      path,
      pathToFileURL(path),
      pathToFileURL(path).href,
      new Uint8Array(file),
      apart.subarray(5, 5 + file.length),
      apart.buffer.slice(5, 5 + file.length),
      new Blob([new Uint8Array(file)]),
    ];
    const [first, ...others] = await Promise.all(inputs.map((input) => loadImage(input, { ...size, decoder })));
    for (const other of others) expect(other.data).toEqual(first!.data);
  });

  it('crops and pads', async () => {
    const file = await stored().png().toBuffer();
    for (const fit of ['crop', 'pad'] as const) {
      const { data } = await loadImage(file, { width: 40, height: 40, fit, decoder });
      expect(differences(data, scaleFrames(picture, { width: 40, height: 40 }, fit).data).mean).toBeLessThan(0.1);
    }
  });

  it('refuses pictures that are damaged inside', async () => {
    const { width, height } = size;
    const png = await stored().png().toBuffer();
    png.fill(0x55, 80, png.length - 60);
    const jpeg = await stored().jpeg().toBuffer();
    const scan = jpeg.indexOf(Buffer.from([0xff, 0xda]));
    const end = jpeg.subarray(jpeg.length - 2);
    const headless = Buffer.concat([jpeg.subarray(0, scan + 14), end]);
    const half = Buffer.concat([jpeg.subarray(0, jpeg.length >> 1), end]);
    const webp = await stored().webp({ lossless: true }).toBuffer();
    webp.fill(0x55, 40);
    for (const [name, file] of Object.entries({ png, headless, half, webp })) {
      const error = await loadImage(file, { width, height, decoder }).catch((thrown: unknown) => thrown);
      expect(error, name).toBeInstanceOf(FileFormatError);
      expect((error as Error).message.split('\n'), name).toHaveLength(1);
    }
  });

  it('stops at the signal', async () => {
    const file = await stored().png().toBuffer();
    const signal = AbortSignal.abort(new Error('stop'));
    await expect(loadImage(file, { ...size, decoder, signal })).rejects.toThrow('stop');
  });
});

describe('refused before any decoding', () => {
  const size = { width: 32, height: 32 };
  let png: Buffer, jpeg: Buffer, webp: Buffer, animated: Buffer, gif: Buffer;
  const chunk = (type: string, data: Uint8Array): Buffer => {
    const body = Buffer.concat([Buffer.from(type, 'latin1'), data]);
    const [length, sum] = [Buffer.alloc(4), Buffer.alloc(4)];
    length.writeUInt32BE(data.length);
    sum.writeUInt32BE(crc32(body));
    return Buffer.concat([length, body, sum]);
  };
  const pngOf = (width: number, height: number, between: readonly Buffer[] = []): Buffer => {
    const header = Buffer.alloc(13);
    header.writeUInt32BE(width, 0);
    header.writeUInt32BE(height, 4);
    header.set([8, 2], 8);
    const data = chunk('IDAT', deflateSync(new Uint8Array(Math.min(width * height * 3 + height, 1e6))));
    const signature = Buffer.from('\x89PNG\r\n\x1a\n', 'latin1');
    return Buffer.concat([signature, chunk('IHDR', header), ...between, data, chunk('IEND', new Uint8Array())]);
  };

  beforeAll(async () => {
    const two = movingClip(24, 24, 2);
    const frames = () => sharp(two, { raw: { width: 24, height: 48, channels: 3, pageHeight: 24 } });
    const one = () => raw(movingClip(24, 24, 1), 24, 24);
    [png, jpeg, webp] = [await one().png().toBuffer(), await one().jpeg().toBuffer(), await one().webp().toBuffer()];
    animated = await frames().webp().toBuffer();
    gif = await frames().gif().toBuffer();
  });

  const refusal = async (input: Parameters<typeof loadImage>[0]): Promise<string> => {
    const error: unknown = await loadImage(input, size).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Magi1Error);
    expect((error as Error).message.split('\n')).toHaveLength(1);
    return (error as Error).message;
  };

  it('what is no readable file', async () => {
    const none = join(folder, 'none.png');
    expect(await refusal(none)).toBe(`image ${none}: there is no such file`);
    mkdirSync(join(folder, 'folder.png'), { recursive: true });
    expect(await refusal(join(folder, 'folder.png'))).toContain('it is a folder');
    expect(await refusal('/dev/zero')).toContain('not a regular file');
    expect(await refusal('')).toBe('image: a path expected, got an empty name');
    expect(await refusal('https://example.org/a.png')).toContain('download it first');
    const empty = join(folder, 'empty.png');
    writeFileSync(empty, '');
    expect(await refusal(empty)).toBe(`image ${empty}: it is empty`);
    expect(await refusal(new Uint8Array())).toBe('image: it is empty');
    expect(await refusal(undefined as never)).toBe('image: a path, bytes or decoded frames expected, got nothing');
    expect(await refusal([1, 2] as never)).toContain('got an array');
  });

  it('other formats, by name', async () => {
    expect(await refusal(gif)).toBe('image: JPEG, PNG or WebP expected, got GIF; convert it first');
    expect(await refusal(Buffer.from('<svg/>'))).toContain('got SVG');
    expect(await refusal(Buffer.from('\0\0\0\x18ftypisom', 'latin1'))).toContain('got a video (mp4)');
    expect(await refusal(Buffer.from('hello'))).toContain('got 5 bytes of something else');
  });

  it('truncated ones, wherever they end', async () => {
    for (const file of [png, jpeg, webp]) {
      for (const end of [13, 21, 40, Math.floor(file.length / 2), file.length - 2]) {
        expect(await refusal(file.subarray(0, end))).toMatch(/file is truncated, it ends after \d+ bytes$/);
      }
    }
  });

  it('animated ones', async () => {
    expect(await refusal(animated)).toBe('image: this WebP file is animated; a single picture expected');
    const control = (frames: number) => chunk('acTL', Uint8Array.of(0, 0, 0, frames, 0, 0, 0, 0));
    expect(await refusal(pngOf(4, 4, [control(2)]))).toContain('this PNG file is animated');
    expect((await loadImage(pngOf(4, 4, [control(1)]), size)).frameCount).toBe(1);
  });

  it('huge ones', async () => {
    expect(await refusal(pngOf(100_000, 100_000))).toContain('100000x100000 pixels are too many, up to 268435456');
    expect(await refusal(pngOf(0, 4))).toContain('does not tell its width and height');
    const tall = Buffer.from(jpeg);
    const frame = tall.indexOf(Buffer.from([0xff, 0xc0]));
    tall.writeUInt32BE(0xffffffff, frame + 5);
    expect(await refusal(tall)).toContain('65535x65535 pixels are too many');
  });

  it('frames that are not what they say, and sizes that cannot be', async () => {
    const frame = { data: new Uint8Array(12), frameCount: 1, width: 2, height: 2 };
    expect(await refusal({ ...frame, width: 3 })).toContain('1 frames of 3x2 RGB are 18 bytes, got 12 bytes');
    expect(await refusal({ ...frame, frameCount: 2, height: 1 })).toContain('a single frame expected, got 2');
    expect(await refusal({ ...frame, frameCount: 0 })).toContain('at least one frame expected');
    expect(await refusal({ ...frame, data: [1] as never })).toContain('data must be a Uint8Array');
    await expect(loadImage(frame, { width: 0, height: 8 })).rejects.toThrow('width from 1 to 16384 expected, got 0');
    expect((await loadImage(frame, { width: 2, height: 2 })).data).toEqual(frame.data);
  });

  it('a damaged Exif block is no reason to refuse', () => {
    const exif = (text: string) => readImageHeader('file', pngOf(4, 4, [chunk('eXIf', Buffer.from(text, 'latin1'))]));
    expect(exif('MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0').orientation).toBe(6);
    expect(exif('II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x08\0\0\0\0\0\0\0').orientation).toBe(8);
    for (const bad of ['', 'MM\0*', 'XX\0*\0\0\0\x08', 'MM\0*\xff\xff\xff\xff', 'MM\0*\0\0\0\x08\x7f\xff\0\0']) {
      expect(exif(bad).orientation).toBe(1);
    }
  });
});

describe('without ffmpeg', () => {
  let file: Buffer;
  const before = process.env.MAGI1_FFMPEG;
  beforeAll(async () => {
    file = await raw(movingClip(24, 24, 1), 24, 24)
      .png()
      .toBuffer();
    process.env.MAGI1_FFMPEG = join(folder, 'no-ffmpeg');
  });
  afterAll(() => {
    vi.doUnmock('sharp');
    if (before === undefined) delete process.env.MAGI1_FFMPEG;
    else process.env.MAGI1_FFMPEG = before;
  });

  it('sharp does it; ffmpeg asked for by name is an error that says what to do', async () => {
    expect((await loadImage(file, { width: 16, height: 16 })).decoder).toMatch(/^sharp/);
    const asked = loadImage(file, { width: 16, height: 16, decoder: 'ffmpeg' });
    await expect(asked).rejects.toThrow('install ffmpeg, or choose decoder sharp');
  });

  it('and without sharp, both are named', async () => {
    vi.doMock('sharp', () => {
      throw new Error('not installed');
    });
    await expect(loadImage(file, { width: 16, height: 16 })).rejects.toThrow(
      /^image: pictures are read by ffmpeg \(no .*\) or the optional package sharp \(.*\); install one of them$/,
    );
  });
});
