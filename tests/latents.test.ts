// Frames into latents and back through a pipeline's VAE, on the wasm device with the tiny model.
import { Device, Magi1Pipeline } from '@magi1/core';
import type { RgbFrames } from '@magi1/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TINY_MODEL } from './support/cli.ts';

let device: Device;
let pipe: Magi1Pipeline;
let loaded: number;

beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
  pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
  loaded = device.memory().tensors;
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(loaded);
  await pipe.dispose();
  await device.dispose();
});

function pictures(frameCount: number, width: number, height: number): RgbFrames {
  const data = Uint8Array.from({ length: frameCount * width * height * 3 }, (_, i) => (i * 7 + (i >> 8)) % 256);
  return { data, frameCount, width, height };
}

describe('decodeLatents', () => {
  it('gives the frames that the same run gives', async () => {
    const request = { prompt: 'a cat', height: 32, width: 48, numFrames: 24, seed: 3 };
    const frames = await pipe(request);
    const latents = await pipe({ ...request, outputType: 'latents' as const });
    const decoded = await pipe.decodeLatents({
      values: latents.frames,
      latentFrames: latents.numFrames,
      height: 4,
      width: 6,
    });
    expect(decoded).toMatchObject({ frameCount: 24, width: 48, height: 32 });
    expect(decoded.data).toEqual(frames.frames);
  });

  it('refuses values that fill no such shape', async () => {
    const values = new Float32Array(5);
    await expect(pipe.decodeLatents({ values, latentFrames: 1, height: 4, width: 4 })).rejects.toThrow(
      /5 values are not latents of shape \[16, 1, 4, 4\]/,
    );
  });
});

describe('encodeFrames', () => {
  it('gives the latents of each tile by itself, a single frame among them', async () => {
    const clip = pictures(25, 32, 32);
    const whole = await pipe.encodeFrames(clip);
    expect(whole).toMatchObject({ latentFrames: 7, height: 4, width: 4 });
    const last = await pipe.encodeFrames({ ...clip, data: clip.data.subarray(24 * 32 * 32 * 3), frameCount: 1 });
    const area = 16;
    for (let c = 0; c < 16; c++) {
      const at = (c * 7 + 6) * area;
      expect(whole.values.slice(at, at + area)).toEqual(last.values.slice(c * area, (c + 1) * area));
    }
    const decoded = await pipe.decodeLatents(whole);
    expect(decoded).toMatchObject({ frameCount: 25, width: 32, height: 32 });
  });

  it('refuses sides and lengths that do not fit', async () => {
    await expect(pipe.encodeFrames(pictures(4, 20, 32))).rejects.toThrow(/multiples of 8, got 20x32/);
    await expect(pipe.encodeFrames(pictures(14, 32, 32))).rejects.toThrow(/the last 2 of 14 prefix frames/);
    await expect(pipe.encodeFrames({ ...pictures(4, 32, 32), frameCount: 5 })).rejects.toThrow(/5 frames of 32x32/);
  });
});
