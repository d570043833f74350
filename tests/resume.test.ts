// A run that goes on from what was kept of an earlier one: the same result from every step, and what is refused.
import { readFileSync, renameSync } from 'node:fs';
import { join } from 'node:path';
import {
  Device,
  Magi1ImageToVideoPipeline,
  Magi1Pipeline,
  Magi1VideoToVideoPipeline,
  decodeRunState,
  encodeRunState,
} from '@magi1/core';
import type { GenerationOptions, RgbFrames, RunState } from '@magi1/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { TINY_MODEL } from './support/cli.ts';
import { TRANSFORMER_FILE, copyTinyModel, editConfig, setWeight } from './support/tiny-model.ts';

const SMALL = { height: 32, width: 32, numFrames: 72, numInferenceSteps: 8, outputType: 'latents', seed: 7 } as const;

let device: Device;
beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

function clip(frameCount: number): RgbFrames {
  const data = Uint8Array.from(
    { length: frameCount * 32 * 32 * 3 },
    (_, i) => (i * 7 + Math.floor(i / 3072) * 40) % 256,
  );
  return { data, frameCount, width: 32, height: 32 };
}

type Pipeline = Magi1Pipeline;
/** A pipeline that takes more than a prompt is given what it needs here. */
const any = async (pipeline: Promise<unknown>): Promise<Pipeline> => (await pipeline) as Pipeline;

/** A run's latents, and its state after every step, as its file gives it back. */
async function everyState(pipe: Pipeline, request: GenerationOptions) {
  const states: RunState[] = [];
  const latents = new Map<number, Float32Array>();
  let first: RunState | undefined;
  const { frames } = await pipe({
    ...request,
    outputType: 'latents',
    onState: (state) => void (first ??= state),
    onStep: async ({ index, chunks }, { latents: now }) => {
      for (const { chunk, clean } of chunks) if (!clean) latents.set(chunk, await now.get(chunk)!.toFloat32());
      const state = { identity: {}, firstChunk: 0, device: '', step: index, latents: new Map(latents) };
      states.push(state);
    },
  });
  const kept = states.map((state) => encodeRunState({ ...first!, step: state.step, latents: state.latents }));
  const read = await Promise.all(kept.map(async (bytes) => decodeRunState(await bytes)));
  return { frames, states: read };
}

const distilled = () => {
  const folder = copyTinyModel();
  editConfig(folder, ({ engine_config: engine, runtime_config: runtime }) => {
    engine!.distill = true;
    runtime!.cfg_number = 1;
  });
  const weights = join(folder, 'magi', 'inference_weight');
  renameSync(weights, `${weights}.distill`);
  return folder;
};
/** Clean chunks see two others. */
const longMemory = () => {
  const folder = copyTinyModel();
  editConfig(folder, ({ runtime_config: runtime }) => (runtime!.clean_chunk_kvrange = 3));
  return folder;
};

