// loadVideo: which frames, at which rate, and what is refused. How many of them a prefix can use.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import { loadVideo, requireVideoReader, scaleFrames, usablePrefixFrames } from './index.ts';
import { movingClip } from './testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'magi1-videos-'));
afterAll(() => rmSync(folder, { recursive: true }));

const [width, height] = [96, 64];
const size = { width: 48, height: 32 };
const clip = join(folder, 'a clip: 24.mp4');
const COUNT = 60;

/** Frames whose brightness is 4 times their number, so that every output tells where it came from. */
function numbered(count: number): Uint8Array {
  const frame = width * height * 3;
  return Uint8Array.from({ length: count * frame }, (_, i) => 4 * Math.floor(i / frame));
}

function encode(path: string, frames: Uint8Array, fps: number, output: readonly string[]): string {
  const input = ['-f', 'rawvideo', '-pix_fmt', 'rgb24', '-s', `${width}x${height}`, '-r', String(fps), '-i', 'pipe:0'];
  execFileSync('ffmpeg', ['-v', 'error', '-y', ...input, ...output, path], { input: frames });
  return path;
}

const LOSSLESS = ['-c:v', 'libx264rgb', '-qp', '0', '-preset', 'ultrafast'];

beforeAll(() => {
  encode(clip, numbered(COUNT), 24, LOSSLESS);
});

const numbersOf = (data: Uint8Array): number[] =>
  Array.from({ length: data.length / (size.width * size.height * 3) }, (_, i) =>
    Math.round(data[i * size.width * size.height * 3]! / 4),
  );

describe('loadVideo', () => {
  it('gives the first 32 frames unless told otherwise, and all of a shorter clip', async () => {
    const loaded = await loadVideo(clip, { ...size, fps: 24 });
    expect(loaded).toMatchObject({ ...size, frameCount: 32 });
    expect(loaded.decoder).toMatch(/^ffmpeg \S+$/);
    expect(numbersOf(loaded.data)).toEqual(Array.from({ length: 32 }, (_, i) => i));
    const few = await loadVideo(clip, { ...size, fps: 24, maxFrames: 5 });
    expect(few.data).toEqual(loaded.data.subarray(0, few.data.length));
    expect((await loadVideo(clip, { ...size, fps: 24, maxFrames: 500 })).frameCount).toBe(COUNT);
  });

  it('resamples in time before it counts', async () => {
    const slow = numbersOf((await loadVideo(clip, { ...size, fps: 8, maxFrames: 6 })).data);
    expect(slow).toEqual([1, 4, 7, 10, 13, 16]); // the nearest source frame, halves rounded up
    const fast = numbersOf((await loadVideo(clip, { ...size, fps: 48, maxFrames: 6 })).data);
    expect(fast).toEqual([0, 0, 1, 1, 2, 2]);
    const broken = await loadVideo(clip, { ...size, fps: 23.976, maxFrames: 4 });
    expect(numbersOf(broken.data)).toEqual([0, 1, 2, 3]);
  });

  it('scales RGB as our scaler does, and takes bytes and Blobs', async () => {
    const frames = movingClip(width, height, 4);
    const path = encode(join(folder, 'colours.mkv'), frames, 24, ['-c:v', 'ffv1', '-pix_fmt', 'bgr0']);
    const loaded = await loadVideo(path, { ...size, fps: 24 });
    const own = scaleFrames({ data: frames, frameCount: 4, width, height }, size);
    expect(loaded.data.every((value, i) => Math.abs(value - own.data[i]!) <= 1)).toBe(true);
    const before = readdirSync(tmpdir()).filter((name) => name.startsWith('magi1-video-'));
    const bytes = new Uint8Array(readFileSync(path));
    for (const input of [bytes, new Blob([bytes])]) {
      expect((await loadVideo(input, { ...size, fps: 24 })).data).toEqual(loaded.data);
    }
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith('magi1-video-'))).toEqual(before);
  });

  it('takes decoded frames as they come, without ffmpeg', async () => {
    const frames = { data: numbered(40), frameCount: 40, width, height };
    const loaded = await loadVideo(frames, { ...size, fps: 24 });
    expect(loaded).toMatchObject({ frameCount: 32, decoder: 'given frames, built-in bicubic scaler' });
    expect(numbersOf(loaded.data)).toEqual(Array.from({ length: 32 }, (_, i) => i));
  });

  it('stops at the signal', async () => {
    const controller = new AbortController();
    const loading = loadVideo(clip, { ...size, fps: 24, signal: controller.signal });
    setTimeout(() => controller.abort(new Error('stop')), 20);
    await expect(loading).rejects.toThrow('stop');
  });
});

