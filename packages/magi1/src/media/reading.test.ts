// What reading must not change: which picture comes first, the levels, the shape; and what a hanging ffmpeg may not do.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import sharp from 'sharp';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { loadImage, loadVideo, openMp4Writer, videoFrames } from './index.ts';
import { decodeFrames } from './node/ffmpeg-read.ts';
import { findFfmpegReader } from './node/find-ffmpeg.ts';

const folder = mkdtempSync(join(tmpdir(), 'magi1-reading-'));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

const ffmpeg = (...args: string[]): void => void execFileSync('ffmpeg', ['-v', 'error', '-y', ...args]);
const source = (rate: number, seconds: number): string[] => [
  ...['-f', 'lavfi', '-i', `testsrc2=s=64x64:r=${rate}:d=${seconds}`],
];
const SOUND = ['-f', 'lavfi', '-i', 'sine=d=4', '-c:a', 'aac'];
const size = { width: 64, height: 64 };

describe('a clip begins with its first picture', () => {
  const frames = async (name: string, fps = 24) => loadVideo(at(name), { ...size, fps });
  /** Number of different pictures. */
  const different = (data: Uint8Array): number => {
    const pictures = Array.from({ length: data.length / 12288 }, (_, i) => data.subarray(i * 12288, (i + 1) * 12288));
    return new Set(pictures.map((picture) => Buffer.from(picture).toString('latin1'))).size;
  };

  beforeAll(() => {
    ffmpeg(...source(30, 4), ...SOUND, '-c:v', 'libx264', '-g', '60', at('full.mp4'));
    ffmpeg('-i', at('full.mp4'), '-an', '-c', 'copy', at('full-silent.mp4'));
  });

  it('where its sound begins earlier, at the same and at another rate', async () => {
    for (const name of ['cut.mp4', 'cut.mkv', 'cut.ts']) {
      ffmpeg('-i', at('full.mp4'), '-ss', '1.2', '-c', 'copy', at(name));
      ffmpeg('-i', at(name), '-an', '-c', 'copy', at(`silent-${name}`));
      for (const fps of name === 'cut.mp4' ? [30, 24, 12] : [24]) {
        const { data } = await frames(name, fps);
        expect(data, `${name} at ${fps}`).toEqual((await frames(`silent-${name}`, fps)).data);
        expect(different(data), `${name} at ${fps}`).toBe(Math.min(32, data.length / 12288));
      }
    }
  });

  it.each([
    ['fragments', ['-movflags', 'frag_keyframe+empty_moov']],
    ['negative composition offsets', ['-movflags', 'cmaf']],
    ['negative composition offsets in one piece', ['-movflags', 'negative_cts_offsets']],
    ['an offset', ['-output_ts_offset', '5.0123']],
  ])('with %s', async (_what, options) => {
    ffmpeg('-i', at('full.mp4'), '-c', 'copy', ...options, at('other.mp4'));
    for (const fps of [30, 24]) {
      const { data } = await frames('other.mp4', fps);
      expect(data).toEqual((await frames('full-silent.mp4', fps)).data);
      expect(different(data)).toBe(32);
    }
  });

  it('in a clip cut at an open group of pictures, where a note says so', async () => {
    const openGop = ['-g', '10', '-sc_threshold', '0', '-x264opts', 'open-gop=1', '-bf', '3'];
    ffmpeg(...source(24, 1.25), '-c:v', 'libx264', '-pix_fmt', 'yuv420p', ...openGop, at('open.mp4'));
    ffmpeg('-ss', '0.45', '-i', at('open.mp4'), '-c', 'copy', at('open-cut.mp4'));
    const cut = await frames('open-cut.mp4');
    expect(cut.frameCount).toBe(19);
    expect(cut.notes.join()).toMatch(
      /first pictures lean on others that were cut off: .*from its first whole picture on/,
    );
    const whole = await frames('open.mp4');
    expect(whole.notes).toEqual([]);
    expect(cut.data).toEqual(whole.data.subarray(11 * 12288));
  });

  it('in a broadcast that was cut anywhere', async () => {
    ffmpeg(...source(24, 2), '-c:v', 'libx264', '-pix_fmt', 'yuv420p', '-g', '24', '-bf', '3', at('whole.ts'));
    writeFileSync(at('part.ts'), readFileSync(at('whole.ts')).subarray(188 * 30));
    const whole = await loadVideo(at('whole.ts'), { ...size, fps: 24, maxFrames: 48 });
    const part = await loadVideo(at('part.ts'), { ...size, fps: 24, maxFrames: 48 });
    expect([whole.frameCount, part.frameCount]).toEqual([48, 24]);
    expect(part.data).toEqual(whole.data.subarray(24 * 12288));
    expect(part.notes).toHaveLength(1);
  });
});

