// Every option of a request on the wasm device with the tiny model: what it does, and what is refused.
import {
  Device,
  Magi1Pipeline,
  exportToVideo,
  readEnvironment,
  type GeneratedVideo,
  type TextToVideoRequest,
} from '@magi1/core';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TINY_MODEL } from './support/cli.ts';
import { copyTinyModel, editConfig, temporaryFolder } from './support/tiny-model.ts';

const SMALL = {
  prompt: 'a cat',
  height: 32,
  width: 32,
  numFrames: 24,
  numInferenceSteps: 4,
} satisfies TextToVideoRequest;
const TWO_CHUNKS = { ...SMALL, numFrames: 48 };
const SECOND = 24 * 32 * 32 * 3;

let device: Device;
let pipe: Magi1Pipeline;
let loaded: number;
let plain: GeneratedVideo;

beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
  pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
  loaded = device.memory().tensors;
  plain = await pipe(SMALL);
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(loaded);
  await pipe.dispose();
  await device.dispose();
});

describe('texts', () => {
  it('embeddings stand for the prompt they were made of', async () => {
    const promptEmbeds = await pipe.encodePrompt('a cat');
    const rest = { ...SMALL, prompt: undefined };
    const result = await pipe({ ...rest, promptEmbeds });
    expect(result.frames).toEqual(plain.frames);
    expect(result.facts).toMatchObject({ prompt: null, cleanedPrompt: null, textTokens: promptEmbeds.length });
    // Rows behind the mask count for nothing.
    const { length, rows } = promptEmbeds;
    const padded = { rows: Float32Array.from([...rows, ...rows]), length: 2 * length };
    const mask = [...new Array<number>(length).fill(1), ...new Array<number>(length).fill(0)];
    expect((await pipe({ ...rest, promptEmbeds: { ...padded, mask } })).frames).toEqual(plain.frames);
    expect((await pipe({ ...rest, promptEmbeds: padded })).frames).not.toEqual(plain.frames);
  });

  it('no row of text at all is the null text, as in the original', async () => {
    const rest = { ...SMALL, prompt: undefined };
    const empty = { rows: new Float32Array(0), length: 0 };
    expect((await pipe({ ...rest, promptEmbeds: empty })).facts.textTokens).toBe(0);
  });

  it('a negative prompt takes the place of the null text', async () => {
    const negativePrompt = 'blurred';
    const result = await pipe({ ...SMALL, negativePrompt });
    expect(result.frames).not.toEqual(plain.frames);
    expect(result.facts.negativePrompt).toBe('blurred');
    const negativePromptEmbeds = await pipe.encodePrompt(negativePrompt);
    expect((await pipe({ ...SMALL, negativePromptEmbeds })).frames).toEqual(result.frames);
  });

  it('maxSequenceLength cuts every text', async () => {
    const long = 'a cat and a dog and a bird and a fish';
    const { facts } = await pipe({ ...SMALL, prompt: long, maxSequenceLength: 4 });
    expect(facts.textTokens).toBe(4);
    expect(facts.notes.join()).toContain('the prompt was cut to 4 tokens');
  });

  it('guidanceScale takes the place of the schedule where there is text guidance', async () => {
    const own = await pipe({ ...SMALL, guidanceScale: 7.5 }); // what the checkpoint has itself
    expect(own.frames).toEqual(plain.frames);
    expect((await pipe({ ...SMALL, guidanceScale: null })).frames).toEqual(plain.frames);
    expect((await pipe({ ...SMALL, guidanceScale: 3 })).frames).not.toEqual(plain.frames);
    const without = await pipe({ ...SMALL, guidanceScale: 0 });
    expect(without.facts.chunkForwards.run).toBeLessThan(plain.facts.chunkForwards.run); // no caption pass is needed
  });
});

