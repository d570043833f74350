// Colour conversion, parameter sets, output paths, PNG folders, contact sheets, the sidecar.
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { PNG } from 'pngjs';
import { afterAll, describe, expect, it } from 'vitest';
import { tagSps } from './h264-sps.ts';
import { openPngWriter, openVideoWriter, outputKind, reserveOutput, writeContactSheet } from './index.ts';
import { movingClip } from './testing.ts';
import { rgbToYuv420 } from './yuv.ts';

const folder = mkdtempSync(join(tmpdir(), 'magi1-media-'));
afterAll(() => rmSync(folder, { recursive: true }));

function rgbOf(path: string): { width: number; height: number; rgb: Uint8Array } {
  const { width, height, data } = PNG.sync.read(readFileSync(path));
  return { width, height, rgb: Uint8Array.from(data.filter((_, i) => i % 4 !== 3)) };
}

describe('rgbToYuv420', () => {
  it('is BT.709, limited range, in double precision to within rounding', () => {
    const byte = fc.integer({ min: 0, max: 255 });
    fc.assert(
      fc.property(fc.array(byte, { minLength: 12, maxLength: 12 }), (values) => {
        const yuv = rgbToYuv420(Uint8Array.from(values), 2, 2);
        const mean = [0, 0, 0];
        for (let p = 0; p < 4; p++) {
          const [r, g, b] = values.slice(p * 3, p * 3 + 3).map((v) => v / 255) as [number, number, number];
          const luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
          expect(Math.abs(yuv[p]! - (16 + 219 * luma))).toBeLessThan(0.51);
          [r, g, b].forEach((v, c) => (mean[c]! += v / 4));
        }
        const [r, g, b] = mean as [number, number, number];
        const luma = 0.2126 * r + 0.7152 * g + 0.0722 * b;
        expect(Math.abs(yuv[4]! - (128 + (224 * (b - luma)) / 1.8556))).toBeLessThan(0.51);
        expect(Math.abs(yuv[5]! - (128 + (224 * (r - luma)) / 1.5748))).toBeLessThan(0.51);
      }),
    );
  });

  it('keeps greys exact', () => {
    for (const [grey, luma] of [
      [0, 16],
      [255, 235],
      [51, 60],
    ] as const) {
      expect([...rgbToYuv420(new Uint8Array(12).fill(grey), 2, 2)]).toEqual([luma, luma, luma, luma, 128, 128]);
    }
  });
});

describe('tagSps', () => {
  const plain = Uint8Array.from(Buffer.from('6742000aa6842640', 'hex')); // 64x64 Baseline, no VUI

  it('keeps every bit before the VUI, and adds one', () => {
    const bits = [...tagSps(plain)].map((byte) => byte.toString(2).padStart(8, '0')).join('');
    const before = [...plain]
      .map((byte) => byte.toString(2).padStart(8, '0'))
      .join('')
      .slice(0, 56);
    // VUI: no aspect, no overscan, signal type (format 5, limited, described 1 1 1), chroma centre twice, nothing else.
    const colour = '00000001'.repeat(3);
    expect(bits.startsWith(`${before}100110101${colour}1010010`)).toBe(true);
  });

  it('refuses what it does not understand', () => {
    expect(() => tagSps(Uint8Array.from([0x68, 0, 0, 0]))).toThrow('another NAL unit');
    expect(() => tagSps(Uint8Array.from([0x67, 100, 0, 10]))).toThrow('profile 66, 77 or 88 expected, got 100');
    expect(() => tagSps(plain.subarray(0, 5))).toThrow('ends too early');
    expect(() => tagSps(tagSps(plain))).toThrow('it has a VUI already');
  });
});

describe('output paths', () => {
  it('are known by their names', () => {
    expect(outputKind('a/b.mp4')).toBe('mp4');
    expect(outputKind('B.MP4')).toBe('mp4');
    expect(outputKind('frames')).toBe('png');
    expect(() => outputKind('a.mov')).toThrow('.mov is not written');
    expect(() => outputKind(' ')).toThrow('empty name');
  });

  it('are refused before any work, by name', async () => {
    const file = join(folder, 'file');
    writeFileSync(file, '');
    mkdirSync(join(folder, 'dir.mp4'));
    await expect(reserveOutput(join(folder, 'none', 'x.mp4'))).rejects.toThrow(
      `the folder ${join(folder, 'none')} does not exist`,
    );
    await expect(reserveOutput(join(file, 'x.mp4'))).rejects.toThrow(`${file} is not a folder`);
    await expect(reserveOutput(join(folder, 'dir.mp4'))).rejects.toThrow('not a regular file');
    await expect(reserveOutput(file)).rejects.toThrow('a file of that name exists');
    await expect(reserveOutput('/proc/x.mp4')).rejects.toThrow('/proc is not writable');
    for (const [name, kind] of [
      ['x.mp4', 'mp4'],
      ['x', 'png'],
    ] as const) {
      using output = await reserveOutput(join(folder, name));
      expect(output.kind).toBe(kind);
    }
    expect(readdirSync(folder).filter((name) => /^x|magi1/.test(name))).toEqual([]);
  });
});

describe('PNG folder', () => {
  const [width, height] = [10, 7]; // odd sizes are fine here

  it('holds the frames bit by bit, and none of a longer, earlier run', async () => {
    const path = join(folder, 'frames');
    for (const count of [5, 3]) {
      const writer = await openVideoWriter({ path, width, height, fps: 24 });
      await writer.write(movingClip(width, height, 2), 2);
      await writer.write(movingClip(width, height, count - 2, 2), count - 2);
      expect(await writer.finish()).toEqual({ path, frames: count });
    }
    expect(readdirSync(path)).toEqual(['frame_00000.png', 'frame_00001.png', 'frame_00002.png']);
    expect(rgbOf(join(path, 'frame_00002.png'))).toEqual({ width, height, rgb: movingClip(width, height, 1, 2) });
  });

  it('stops at the signal and keeps what it has', async () => {
    const path = join(folder, 'stopped');
    const controller = new AbortController();
    const writer = await openPngWriter({ path, width, height, fps: 24, signal: controller.signal });
    await writer.write(movingClip(width, height, 1), 1);
    controller.abort(new Error('stop'));
    await expect(writer.write(movingClip(width, height, 1), 1)).rejects.toThrow('stop');
    expect(await writer.abort()).toEqual({ path, frames: 1 });
    expect(readdirSync(path)).toEqual(['frame_00000.png']);
  });
});

it('a contact sheet shows every frame in reading order', async () => {
  const path = join(folder, 'sheet.png');
  const [width, height, gap] = [6, 4, 1];
  const frames = movingClip(width, height, 5);
  await writeContactSheet(path, frames, 5, { width, height, columns: 3, gap });
  const sheet = rgbOf(path);
  expect([sheet.width, sheet.height]).toEqual([3 * 7 + 1, 2 * 5 + 1]);
  for (let i = 0; i < 5; i++) {
    for (let y = 0; y < height; y++) {
      const at = ((gap + Math.floor(i / 3) * 5 + y) * sheet.width + gap + (i % 3) * 7) * 3;
      const row = (i * height + y) * width * 3;
      expect(sheet.rgb.subarray(at, at + width * 3)).toEqual(frames.subarray(row, row + width * 3));
    }
  }
  expect([...sheet.rgb.subarray(-3)]).toEqual([128, 128, 128]);
});