describe('a run goes on from every step with the same bits', () => {
  const options = () => ({ device });
  const cases: Record<string, [() => Promise<Pipeline>, GenerationOptions]> = {
    'text to video, prompts that change': [
      () => any(Magi1Pipeline.fromPretrained(TINY_MODEL, options())),
      { prompt: 'a cat', chunkPrompts: [{ chunk: 1, prompt: 'a dog' }], useHqToken: false },
    ],
    'a cache in 16 bits, a negative prompt': [
      () => any(Magi1Pipeline.fromPretrained(TINY_MODEL, options())),
      { prompt: 'a cat', negativePrompt: 'rain', cacheDType: 'bf16' },
    ],
    'weights in 16 bits, clean chunks that see others': [
      () => any(Magi1Pipeline.fromPretrained(longMemory(), { ...options(), dtype: 'f16' })),
      { prompt: 'a cat' },
    ],
    'a distilled model': [() => any(Magi1Pipeline.fromPretrained(distilled(), options())), { prompt: 'a cat' }],
    'image to video': [
      () => any(Magi1ImageToVideoPipeline.fromPretrained(TINY_MODEL, options())),
      { prompt: 'a cat', image: clip(1) } as GenerationOptions,
    ],
    'video to video': [
      () => any(Magi1VideoToVideoPipeline.fromPretrained(TINY_MODEL, options())),
      { prompt: 'a cat', video: clip(32) } as GenerationOptions,
    ],
  };
  it.each(Object.keys(cases))('%s', async (name) => {
    const [open, request] = cases[name]!;
    await using pipe = await open();
    const { frames, states } = await everyState(pipe, { ...SMALL, ...request });
    expect(states.length).toBeGreaterThan(6);
    for (const resume of states) {
      const steps: number[] = [];
      const again = await pipe({ ...SMALL, ...request, resume, onStep: ({ index }) => void steps.push(index) });
      expect(steps).toEqual(states.slice(resume.step + 1).map(({ step }) => step));
      expect(again.frames).toEqual(frames);
      expect(again.facts.notes).toContain(`resumed after step ${resume.step + 1} of ${states.length}`);
    }
  });
});

describe('the end of a video made anew', () => {
  it('keeps the chunks before it, and can be gone on with in turn', async () => {
    await using pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
    const request = { ...SMALL, prompt: 'a cat' };
    const kept: RunState[] = [];
    const { frames } = await pipe({ ...request, onState: (state) => void kept.push(state) });
    const { states } = await everyState(pipe, request);
    const resume = states.at(-1)!;
    const other = { ...request, resume, redoFromChunk: 1, seed: 8, prompt: 'a dog' };
    const redone: RunState[] = [];
    const made = await pipe({ ...other, onState: (state) => void redone.push(state) });
    expect(made.frames).toHaveLength(frames.length);
    const [channels, area, row] = [16, 16, frames.length / 16];
    const first = (values: Float32Array) =>
      Array.from({ length: channels }, (_, c) => [...values.subarray(c * row, c * row + 6 * area)]);
    expect(first(made.frames)).toEqual(first(frames));
    expect(made.frames).not.toEqual(frames);
    expect(made.facts.notes.join()).toContain('chunks before chunk 1 were kept');
    // What was kept of it needs no redoFromChunk: its first chunk is given.
    const goesOn = { ...request, seed: 8, prompt: 'a dog' };
    const state = await decodeRunState(await encodeRunState(redone[0]!));
    expect(state.firstChunk).toBe(1);
    expect((await pipe({ ...goesOn, resume: state })).frames).toEqual(made.frames);
    // The same request once more, of a run that was killed: it does not begin with that chunk again.
    const steps: number[] = [];
    const goneOn = await pipe({ ...other, resume: state, onStep: ({ index }) => void steps.push(index) });
    expect(goneOn.frames).toEqual(made.frames);
    expect(steps[0]).toBe(state.step + 1);
    // From its first chunk on, all is new.
    const all = await pipe({ ...other, redoFromChunk: 0 });
    expect(all.frames).toEqual((await pipe({ ...SMALL, prompt: 'a dog', seed: 8 })).frames);
  });

  it('refuses chunks that are not finished or not there', async () => {
    await using pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
    const request = { ...SMALL, prompt: 'a cat' };
    const { states } = await everyState(pipe, request);
    const early = pipe({ ...request, resume: states[0]!, redoFromChunk: 1 });
    await expect(early).rejects.toThrow('redoFromChunk: at most 0 expected, got 1: 0 chunks are finished');
    const late = pipe({ ...request, resume: states.at(-1)!, redoFromChunk: 3 });
    await expect(late).rejects.toThrow('redoFromChunk: a chunk from 0 to 2 expected, got 3');
    await expect(pipe({ ...request, redoFromChunk: 1 })).rejects.toThrow('redoFromChunk: it needs resume');
  });
});