describe('prompts of chunks', () => {
  it('change what comes after them, and nothing before', async () => {
    const one = await pipe(TWO_CHUNKS);
    const two = await pipe({ ...TWO_CHUNKS, chunkPrompts: [{ second: 1, prompt: 'it rains' }] });
    expect(two.frames.subarray(0, SECOND)).toEqual(one.frames.subarray(0, SECOND));
    expect(two.frames.subarray(SECOND)).not.toEqual(one.frames.subarray(SECOND));
    expect(two.facts.chunkPrompts).toEqual([{ chunk: 1, prompt: 'it rains' }]);
    const byChunk = await pipe({ ...TWO_CHUNKS, chunkPrompts: [{ chunk: 1, prompt: 'it rains' }] });
    expect(byChunk.frames).toEqual(two.frames);
    const same = await pipe({ ...TWO_CHUNKS, chunkPrompts: [{ chunk: 1, prompt: 'a cat' }] });
    expect(same.frames).toEqual(one.frames);
  });

  it('may begin with the first chunk, in any order, and be embeddings', async () => {
    const rest = { ...TWO_CHUNKS, prompt: undefined };
    const rain = await pipe.encodePrompt('it rains');
    const result = await pipe({
      ...rest,
      chunkPrompts: [
        { second: 1.5, promptEmbeds: rain },
        { chunk: 0, prompt: 'a cat' },
      ],
    });
    const two = await pipe({ ...TWO_CHUNKS, chunkPrompts: [{ second: 1, prompt: 'it rains' }] });
    expect(result.frames).toEqual(two.frames);
  });
});

describe('special tokens', () => {
  it('have the names of the documented pipelines', async () => {
    const { settings } = pipe.plan({
      ...SMALL,
      useHqToken: true,
      useDuration: true,
      useBorderness: true,
      useStaticFirstFrames: true,
      useDynamicFirstFrames: true,
      use3dStyle: true,
      use2dAnimeStyle: true,
      useNegativeTokens: true,
    });
    expect(Object.values(settings.specialTokens)).toEqual(new Array(8).fill(true));
    const named = await pipe({ ...SMALL, useHqToken: true });
    expect(named.frames).not.toEqual(plain.frames);
    expect((await pipe({ ...SMALL, specialTokens: { hq: true } })).frames).toEqual(named.frames);
  });

  it('take the place of the environment', async () => {
    const environment = readEnvironment({ PAD_HQ: '1' });
    const own = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device, environment });
    expect(own.plan(SMALL).settings.specialTokens.hq).toBe(true);
    expect((await own({ ...SMALL, useHqToken: false })).frames).toEqual(plain.frames);
    await own.dispose();
  });
});

describe('what comes out', () => {
  it('float: the same pictures before they are made levels', async () => {
    const { frames, numFrames } = await pipe({ ...SMALL, outputType: 'float' });
    expect(frames).toBeInstanceOf(Float32Array);
    expect(numFrames).toBe(24);
    let most = 0;
    frames.forEach((value, i) => (most = Math.max(most, Math.abs(Math.floor(value * 255) - plain.frames[i]!))));
    expect(most).toBeLessThanOrEqual(1);
    const folder = join(temporaryFolder(), 'out');
    expect(await exportToVideo({ frames, width: 32, height: 32 }, folder)).toMatchObject({ frames: 24 });
    expect(readdirSync(folder)).toHaveLength(24);
  });

  it('latents: of all chunks, in one piece', async () => {
    const { frames, numFrames, facts } = await pipe({ ...TWO_CHUNKS, outputType: 'latents' });
    expect(numFrames).toBe(12);
    expect(frames).toHaveLength(16 * 12 * 4 * 4);
    expect(facts.settings.latentFrames).toBe(12);
    const parts: Float32Array[] = [];
    for await (const chunk of pipe.stream({ ...TWO_CHUNKS, outputType: 'latents' as const })) parts.push(chunk.frames);
    expect(parts).toHaveLength(2);
    for (const channel of [0, 15])
      for (const [i, part] of parts.entries())
        expect(frames.subarray((channel * 12 + i * 6) * 16, (channel * 12 + i * 6 + 6) * 16)).toEqual(
          part.subarray(channel * 6 * 16, (channel + 1) * 6 * 16),
        );
  });

  it('every step and every chunk is told', async () => {
    const events: string[] = [];
    await pipe({
      ...TWO_CHUNKS,
      callbackOnStepEnd: ({ index }, { latents }) => events.push(`step ${index} of ${latents.size}`),
      onChunk: async ({ index, frameCount }) => {
        await Promise.resolve();
        events.push(`chunk ${index}: ${frameCount}`);
      },
    });
    expect(events.filter((event) => event.startsWith('step'))).toHaveLength(5);
    expect(events.filter((event) => event.startsWith('chunk'))).toEqual(['chunk 0: 24', 'chunk 1: 24']);
  });

  it('is written to a file by exportToVideo', async () => {
    const path = join(temporaryFolder(), 'cat.mp4');
    expect(await exportToVideo(plain, path, { fps: 8 })).toMatchObject({ path, frames: 24 });
    expect(existsSync(path)).toBe(true);
    await expect(exportToVideo(plain, path, [] as never)).rejects.toThrow(
      /^exportToVideo: an object of options expected, got an array$/,
    );
    await expect(exportToVideo({ ...plain, width: 33 }, path)).rejects.toThrow(/33x32 RGB have 3168 values each/);
  });
});

