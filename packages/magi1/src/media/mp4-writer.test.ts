// Both mp4 writers: what they write is what was given, is tagged alike, and survives cancel and kill.
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, it } from 'vitest';
import { findFfmpeg, openMp4Writer } from './index.ts';
import { decode, movingClip, probe, psnr } from './testing.ts';

const folder = mkdtempSync(join(tmpdir(), 'magi1-mp4-'));
afterAll(() => {
  rmSync(folder, { recursive: true });
});

const encoders = ['ffmpeg', 'wasm'] as const;
const TAGS = { color_range: 'tv', color_space: 'bt709', color_transfer: 'bt709', color_primaries: 'bt709' };

/** Waits until a file has not grown for half a second. */
async function settled(path: string): Promise<void> {
  for (let size = -1; size !== statSync(path).size;) {
    size = statSync(path).size;
    await sleep(500);
  }
}

/** Direct children of a process. */
function childrenOf(pid: number): number[] {
  const list = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' });
  return list
    .trim()
    .split('\n')
    .map((line) => line.trim().split(/\s+/).map(Number))
    .flatMap(([child, parent]) => (parent === pid ? [child!] : []));
}

describe.each(encoders)('mp4 by %s', (encoder) => {
  it.each([
    [64, 64, 24, 48],
    [208, 144, 16, 30],
    [480, 272, 23.976, 9],
  ])('%i x %i at %d fps: %i frames come back within 35 dB, tagged BT.709', async (width, height, fps, count) => {
    const path = join(folder, `${encoder}-${width}.mp4`);
    const writer = await openMp4Writer({
      path,
      width,
      height,
      fps,
      encoder,
      metadata: { title: 'a title', comment: 'ü, 狐' },
    });
    const first = Math.floor(count / 2);
    const clip = movingClip(width, height, count);
    await writer.write(clip.subarray(0, first * width * height * 3), first);
    await writer.write(clip.subarray(first * width * height * 3), count - first);
    expect(await writer.finish()).toEqual({ path, frames: count });

    const rate = Number.isInteger(fps) ? `${fps}/1` : '2997/125';
    const facts = { codec_name: 'h264', width, height, pix_fmt: 'yuv420p', chroma_location: 'center', ...TAGS };
    const rates = { r_frame_rate: rate, avg_frame_rate: rate, nb_frames: String(count), nb_read_frames: String(count) };
    const probed = probe(path);
    expect(probed).toMatchObject({ ...facts, ...rates });
    expect(Number(probed.duration)).toBeCloseTo(count / fps, 2);
    const bytes = readFileSync(path);
    expect(bytes.includes(Buffer.from('colrnclx\0\u0001\0\u0001\0\u0001\0', 'latin1'))).toBe(true);
    expect(bytes.includes(Buffer.from('ü, 狐'))).toBe(true);

    const decoded = decode(path);
    expect(psnr(clip, decoded)).toBeGreaterThan(35);
    for (const frame of [0, first, count - 1]) {
      const range = [frame * width * height * 3, (frame + 1) * width * height * 3] as const;
      expect(psnr(clip.subarray(...range), decoded.subarray(...range))).toBeGreaterThan(35);
    }
    expect(readdirSync(folder).filter((name) => name.startsWith(`${encoder}-${width}.`))).toEqual([
      `${encoder}-${width}.mp4`,
    ]);
  });

  it('takes frames one at a time', async () => {
    const path = join(folder, `${encoder}-single.mp4`);
    const writer = await openMp4Writer({ path, width: 32, height: 48, fps: 24, encoder });
    for (let i = 0; i < 5; i++) await writer.write(movingClip(32, 48, 1, i), 1);
    await writer.finish();
    expect(probe(path)).toMatchObject({ nb_read_frames: '5' });
    expect(psnr(movingClip(32, 48, 5), decode(path))).toBeGreaterThan(35);
  });

  it('plays what was given before a cancel, beside an older file, which stays', async () => {
    const path = join(folder, `${encoder}-cancel.mp4`);
    writeFileSync(path, 'older');
    const controller = new AbortController();
    const options = { path, width: 64, height: 64, fps: 24, encoder, signal: controller.signal };
    const writer = await openMp4Writer(options);
    await writer.write(movingClip(64, 64, 24), 24);
    expect(readFileSync(path, 'utf8')).toBe('older');
    controller.abort(new Error('stop'));
    await expect(writer.write(movingClip(64, 64, 24), 24)).rejects.toThrow('stop');
    const part = join(folder, `${encoder}-cancel.partial.mp4`);
    expect(await writer.abort()).toEqual({ path: part, frames: 24 });
    await expect(writer.finish()).rejects.toThrow('stop');
    expect(probe(part)).toMatchObject({ nb_frames: '24', nb_read_frames: '24', ...TAGS });
    expect(readFileSync(path, 'utf8')).toBe('older');
    expect(readdirSync(folder).filter((name) => name.includes('cancel') && name.includes('unfinished'))).toEqual([]);
  });

  it('cancels a write that waits for the encoder', async () => {
    const path = join(folder, `${encoder}-waiting.mp4`);
    const controller = new AbortController();
    const writer = await openMp4Writer({ path, width: 256, height: 256, fps: 24, encoder, signal: controller.signal });
    const writing = writer.write(movingClip(256, 256, 96), 96);
    setTimeout(() => controller.abort(new Error('stop')), 100);
    await expect(writing).rejects.toThrow('stop');
    const file = await writer.abort();
    const kept = file?.frames ?? 0;
    expect(kept).toBeLessThan(96);
    if (kept > 0) expect(probe(path)).toMatchObject({ nb_read_frames: String(kept) });
    else expect(existsSync(path)).toBe(false);
  });

  it('leaves no file when nothing was written', async () => {
    const path = join(folder, `${encoder}-nothing.mp4`);
    const options = { path, width: 64, height: 64, fps: 24, encoder };
    expect(await (await openMp4Writer(options)).abort()).toBeUndefined();
    expect(existsSync(path)).toBe(false);
    await expect((await openMp4Writer(options)).finish()).rejects.toThrow('no frame');
    expect(existsSync(path)).toBe(false);
  });

  it.each(['the process alone', 'the process and the encoder'])('plays after a kill of %s', async (victims) => {
    const output = join(folder, `${encoder}-${victims.length}-killed.mp4`);
    const path = join(`${output}.unfinished`, basename(output));
    const script = fileURLToPath(new URL('./testing-unfinished.mjs', import.meta.url));
    const child = spawn(process.execPath, [script, output, encoder], { stdio: ['ignore', 'pipe', 'inherit'] });
    const closed = once(child, 'close');
    await once(child.stdout, 'data');
    if (victims.includes('encoder')) {
      await settled(path);
      for (const pid of childrenOf(child.pid!)) process.kill(pid, 'SIGKILL');
    }
    child.kill('SIGKILL');
    expect((await closed)[1]).toBe('SIGKILL');
    await settled(path);
    const probed = probe(path);
    expect(probed).toMatchObject({ codec_name: 'h264', width: 64, height: 64, ...TAGS });
    const kept = Number(probed.nb_read_frames);
    expect(kept).toBe(96);
    expect(existsSync(output)).toBe(false);
    expect(psnr(movingClip(64, 64, kept), decode(path))).toBeGreaterThan(35);
  });

  it('refuses what it cannot write', async () => {
    const good = { path: join(folder, 'x.mp4'), width: 64, height: 64, fps: 24, encoder };
    await expect(openMp4Writer({ ...good, width: 63 })).rejects.toThrow('even width and height, got 63x64');
    await expect(openMp4Writer({ ...good, height: 0 })).rejects.toThrow('height from 1');
    await expect(openMp4Writer({ ...good, fps: 0 })).rejects.toThrow('fps above 0');
    await expect(openMp4Writer({ ...good, path: join(folder, 'x') })).rejects.toThrow('.mp4 expected');
    const writer = await openMp4Writer(good);
    const open = (options: unknown) => openMp4Writer(options as typeof good);
    await expect(open(null)).rejects.toThrow('video writer: an object of options expected, got null');
    await expect(open({ ...good, path: 5 })).rejects.toThrow('path: a name or a reserved output expected, got 5');
    const write = (frames: unknown, count?: number) => writer.write(frames as Uint8Array, count!);
    await expect(write(new Float32Array(12288), 1)).rejects.toThrow(
      'frames as a Uint8Array expected, got a Float32Array',
    );
    await expect(write(undefined, 1)).rejects.toThrow('frames as a Uint8Array expected, got nothing');
    await expect(write(new Uint8Array(12288))).rejects.toThrow('the number of frames is missing: write(frames, count)');
    await expect(writer.write(new Uint8Array(5), 1)).rejects.toThrow(
      '1 frames of 64x64 RGB are 12288 bytes, got 5 bytes',
    );
    await writer.abort();
  });
});

describe('findFfmpeg', () => {
  it('tells the version', async () => {
    expect(await findFfmpeg()).toMatchObject({ command: 'ffmpeg' });
  });

  it('says why not, and the wasm encoder steps in', async () => {
    process.env.MAGI1_FFMPEG = join(folder, 'no-such-ffmpeg');
    try {
      expect(await findFfmpeg()).toEqual({ unusable: `no ${folder}/no-such-ffmpeg on this machine` });
      const writer = await openMp4Writer({ path: join(folder, 'auto.mp4'), width: 64, height: 64, fps: 24 });
      expect(writer.encoder).toContain('WebAssembly');
      await writer.abort();
    } finally {
      delete process.env.MAGI1_FFMPEG;
    }
  });
});
