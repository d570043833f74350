// Every mode on the first WebGPU adapter: the frames that wasm gives, those of the original, and nothing left on the device.
// Left out whole by MAGI1_NO_WEBGPU=1.
import { join } from 'node:path';
import {
  Device,
  Magi1ImageToVideoPipeline,
  Magi1Pipeline,
  Magi1VideoToVideoPipeline,
  NotFiniteError,
} from '@magi1/core';
import type { GeneratedVideo, RgbFrames } from '@magi1/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TINY_MODEL } from './support/cli.ts';
import { conformanceRoots } from './support/conformance.ts';
import { firstWebGpuDevice } from './support/devices.ts';
import { e2eCase, expectSameFrames } from './support/e2e.ts';
import { onePassModel } from './support/fp8-model.ts';
import { readSafetensors } from './support/safetensors-lite.ts';
import { TRANSFORMER_FILE, copyTinyModel, setWeight } from './support/tiny-model.ts';

const { name: adapter, open } = firstWebGpuDevice();
const SMALL = { prompt: 'a cat', height: 32, width: 32, numFrames: 24, numInferenceSteps: 8, seed: 5 };

let gpu: Device;
let wasm: Device;
let distilled: string;
beforeAll(async () => {
  [gpu, wasm] = await Promise.all([open(), Device.open({ backend: 'wasm' })]);
  const weights = readSafetensors(join(TINY_MODEL, TRANSFORMER_FILE));
  distilled = await onePassModel(weights, { fp8: false, distill: true });
});
afterAll(async () => {
  for (const device of [gpu, wasm]) await device.dispose();
});

/** A moving gradient. */
function clip(frameCount: number, size = 32): RgbFrames {
  const data = Uint8Array.from({ length: frameCount * size * size * 3 }, (_, i) => {
    const pixel = Math.floor(i / 3);
    const [x, y, t] = [pixel % size, Math.floor(pixel / size) % size, Math.floor(pixel / size ** 2)];
    return i % 3 === 0 ? (8 * x + 5 * t) % 256 : i % 3 === 1 ? (8 * y) % 256 : 128;
  });
  return { data, frameCount, width: size, height: size };
}

type Pipeline<Request> = { dispose(): Promise<void> } & ((request: Request) => Promise<GeneratedVideo>);

/** Runs a request on a pipeline of each device; the GPU's frames may be one level off on one value in a thousand. */
async function expectSameOnBoth<Request>(
  openOn: (device: Device) => Promise<Pipeline<Request>>,
  request: Request,
): Promise<GeneratedVideo> {
  const results: GeneratedVideo[] = [];
  for (const device of [gpu, wasm]) {
    const pipe = await openOn(device);
    results.push(await pipe(request));
    await pipe.dispose();
    expect(device.memory().tensors).toBe(0);
  }
  const [ours, expected] = results as [GeneratedVideo, GeneratedVideo];
  expect(ours.numFrames).toBe(expected.numFrames);
  expect(ours.facts.device.backend).toBe('webgpu');
  const levels = ours.frames.map((level, i) => Math.abs(level - expected.frames[i]!));
  expect(levels.reduce((most, level) => Math.max(most, level), 0)).toBeLessThanOrEqual(1);
  expect(levels.filter((level) => level > 0).length / levels.length).toBeLessThan(0.001);
  return ours;
}

describe(adapter, () => {
  it('text to video, two chunks with prompts of their own', { timeout: 120_000 }, async () => {
    const request = { ...SMALL, numFrames: 48, chunkPrompts: [{ chunk: 1, prompt: 'it rains' }], useHqToken: true };
    const { numFrames } = await expectSameOnBoth(
      (device) => Magi1Pipeline.fromPretrained(TINY_MODEL, { device }),
      request,
    );
    expect(numFrames).toBe(48);
  });

  it('image to video', { timeout: 120_000 }, async () => {
    const { numFrames, facts } = await expectSameOnBoth(
      (device) => Magi1ImageToVideoPipeline.fromPretrained(TINY_MODEL, { device }),
      { ...SMALL, image: clip(1, 40) },
    );
    expect(numFrames).toBe(48);
    expect(facts.settings).toMatchObject({ prefixFrames: 1, prefixLatentFrames: 1 });
  });

  it('video to video: a whole chunk and a part of one are given', { timeout: 120_000 }, async () => {
    const { numFrames, facts } = await expectSameOnBoth(
      (device) => Magi1VideoToVideoPipeline.fromPretrained(TINY_MODEL, { device }),
      { ...SMALL, video: clip(32) },
    );
    expect(numFrames).toBe(37);
    expect(facts.settings).toMatchObject({ prefixFrames: 32, prefixLatentFrames: 8 });
  });

  it.each([8, 12])('a distilled model in %i steps, from a clip', { timeout: 120_000 }, async (numInferenceSteps) => {
    const { facts } = await expectSameOnBoth(
      (device) => Magi1VideoToVideoPipeline.fromPretrained(distilled, { device }),
      { ...SMALL, numInferenceSteps, video: clip(24) },
    );
    expect(facts.chunkForwards.run).toBe(facts.chunkForwards.full); // one pass: nothing can be left out
  });

  if (conformanceRoots().kind === 'shared')
    it.each(['i2v', 'v2v', 't2v_distill'])(
      'gives the frames of the original: %s',
      { timeout: 300_000 },
      async (name) => {
        const { goldens, request } = e2eCase(name);
        if (name === 't2v_distill') {
          const pipe = await Magi1Pipeline.fromPretrained(distilled, { device: gpu });
          expectSameFrames(await pipe(request), goldens);
          await pipe.dispose();
          return;
        }
        const file = join(conformanceRoots().root, 'media', 'prefix_video_fps24_64x64.safetensors');
        const { data, shape } = (name === 'i2v' ? goldens.get('prefix_frames') : readSafetensors(file).get('frames'))!;
        const [frameCount, height, width] = shape as [number, number, number, number];
        const given = { data: data as Uint8Array, frameCount, height, width };
        const pipe =
          name === 'i2v'
            ? await Magi1ImageToVideoPipeline.fromPretrained(TINY_MODEL, { device: gpu })
            : await Magi1VideoToVideoPipeline.fromPretrained(TINY_MODEL, { device: gpu });
        const result = await (pipe as Pipeline<object>)({ ...request, [name === 'i2v' ? 'image' : 'video']: given });
        expectSameFrames(result, goldens);
        await pipe.dispose();
      },
    );
});

describe('values that are not finite', () => {
  it.each([
    ['denoising', TRANSFORMER_FILE, 'videodit_blocks.layers.1.mlp.linear_fc2.weight'],
    ['decoding', join('vae', 'diffusion_pytorch_model.safetensors'), 'decoder.proj_in.weight'],
  ])('end the run while %s', async (stage, file, name) => {
    const folder = copyTinyModel();
    setWeight(join(folder, file), name, NaN);
    await using pipe = await Magi1Pipeline.fromPretrained(folder, { device: gpu });
    const error: unknown = await pipe(SMALL).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(NotFiniteError);
    expect((error as NotFiniteError).place).toMatchObject({ stage, chunk: { index: 0, count: 1 } });
    expect(String(error)).toContain('are not finite (NaN)');
  });
});