describe('fps', () => {
  const withFps = async (fps: number) => {
    const folder = copyTinyModel();
    editConfig(folder, (config) => (config.runtime_config!.fps = fps));
    return Magi1Pipeline.fromPretrained(folder, { device, request: SMALL });
  };

  it('decides the tiles of the VAE, and so the frames of a chunk', async () => {
    const own = await withFps(12);
    const { settings, notes } = own.plan(SMALL);
    expect(settings).toMatchObject({ fps: 12, frames: 6 });
    expect(notes.join()).toMatch(/at fps 12 a chunk gives 6 frames instead of 24/);
    expect(await own(SMALL)).toMatchObject({ fps: 12, numFrames: 6 });
    await own.dispose();
  });

  it('is refused where a tile holds no latent frame', async () => {
    await expect(withFps(7)).rejects.toThrow(/fps: 8 or more expected, got 7/);
  });
});

describe('batches', () => {
  it('are a sequence of runs', async () => {
    const request = { ...SMALL, prompt: ['a cat', 'a dog'], numVideosPerPrompt: 2, seed: 5 };
    expect(pipe.plan(request).videos).toBe(4);
    const videos: GeneratedVideo[] = [];
    for await (const video of pipe.batch(request)) videos.push(video);
    expect(videos.map(({ facts }) => [facts.prompt, facts.settings.seed])).toEqual([
      ['a cat', 5],
      ['a cat', 6],
      ['a dog', 7],
      ['a dog', 8],
    ]);
    expect((await pipe({ ...SMALL, seed: 6 })).frames).toEqual(videos[1]!.frames);
    await expect(pipe(request)).rejects.toThrow(/4 videos are asked for; take them .* from batch\(\)/);
  });

  it('have noise for every video', () => {
    const request = { ...SMALL, numVideosPerPrompt: 2 };
    expect(pipe.plan({ ...request, latents: new Float32Array(2 * 16 * 6 * 16) }).videos).toBe(2);
    expect(() => pipe.plan({ ...request, latents: new Float32Array(16 * 6 * 16) })).toThrow(
      /latents: 3072 values expected, \[2, 16, 6, 4, 4\], got 1536/,
    );
  });
});