describe('the last frames', () => {
  it('are those that the whole clip ends with', async () => {
    ffmpeg(...source(24, 3), '-c:v', 'libx264', '-qp', '0', at('three.mp4'));
    const options = { ...size, fps: 24 };
    const all = await loadVideo(at('three.mp4'), { ...options, maxFrames: 100 });
    expect(all).toMatchObject({ frameCount: 72, clipFrames: 72, shape: size });
    const last = await loadVideo(at('three.mp4'), { ...options, from: 'end' });
    expect(last).toMatchObject({ frameCount: 32, clipFrames: 72 });
    expect(last.data).toEqual(all.data.subarray(40 * 12288));
    expect(await loadVideo(at('three.mp4'), options)).not.toHaveProperty('clipFrames'); // read no further
    const given = await loadVideo(all, { ...options, from: 'end', maxFrames: 3 });
    expect(given.data).toEqual(all.data.subarray(69 * 12288));
    let count = 0;
    for await (const frame of videoFrames(at('three.mp4'), options)) {
      expect(frame).toEqual(all.data.subarray(count * 12288, (count + 1) * 12288));
      count++;
    }
    expect(count).toBe(72);
  });

  it('of a long clip are held alone', async () => {
    ffmpeg(
      '-f',
      'lavfi',
      '-i',
      'color=gray:s=16x16:r=24:d=60',
      '-c:v',
      'libx264',
      '-preset',
      'ultrafast',
      at('long.mp4'),
    );
    const big = { width: 512, height: 512, fps: 24, maxFrames: 8, from: 'end' } as const;
    const before = process.memoryUsage().arrayBuffers;
    let most = 0;
    const timer = setInterval(() => (most = Math.max(most, process.memoryUsage().arrayBuffers - before)), 5);
    expect(await loadVideo(at('long.mp4'), big)).toMatchObject({ frameCount: 8, clipFrames: 1440 });
    clearInterval(timer);
    expect(most).toBeLessThan(500e6); // all frames are 1.1 GB; the collector takes its time
  });
});