describe('refused', () => {
  const refusal = async (input: Parameters<typeof loadVideo>[0], options = {}): Promise<string> => {
    const error: unknown = await loadVideo(input, { ...size, fps: 24, ...options }).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(Magi1Error);
    expect((error as Error).message.split('\n')).toHaveLength(1);
    return (error as Error).message;
  };
  const file = (name: string, bytes: Uint8Array | string): string => {
    writeFileSync(join(folder, name), bytes);
    return join(folder, name);
  };

  it('what is no readable video', async () => {
    expect(await refusal(join(folder, 'none.mp4'))).toBe(`video ${join(folder, 'none.mp4')}: there is no such file`);
    expect(await refusal(folder)).toContain('it is a folder');
    expect(await refusal(file('empty.mp4', ''))).toContain('empty.mp4: it is empty');
    expect(await refusal(new Uint8Array())).toBe('video: it is empty');
    expect(await refusal('http://example.org/a.mp4')).toContain('download it first');
    expect(await refusal(file('junk.mp4', Buffer.alloc(5000, 1)))).toContain('junk.mp4: ffmpeg cannot read it: ');
    expect(await refusal(file('notes.txt', 'no video at all\n'.repeat(100)))).toContain('got a text file');
    const sound = join(folder, 'sound.wav');
    execFileSync('ffmpeg', ['-v', 'error', '-f', 'lavfi', '-i', 'sine=duration=0.1', sound]);
    expect(await refusal(sound)).toBe(`video ${sound}: there are no pictures in it`);
  });

  it('a playlist that points elsewhere', async () => {
    const list = '#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n';
    expect(await refusal(file('list.m3u8', list))).toContain('list.m3u8: a video expected, got a text file');
    // Past the check for text, ffmpeg itself may open nothing but files.
    expect(await refusal(file('list.m3u8', `${list}\0`))).toContain('ffmpeg cannot read it');
  });

  it('damage within the frames asked for, and only that', async () => {
    const noisy = Uint8Array.from({ length: 60 * width * height * 3 }, (_, i) => Math.imul(i, 2654435761) >>> 24);
    const whole = encode(join(folder, 'noisy.mp4'), noisy, 24, [...LOSSLESS, '-movflags', '+faststart']);
    const size = readFileSync(whole).length;
    const cut = file('cut.mp4', readFileSync(whole));
    truncateSync(cut, Math.floor(size / 2));
    expect((await loadVideo(cut, { width: 48, height: 32, fps: 24, maxFrames: 4 })).frameCount).toBe(4);
    expect(await refusal(cut, { maxFrames: 60 })).toContain('cut.mp4: ffmpeg cannot read it');
    const indexLast = encode(join(folder, 'last.mp4'), noisy, 24, LOSSLESS);
    truncateSync(indexLast, Math.floor(size / 2));
    expect(await refusal(indexLast)).toContain('moov atom not found');
    const matroska = encode(join(folder, 'cut.mkv'), noisy, 24, LOSSLESS);
    truncateSync(matroska, Math.floor(size / 2));
    expect(await refusal(matroska, { maxFrames: 60 })).toMatch(/damaged or truncated after \d+ frames/);
  });

  it('frames of a size that no machine should be asked for', async () => {
    const path = join(folder, 'huge.mkv');
    const source = ['-f', 'lavfi', '-i', 'color=s=16384x4112:r=1:d=1', '-frames:v', '1'];
    execFileSync('ffmpeg', ['-v', 'error', ...source, '-c:v', 'libx264', '-preset', 'ultrafast', path]);
    expect(await refusal(path)).toMatch(/ffmpeg cannot read it: .*16384x4112/);
    const header = 'YUV4MPEG2 W100000 H100000 F24:1 Ip A1:1 C420\nFRAME\n';
    expect(await refusal(file('huge.y4m', header))).toMatch(/ffmpeg cannot read it: .*100000x100000/);
  });

  it('numbers that cannot be', async () => {
    expect(await refusal(clip, { fps: 0 })).toContain('fps above 0');
    expect(await refusal(clip, { maxFrames: 0 })).toContain('maxFrames must be a whole number from 1, got 0');
    expect(await refusal(clip, { maxFrames: 1.5 })).toContain('maxFrames');
    expect(await refusal(clip, { width: 0 })).toContain('width from 1 to 16384 expected, got 0');
  });

  it('any video where there is no ffmpeg', async () => {
    const before = process.env.MAGI1_FFMPEG;
    process.env.MAGI1_FFMPEG = join(folder, 'no-ffmpeg');
    try {
      const message = await refusal(clip);
      expect(message).toMatch(/reading videos needs ffmpeg \(no .*no-ffmpeg on this machine\); install it/);
      await expect(requireVideoReader('--video')).rejects.toThrow('--video: reading videos needs ffmpeg');
    } finally {
      if (before === undefined) delete process.env.MAGI1_FFMPEG;
      else process.env.MAGI1_FFMPEG = before;
    }
    await requireVideoReader();
  });

  it('damaged files are FileFormatErrors', async () => {
    await expect(loadVideo(file('x.mp4', 'x'), { ...size, fps: 24 })).rejects.toBeInstanceOf(FileFormatError);
  });
});