describe('bad requests', () => {
  const rows = (length: number) => ({ rows: new Float32Array(length * 64), length });
  const bad: [Record<string, unknown>, RegExp][] = [
    [{ promptEmbeds: rows(2) }, /prompt and promptEmbeds: give one of them/],
    [{ prompt: undefined, promptEmbeds: [] }, /promptEmbeds: a list with at least one entry/],
    [{ prompt: undefined, promptEmbeds: rows(900) }, /promptEmbeds: at most 800 rows expected/],
    [{ prompt: undefined, promptEmbeds: { ...rows(2), length: 3 } }, /3 rows of 64 features are 192 values, got 128/],
    [{ prompt: undefined, promptEmbeds: new Float32Array(64) }, /promptEmbeds: \{ rows: Float32Array/],
    [{ prompt: undefined, promptEmbeds: { ...rows(2), mask: [0, 1] } }, /a mask of ones, then zeros/],
    [{ prompt: undefined, promptEmbeds: { ...rows(1), rows: new Float32Array(64).fill(NaN) } }, /finite values/],
    [{ prompt: [] }, /prompt: a list with at least one entry/],
    [{ prompt: ['a', 5] }, /prompt\[1\]: text expected, got 5/],
    [{ negativePrompt: 5 }, /negativePrompt: text expected, got 5/],
    [{ negativePrompt: 'a', negativePromptEmbeds: rows(1) }, /negativePrompt and negativePromptEmbeds: give one/],
    [{ prompt: ['a', 'b'], negativePrompt: ['c', 'd', 'e'] }, /negativePrompt: 3 given for 2 prompts/],
    [{ numVideosPerPrompt: 0 }, /numVideosPerPrompt: a whole number above 0/],
    [{ guidanceScale: -1 }, /guidanceScale: a number from 0 to/],
    [{ guidanceScale: '5' }, /guidanceScale: a number from 0 to.* got "5"/],
    [{ outputType: 'pil' }, /outputType: one of uint8, float, latents expected, got "pil"/],
    [{ maxSequenceLength: 801 }, /maxSequenceLength: a whole number from 1 to 800/],
    [{ useHqToken: 1 }, /useHqToken: true or false expected, got 1/],
    [{ useHqToken: true, specialTokens: { hq: false } }, /useHqToken and specialTokens\.hq contradict/],
    [{ enableDistillation: true }, /enableDistillation: this is a base checkpoint .* open a distilled/],
    [{ enableDistillation: 'yes' }, /enableDistillation: true or false/],
    [{ distillNearlyCleanChunkThreshold: 0.3 }, /acts on checkpoints that run in one pass .*, this is a base one/],
    [{ onChunk: true }, /onChunk: a function expected/],
    [{ callbackOnStepEnd: 'x' }, /callbackOnStepEnd: a function expected/],
    [{ chunkPrompts: 'rain' }, /chunkPrompts: a list expected/],
    [{ chunkPrompts: [{ prompt: 'rain' }] }, /chunkPrompts\[0\]: say the chunk or the second/],
    [{ chunkPrompts: [{ chunk: 1 }] }, /chunkPrompts\[0\]: give prompt or promptEmbeds/],
    [{ chunkPrompts: [{ chunk: -1, prompt: 'rain' }] }, /chunk: a whole number from 0 up expected, got -1/],
    [{ chunkPrompts: [{ chunk: 1, prompt: 'rain', at: 3 }] }, /unknown option at/],
    [
      { chunkPrompts: [{ chunk: 0, prompt: 'rain' }] },
      /chunk 0 lies in the first chunk, which prompt describes; the video has no other/,
    ],
    [{ chunkPrompts: [{ chunk: 1, prompt: 'rain' }] }, /chunk 1 is past the end of the video, which has 1 chunk /],
    [{ chunkPrompts: [{ second: 1, prompt: 'rain' }] }, /second 1 is past the end/],
    [{ image: 'x.png' }, /unknown option image/],
  ];
  for (const [change, message] of bad) {
    it(`${JSON.stringify(change, (_, value: unknown) => (value instanceof Float32Array ? '[...]' : value))} is refused`, async () => {
      const request = { ...SMALL, ...change } as unknown as TextToVideoRequest;
      await expect(pipe(request)).rejects.toThrow(message);
      await expect(Magi1Pipeline.fromPretrained(TINY_MODEL, { device, request })).rejects.toThrow(message);
      expect(device.memory().tensors).toBe(loaded);
    });
  }
});