describe('levels', () => {
  /** One channel's mean over 4x4 pixels. */
  const mean = (data: Uint8Array, left: number, top: number, channel: number): number => {
    let sum = 0;
    for (let i = 0; i < 16; i++) sum += data[((top + (i >> 2)) * 64 + left + (i % 4)) * 3 + channel]!;
    return sum / 16;
  };

  it('white stays white, whatever it is stored as', async () => {
    for (const [colour, level] of [
      ['white', 255],
      ['black', 0],
    ] as const) {
      const input = ['-f', 'lavfi', '-i', `color=${colour}:s=128x64:r=24:d=0.2`];
      ffmpeg(...input, '-c:v', 'libx264', '-qp', '0', '-pix_fmt', 'yuv420p', at('flat.mp4'));
      const clip = await loadVideo(at('flat.mp4'), { ...size, fps: 24 });
      expect([Math.min(...clip.data), Math.max(...clip.data)]).toEqual([level, level]);
      const background = { r: level, g: level, b: level };
      const picture = sharp({ create: { width: 128, height: 64, channels: 3, background } });
      for (const file of [await picture.webp({ quality: 90 }).toBuffer(), await picture.jpeg().toBuffer()]) {
        const { data } = await loadImage(file, size);
        expect([Math.min(...data), Math.max(...data)]).toEqual([level, level]);
      }
    }
    ffmpeg('-f', 'lavfi', '-i', 'color=white:s=128x64:d=0.2', '-c:v', 'libx264', '-pix_fmt', 'yuv420p', at('flat.mp4'));
    const original = await loadVideo(at('flat.mp4'), { ...size, fps: 24, scaler: 'original' });
    expect(Math.max(...original.data)).toBe(253);
  });

  it('ten generations of continuing our own mp4 do not drift', { timeout: 120_000 }, async () => {
    const count = 8;
    // Eight patches of 16x16, from dark to bright, with and without colour; below them a grey and a coloured gradient.
    const patches = [
      ...[
        [16, 16, 16],
        [240, 240, 240],
        [200, 40, 40],
        [40, 40, 200],
      ],
      ...[
        [40, 200, 40],
        [128, 128, 128],
        [220, 200, 60],
        [90, 60, 120],
      ],
    ];
    const frame = new Uint8Array(12288);
    for (let y = 0; y < 64; y++)
      for (let x = 0; x < 64; x++)
        for (let c = 0; c < 3; c++) {
          const ramp = 20 + 3.4 * x;
          frame[(y * 64 + x) * 3 + c] =
            y < 32 ? patches[4 * (y >> 4) + (x >> 4)]![c]! : y < 48 ? ramp : [ramp, 255 - ramp, 128][c]!;
        }
    const clip = Uint8Array.from({ length: count * 12288 }, (_, i) => frame[i % 12288]!);
    const after = async (scaler: 'accurate' | 'original'): Promise<number> => {
      let data: Uint8Array = clip;
      for (let generation = 0; generation < 10; generation++) {
        const writer = await openMp4Writer({ path: at('own.mp4'), ...size, fps: 24 });
        await writer.write(data, count);
        await writer.finish();
        ({ data } = await loadVideo(at('own.mp4'), { ...size, fps: 24, from: 'end', scaler }));
      }
      const last = data.subarray((count - 1) * 12288);
      let worst = 0;
      // Away from the edges, where the colour of neighbours flows together.
      for (let y = 6; y < 64; y += 16)
        for (let x = 6; x < 64; x += 16)
          for (let c = 0; c < 3; c++) worst = Math.max(worst, Math.abs(mean(last, x, y, c) - mean(frame, x, y, c)));
      return worst;
    };
    expect(await after('accurate')).toBeLessThan(1.5);
    expect(await after('original')).toBeGreaterThan(10);
  });
});

describe('shapes', () => {
  it.each(['pad', 'crop'] as const)('%s keeps the shape that is meant to be seen', async (fit) => {
    const input = ['-f', 'lavfi', '-i', 'color=white:s=64x64:r=24:d=0.2', '-vf', 'setsar=16/11'];
    ffmpeg(...input, '-c:v', 'libx264', '-qp', '0', at('wide.mp4'));
    const target = fit === 'pad' ? { width: 128, height: 64 } : { width: 64, height: 64 };
    const loaded = await loadVideo(at('wide.mp4'), { ...target, fps: 24, fit });
    expect(loaded.shape).toEqual({ width: 93, height: 64 });
    if (fit === 'pad') {
      const row = loaded.data.subarray(32 * 128 * 3, 33 * 128 * 3);
      expect(Array.from({ length: 128 }, (_, x) => row[3 * x]!).filter((level) => level > 128)).toHaveLength(93);
      return;
    }
    // A disc stays one: as wide as high.
    const disc = "geq=lum='if(lt(hypot((X-31.5)*16/11,Y-31.5),20),235,16)':cb=128:cr=128";
    ffmpeg(
      '-f',
      'lavfi',
      '-i',
      `color=black:s=64x64:r=24:d=0.2,${disc},setsar=16/11`,
      '-c:v',
      'libx264',
      '-qp',
      '0',
      at('disc.mp4'),
    );
    const { data } = await loadVideo(at('disc.mp4'), { ...target, fps: 24, fit, maxFrames: 1 });
    const bright = (index: number): boolean => data[index * 3]! > 128;
    const across = Array.from({ length: 64 }, (_, x) => x).filter((x) => bright(32 * 64 + x)).length;
    const down = Array.from({ length: 64 }, (_, y) => y).filter((y) => bright(y * 64 + 32)).length;
    expect(Math.abs(across - down)).toBeLessThanOrEqual(1);
    expect(Math.abs(across - 40)).toBeLessThanOrEqual(1);
  });
});