describe('usablePrefixFrames', () => {
  it('uses what the original uses', () => {
    // [frames given, frames used, latent frames]
    for (const [count, used, latentFrames] of [
      [1, 1, 1],
      [4, 4, 1],
      [8, 8, 2],
      [12, 12, 3],
      [13, 13, 4],
      [16, 16, 4],
      [24, 24, 6],
      [25, 25, 7],
      [32, 32, 8],
      [36, 36, 9],
    ]) {
      expect(usablePrefixFrames(count!, 24)).toEqual({ used, latentFrames });
    }
  });

  it('leaves out what has no latent frame, and says so', () => {
    expect(usablePrefixFrames(30, 24)).toMatchObject({ used: 28, latentFrames: 7 });
    expect(usablePrefixFrames(30, 24).note).toContain('the last 2 of 30 prefix frames are left out');
    expect(usablePrefixFrames(30, 24).note).not.toContain('the original fails');
    for (const count of [14, 15, 26, 27]) {
      const { used, latentFrames, note } = usablePrefixFrames(count, 24);
      expect([used, latentFrames]).toEqual([count - (count % 12), (count - (count % 12)) / 4]);
      expect(note).toContain('the original fails at this length');
    }
    expect(usablePrefixFrames(5, 24)).toMatchObject({ used: 4, latentFrames: 1 });
  });

  it('knows when there is no prefix at all', () => {
    expect(usablePrefixFrames(2, 24)).toMatchObject({ used: 0, latentFrames: 0 });
    expect(usablePrefixFrames(3, 24).note).toContain('3 frames are too few for a prefix');
    expect(usablePrefixFrames(0, 24).note).toBe('there are no frames');
    expect(usablePrefixFrames(1.5, 24).note).toContain('whole number');
    expect(usablePrefixFrames(32, 7).note).toContain('at least 8 frames per second, got 7');
  });

  it('goes by half a second at other rates', () => {
    expect(usablePrefixFrames(32, 8)).toEqual({ used: 32, latentFrames: 8 });
    expect(usablePrefixFrames(32, 16)).toEqual({ used: 32, latentFrames: 8 });
    const odd = usablePrefixFrames(32, 20); // tiles of 10: 2 latent frames each, and 2 frames over
    expect(odd).toMatchObject({ used: 30, latentFrames: 6 });
    expect(odd.note).toContain('the last 2 of every 10 prefix frames are not seen');
  });
});