describe('what is kept', () => {
  it('is never a state that nothing can be gone on with', async () => {
    const folder = copyTinyModel();
    setWeight(join(folder, TRANSFORMER_FILE), 'final_linear.linear.weight', NaN, 'all');
    await using pipe = await Magi1Pipeline.fromPretrained(folder, { device });
    const kept: RunState[] = [];
    const run = pipe({ ...SMALL, prompt: 'a cat', onState: (state) => void kept.push(state) });
    await expect(run).rejects.toThrow('the latents are not finite');
    expect(kept).toEqual([]);
  });
});

describe('what was kept of another run is refused', () => {
  it('by everything that decides the result, before anything is loaded', async () => {
    await using pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
    const request = { ...SMALL, prompt: 'a cat' };
    const { states } = await everyState(pipe, request);
    const resume = states[3]!;
    const changes: [Partial<GenerationOptions>, string][] = [
      [{ seed: 8 }, 'seed: kept of 7, asked for is 8'],
      [{ prompt: 'a dog' }, 'prompt: kept of a cat, asked for is a dog'],
      [{ negativePrompt: 'rain' }, 'negative prompt: kept of none, asked for is rain'],
      [{ width: 48 }, 'size: kept of 32x32, asked for is 48x32'],
      [{ numFrames: 96 }, 'frames: kept of 72, asked for is 96'],
      [{ numInferenceSteps: 16 }, 'steps: kept of 8, asked for is 16'],
      [{ cacheDType: 'f16' }, 'cache dtype: kept of f32, asked for is f16'],
      [{ guidanceScale: 2 }, 'guidance scale: kept of null, asked for is 2'],
    ];
    for (const [change, message] of changes) {
      await expect(pipe({ ...request, ...change, resume })).rejects.toThrow(message);
    }
    const distilledModel = distilled();
    const opened = Magi1Pipeline.fromPretrained(distilledModel, { device, request: { ...request, resume } });
    await expect(opened).rejects.toThrow('what was kept is of another run; model: kept of');
    const narrowed = Magi1Pipeline.fromPretrained(TINY_MODEL, {
      device,
      dtype: 'bf16',
      request: { ...request, resume },
    });
    await expect(narrowed).rejects.toThrow('weights: kept of');
    const older = { ...resume, identity: { ...resume.identity, 'magi1 version': '0.0.1' } };
    await expect(pipe({ ...request, resume: older })).rejects.toThrow('magi1 version: kept of 0.0.1');
  });

  it('where it is damaged, cut, or no state at all', async () => {
    await using pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
    const request = { ...SMALL, prompt: 'a cat' };
    const { states } = await everyState(pipe, request);
    const bytes = await encodeRunState(states[5]!);
    for (const at of [bytes.length - 3, bytes.length >> 1]) {
      const damaged = bytes.slice();
      damaged[at]! ^= 4;
      await expect(decodeRunState(damaged, 'x.resume')).rejects.toThrow('x.resume: it is damaged');
    }
    await expect(decodeRunState(bytes.subarray(0, bytes.length - 1))).rejects.toThrow('not the whole state of a run');
    await expect(decodeRunState(new Uint8Array())).rejects.toThrow('not the whole state of a run');
    const weights = readFileSync(join(TINY_MODEL, 'magi', 'inference_weight', 'model.safetensors'));
    await expect(decodeRunState(weights)).rejects.toThrow('not the state of a run');
    const text = Buffer.from(bytes).toString('latin1').replace('"format":"1"', '"format":"9"');
    await expect(decodeRunState(Buffer.from(text, 'latin1'))).rejects.toThrow('format 1 expected, got 9');
    const lacking = { ...states[5]!, latents: new Map() };
    await expect(pipe({ ...request, resume: lacking })).rejects.toThrow('latents of chunk 0 are missing');
    await expect(pipe({ ...request, resume: { ...states[5]!, step: 99 } })).rejects.toThrow('it has no step 99');
    await expect(pipe({ ...request, resume: 5 as unknown as RunState })).rejects.toThrow(
      'resume: a state that onState',
    );
  });
});