describe('pictures', () => {
  const picture = () => sharp(Buffer.alloc(48 * 32 * 3, 77), { raw: { width: 48, height: 32, channels: 3 } });

  it.each(['ffmpeg', 'sharp'] as const)('what follows one in its file is none of it: %s', async (decoder) => {
    for (const format of ['png', 'jpeg', 'webp'] as const) {
      const file = await picture().toFormat(format).toBuffer();
      const { data } = await loadImage(file, { ...size, decoder });
      for (const more of [Buffer.from('x'), Buffer.alloc(3000, 0xd8), file]) {
        const followed = await loadImage(Buffer.concat([file, more]), { ...size, decoder });
        expect(followed.data, format).toEqual(data);
      }
    }
  });

  it('CMYK is refused with the remedy, whoever would decode it', async () => {
    const file = await picture().toColourspace('cmyk').jpeg().toBuffer();
    for (const decoder of ['ffmpeg', 'sharp'] as const)
      await expect(loadImage(file, { ...size, decoder })).rejects.toThrow(
        /^image: this JPEG file is CMYK, .*; convert it to RGB first$/,
      );
  });
});

describe.skipIf(process.platform === 'win32')('an ffmpeg that hangs', () => {
  const script = (name: string, text: string): string => {
    writeFileSync(at(name), `#!/bin/sh\n${text}\n`);
    chmodSync(at(name), 0o755);
    return at(name);
  };
  const alive = (file: string): boolean => {
    try {
      process.kill(Number(readFileSync(file, 'utf8')), 0);
      return true;
    } catch {
      return false;
    }
  };
  const gone = async (file: string): Promise<void> => {
    await expect.poll(() => alive(file), { timeout: 5000 }).toBe(false);
  };
  const before = process.env.MAGI1_FFMPEG;
  afterAll(() => {
    if (before === undefined) delete process.env.MAGI1_FFMPEG;
    else process.env.MAGI1_FFMPEG = before;
  });

  it('and does not even tell its version is given up, with what it started', async () => {
    // The child of the script would hold its pipes open.
    process.env.MAGI1_FFMPEG = script('mute', `sleep 1000 & echo $! > ${at('mute.pid')}; wait`);
    expect(await findFfmpegReader(undefined, 1)).toEqual({ unusable: `${at('mute')} gives no answer within 1 s` });
    await gone(at('mute.pid'));
  });

  it('is ended by the signal', async () => {
    process.env.MAGI1_FFMPEG = script('stopped', `echo $$ > ${at('stopped.pid')}; exec sleep 1000`);
    const signal = AbortSignal.timeout(500);
    await expect(loadVideo(new Uint8Array(100), { ...size, fps: 24, signal })).rejects.toThrow(/timeout/);
    await gone(at('stopped.pid'));
  });

  it('is ended where it gives no picture', async () => {
    const command = script('dry', `echo $$ > ${at('dry.pid')}; printf abc; exec sleep 1000`);
    const options = { what: 'video a.mp4', input: [], filters: '', maxPixels: 1, size, longestSilence: 1 };
    const frames = decodeFrames({ command, version: '9' }, options);
    await expect(frames.next()).rejects.toThrow('video a.mp4: ffmpeg gave nothing for 1 s and was ended');
    await gone(at('dry.pid'));
  });

  it('or breaks down is told from a broken file', async () => {
    const command = script('crash', 'kill -SEGV $$');
    const options = { what: 'video', input: [], filters: '', maxPixels: 1, size };
    const frames = decodeFrames({ command, version: '9' }, options);
    await expect(frames.next()).rejects.toThrow('video: ffmpeg cannot read it: it ended by SIGSEGV');
  });

  it('is not left behind when a reader has seen enough', async () => {
    const command = script('endless', `echo $$ > ${at('endless.pid')}; exec cat /dev/zero`);
    const options = { what: 'video', input: [], filters: '', maxPixels: 1, size };
    for await (const frame of decodeFrames({ command, version: '9' }, options)) {
      expect(frame).toHaveLength(12288);
      break;
    }
    await gone(at('endless.pid'));
  });

  it('is not left behind when this process ends', async () => {
    script('left', `echo $$ > ${at('left.pid')}; exec sleep 1000`);
    const module = pathToFileURL(join(import.meta.dirname, '..', '..', 'dist', 'media', 'node', 'child.js')).href;
    const program = `import { execute } from '${module}'; void execute('${at('left')}', [], 99); setTimeout(() => process.exit(3), 1000);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], { stdio: 'inherit' });
    expect((await once(child, 'exit'))[0]).toBe(3);
    expect(Number(readFileSync(at('left.pid'), 'utf8'))).toBeGreaterThan(0);
    await gone(at('left.pid'));
  });
});
