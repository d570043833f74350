// The text-to-video pipeline on the wasm device with the tiny model.
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import {
  Device,
  Magi1Pipeline,
  VERSION,
  formatBytes,
  inspectModel,
  readConfigFile,
  readEnvironment,
  readModelFolder,
} from '@magi1/core';
import type { Progress, TextToVideoRequest, VideoChunk } from '@magi1/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REPOSITORY, TINY_MODEL } from './support/cli.ts';
import { conformanceRoots } from './support/conformance.ts';
import { readSafetensors } from './support/safetensors-lite.ts';
import { TRANSFORMER_FILE, copyTinyModel, editConfig, editHeader, truncate } from './support/tiny-model.ts';

const BACKEND = 'wasm';
const SMALL = { prompt: 'a cat', height: 32, width: 32, numFrames: 24 } satisfies TextToVideoRequest;

let device: Device;
let pipe: Magi1Pipeline;
let loaded: number; // tensors of the networks

beforeAll(async () => {
  device = await Device.open({ backend: BACKEND });
  pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
  loaded = device.memory().tensors;
});
afterAll(async () => {
  await pipe.dispose();
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

/** Runs a stream to its end: its chunks and facts. */
async function drain(request: TextToVideoRequest, from = pipe) {
  const stream = from.stream(request);
  const chunks: VideoChunk[] = [];
  for (;;) {
    const next = await stream.next();
    if (next.done === true) return { chunks, facts: next.value };
    chunks.push(next.value);
  }
}

describe('a run', () => {
  it('gives frames and facts', async () => {
    const { frames, numFrames, width, height, fps, facts } = await pipe(SMALL);
    expect({ numFrames, width, height, fps }).toEqual({ numFrames: 24, width: 32, height: 32, fps: 24 });
    expect(frames).toHaveLength(24 * 32 * 32 * 3);
    expect(new Set(frames).size).toBeGreaterThan(50);
    expect(facts).toMatchObject({
      mode: 't2v',
      prompt: 'a cat',
      cleanedPrompt: 'a cat',
      settings: { seed: 1234, numInferenceSteps: 8, frames: 24, chunks: 1 },
      versions: { magi1: VERSION },
      device: { backend: BACKEND },
      chunkForwards: { run: 20, full: 24 },
    });
    expect(facts.peakDeviceBytes).toBeGreaterThan(6e6);
    expect(device.memory().tensors).toBe(loaded);
  });

  it('streams chunks in order, each as soon as it is decoded', async () => {
    const events: string[] = [];
    const request = { ...SMALL, numFrames: 72, onStep: (step: { index: number }) => events.push(`step ${step.index}`) };
    const whole = await pipe({ ...SMALL, numFrames: 72 });
    let chunks = 0;
    for await (const chunk of pipe.stream(request)) {
      expect(chunk).toMatchObject({ index: chunks, firstFrame: 24 * chunks, frameCount: 24, width: 32, height: 32 });
      const size = chunk.frames.length;
      expect(chunk.frames).toEqual(whole.frames.subarray(chunks * size, (chunks + 1) * size));
      events.push(`chunk ${chunk.index}`);
      chunks++;
    }
    // 3 chunks, window 4, 2 steps per stage: chunk i is finished by stage i + 3.
    expect(events.indexOf('chunk 0')).toBe(events.indexOf('step 7') + 1);
    expect(events.indexOf('chunk 1')).toBe(events.indexOf('step 9') + 1);
    expect(events.at(-1)).toBe('chunk 2');
  });

  it('depends on the seed alone', async () => {
    const again = await pipe({ ...SMALL, seed: 7 });
    expect((await pipe({ ...SMALL, seed: 7 })).frames).toEqual(again.frames);
    expect((await pipe({ ...SMALL, seed: 8 })).frames).not.toEqual(again.frames);
  });

  it('makes frames in whole chunks and says so beforehand', () => {
    expect(pipe.plan({ ...SMALL, numFrames: 25 }).settings).toMatchObject({ frames: 24, chunks: 1 });
    expect(pipe.plan({ ...SMALL, numFrames: 28 }).settings).toMatchObject({ frames: 48, chunks: 2 });
    expect(pipe.plan({ prompt: '' }).settings).toMatchObject({ height: 64, width: 64, frames: 48, seed: 1234 });
  });

  it('takes an empty prompt and cuts a long one', async () => {
    expect(await pipe.encodePrompt('')).toMatchObject({ cleaned: '', length: 1, truncated: false });
    const long = await pipe.encodePrompt('all the words there are '.repeat(400));
    expect(long).toMatchObject({ length: 800, truncated: true });
    expect((await pipe({ ...SMALL, prompt: '' })).facts.textTokens).toBe(1);
  });

  it('reports every stage to its end', async () => {
    const reports: Progress[] = [];
    const other = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device, onProgress: (p) => reports.push(p) });
    await other({ ...SMALL, onProgress: (progress) => reports.push(progress) });
    await other.dispose();
    for (const stage of ['loading', 'text', 'denoising', 'decoding']) {
      const fractions = reports.filter((report) => report.stage === stage).map(({ stageFraction }) => stageFraction);
      expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
      expect(fractions.at(-1)).toBeCloseTo(1, 6);
    }
    expect(
      reports.find(({ stage, stageFraction }) => stage === 'denoising' && stageFraction > 0)?.secondsLeft,
    ).toBeGreaterThan(0);
  });
});

describe('the original', () => {
  const { root, kind } = conformanceRoots();
  const cases = join(root, 'e2e', 'cases');
  // The repository's own fixtures hold the first of them.
  for (const name of kind === 'shared' ? ['t2v', 't2v_special_64x96', 't2v_tiled'] : ['t2v']) {
    it(`gives the same frames: ${name}`, { timeout: 600_000 }, async () => {
      const manifest = JSON.parse(readFileSync(join(cases, `${name}.manifest.json`), 'utf8')) as {
        prompt: string;
        env: Record<string, string>;
        config: {
          runtime_config: { video_size_h: number; video_size_w: number; num_steps: number; num_frames: number };
        };
      };
      const goldens = readSafetensors(join(cases, `${name}.safetensors`));
      const environment = readEnvironment(manifest.env);
      const { runtime_config: runtime } = manifest.config;
      const own = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device, environment });
      const result = await own({
        prompt: manifest.prompt,
        height: runtime.video_size_h,
        width: runtime.video_size_w,
        numFrames: runtime.num_frames,
        numInferenceSteps: runtime.num_steps,
        latents: goldens.get('noise')!.data as Float32Array,
      });
      await own.dispose();
      const expected = goldens.get('frames')!;
      const index = goldens.get('frame_index')?.data ?? new Int32Array(expected.shape[0]!).map((_, i) => i);
      const size = result.width * result.height * 3;
      expect(expected.shape.slice(1)).toEqual([result.height, result.width, 3]);
      let apart = 0;
      let most = 0;
      for (const [i, frame] of [...index].entries()) {
        for (let k = 0; k < size; k++) {
          const levels = Math.abs(result.frames[frame * size + k]! - (expected.data as Uint8Array)[i * size + k]!);
          if (levels > 0) apart++;
          most = Math.max(most, levels);
        }
      }
      expect(most).toBeLessThanOrEqual(1);
      expect(apart / expected.data.length).toBeLessThan(0.001);
    });
  }
});

describe('ending early', () => {
  it('frees everything when it is cancelled, and can run again', async () => {
    const controller = new AbortController();
    const request = {
      ...SMALL,
      numFrames: 48,
      signal: controller.signal,
      onStep: (step: { index: number }) => step.index === 5 && controller.abort(),
    };
    await expect(pipe(request as TextToVideoRequest)).rejects.toMatchObject({ name: 'AbortError' });
    expect(device.memory().tensors).toBe(loaded);
    expect((await pipe(SMALL)).numFrames).toBe(24);
  });

  it('keeps the finished chunks of a cancelled stream', async () => {
    const controller = new AbortController();
    const got: number[] = [];
    const run = async () => {
      for await (const chunk of pipe.stream({ ...SMALL, numFrames: 72, signal: controller.signal })) {
        got.push(chunk.index);
        controller.abort(new Error('enough'));
      }
    };
    await expect(run()).rejects.toThrow('enough');
    expect(got).toEqual([0]);
    expect(device.memory().tensors).toBe(loaded);
  });

  it('frees everything when the consumer stops', async () => {
    for await (const chunk of pipe.stream({ ...SMALL, numFrames: 48 })) {
      expect(chunk.index).toBe(0);
      break;
    }
    expect(device.memory().tensors).toBe(loaded);
  });

  it('does nothing when it is cancelled before', async () => {
    await expect(pipe({ ...SMALL, signal: AbortSignal.abort() })).rejects.toMatchObject({ name: 'AbortError' });
    const options = { device, signal: AbortSignal.abort() };
    await expect(Magi1Pipeline.fromPretrained(TINY_MODEL, options)).rejects.toMatchObject({ name: 'AbortError' });
    expect(device.memory().tensors).toBe(loaded);
  });

  it('refuses a second run meanwhile', async () => {
    const first = pipe.stream(SMALL);
    const pending = first.next();
    await expect(pipe(SMALL)).rejects.toThrow('a run is under way');
    await pending;
    await first.return(undefined as never);
  });
});

describe('memory', () => {
  it('does not grow with the length of the video', { timeout: 300_000 }, async () => {
    const peaks: number[] = [];
    for (const chunks of [8, 16]) {
      const { facts } = await drain({ ...SMALL, numFrames: 24 * chunks, numInferenceSteps: 4 });
      expect(facts.settings.chunks).toBe(chunks);
      peaks.push(facts.peakDeviceBytes);
    }
    expect(Math.abs(peaks[1]! / peaks[0]! - 1)).toBeLessThan(0.01);
  });

  it('stays within what was estimated beforehand', async () => {
    const request = { ...SMALL, height: 64, width: 64, numFrames: 48, prompt: 'a long way to go '.repeat(300) };
    const memory = await pipe.planMemory(request);
    const { facts } = await drain(request);
    expect(facts.peakDeviceBytes).toBeLessThan(memory.peaks.none);
    expect(facts.peakDeviceBytes).toBeGreaterThan(memory.peaks.none / 2);
  });

  it('of the denoiser is estimated closely, and a block frees what its next step does not need', async () => {
    const prompt = 'a long way to go '.repeat(300);
    const request = { ...SMALL, prompt, height: 96, width: 96, numFrames: 120, outputType: 'latents' as const };
    const memory = await pipe.planMemory(request);
    const { facts } = await pipe(request);
    const weights = memory.weights.textEncoder + memory.weights.transformer + memory.weights.vae;
    const estimate = memory.keyValueCache + memory.denoising;
    expect(facts.peakDeviceBytes - weights).toBeLessThan(estimate);
    expect(facts.peakDeviceBytes - weights).toBeGreaterThan(0.8 * estimate);
  });

  it('frees the text encoder where the budget asks for it', async () => {
    const memory = await pipe.planMemory(SMALL);
    const memoryBudget = (memory.peaks.none + memory.peaks.text) / 2;
    const staged = await Magi1Pipeline.fromPretrained(TINY_MODEL, {
      device: { backend: BACKEND, memoryBudget },
      request: SMALL,
    });
    expect(staged.device.memory().tensors).toBe(0);
    const [ours, full] = [await staged(SMALL), await pipe(SMALL)];
    expect(ours.frames).toEqual(full.frames);
    expect(ours.facts.peakDeviceBytes).toBeLessThan(full.facts.peakDeviceBytes);
    expect((await staged(SMALL)).frames).toEqual(full.frames);
    await staged.dispose();
  });

  it('frees the text encoder where the environment asks for it', async () => {
    const environment = readEnvironment({ OFFLOAD_T5_CACHE: 'true' });
    const own = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device: { backend: BACKEND }, environment });
    expect((await own(SMALL)).facts.peakDeviceBytes).toBeLessThan((await pipe(SMALL)).facts.peakDeviceBytes);
    await own.dispose();
  });

  it('refuses a budget that cannot hold the run before anything is loaded', async () => {
    const small = await Device.open({ backend: BACKEND, memoryBudget: 5e6 });
    const opening = Magi1Pipeline.fromPretrained(TINY_MODEL, { device: small });
    await expect(opening).rejects.toThrow(/memory budget of 4\.76 MiB: this run needs about .* raise memoryBudget to/);
    expect(small.memory().peak).toBe(0);
    await small.dispose();
  });
});

describe('bad requests', () => {
  const bad: [Record<string, unknown>, RegExp][] = [
    [{ prompt: 5 }, /prompt: text expected, got 5/],
    [{ prompt: undefined }, /prompt: text expected, got nothing/],
    [{ height: 100 }, /height: a multiple of 16 expected .* got 100; nearest valid: 96 and 112/],
    [{ height: 0 }, /height: a whole number above 0 expected, got 0/],
    [{ width: -32 }, /width: a whole number above 0 expected, got -32/],
    [{ width: 16 }, /a side of one patch/],
    [{ width: '32' }, /width: a whole number above 0 expected, got "32"/],
    [{ numFrames: 0 }, /numFrames: a whole number above 0 expected, got 0/],
    [{ numFrames: 3 }, /numFrames: a whole number from 4 up expected, got 3/],
    [{ numInferenceSteps: 50 }, /numInferenceSteps: 50 does not divide .* nearest valid: 48 and 52/],
    [{ numInferenceSteps: 0 }, /numInferenceSteps: a whole number above 0/],
    [{ seed: 1.5 }, /seed: a whole number expected, got 1.5/],
    [{ latents: new Float32Array(3) }, /latents: 1536 values expected, \[1, 16, 6, 4, 4\], got 3/],
    [{ specialTokens: { loud: true } }, /specialTokens: an object of static, /],
    [{ guidance: 3 }, /unknown option guidance/],
    [{ signal: 'now' }, /signal: an AbortSignal expected/],
  ];
  for (const [change, message] of bad) {
    it(`${JSON.stringify(change)} is refused`, async () => {
      const request = { ...SMALL, ...change } as unknown as TextToVideoRequest;
      await expect(pipe(request)).rejects.toThrow(message);
      await expect(Magi1Pipeline.fromPretrained(TINY_MODEL, { device, request })).rejects.toThrow(message);
      expect(device.memory().tensors).toBe(loaded);
    });
  }
});

describe('bad model folders', () => {
  const weights = (folder: string) => join(folder, TRANSFORMER_FILE);
  const bad: [what: string, (folder: string) => void, RegExp][] = [
    [
      'no config',
      (folder) => rmSync(join(folder, 'config.json')),
      /model folder .*: holds no model, neither config\.json .* nor model_index\.json .* name the folder that has/,
    ],
    ['a broken config', (folder) => writeFileSync(join(folder, 'config.json'), '{'), /is not valid JSON/],
    [
      'a trained.json that says something else',
      (folder) => writeFileSync(join(folder, 'trained.json'), '{ "knows": "a", "height": 64, "width": 0.5 }'),
      /trained\.json: width: .*; numFrames: /,
    ],
    [
      'no weights',
      (folder) => rmSync(join(folder, 'magi'), { recursive: true }),
      /do not exist: runtime_config\.load: .*inference_weight/,
    ],
    [
      'a missing tensor',
      (folder) =>
        editHeader(
          weights(folder),
          (header) => (header['rope.other'] = header['rope.bands']!) && delete header['rope.bands'],
        ),
      /rope\.bands is missing; rope\.other is not a weight of this model/,
    ],
    [
      'a wrong shape',
      (folder) => editHeader(weights(folder), (header) => header['rope.bands']!.shape.push(1)),
      /rope\.bands must be \[2\], got \[2,1\]/,
    ],
    [
      'a wrong config',
      (folder) => editConfig(folder, (config) => (config.model_config!.num_layers = 4)),
      /num_layers is 4, the files have 3/,
    ],
    [
      'extra tensors',
      (folder) => editConfig(folder, (config) => (config.model_config!.num_layers = 2)),
      /num_layers is 2, the files have 3/,
    ],
    ['a truncated file', (folder) => truncate(weights(folder), 1_000_000), /model\.safetensors/],
    ['an empty file', (folder) => truncate(weights(folder), 0), /model\.safetensors/],
    [
      'a wrong kind',
      (folder) => editConfig(folder, (config) => (config.runtime_config!.cfg_number = 1)),
      /set cfg_number to 3/,
    ],
    [
      'fp8',
      (folder) =>
        editConfig(folder, (config) => {
          config.engine_config!.fp8_quant = true;
          config.runtime_config!.cfg_number = 1;
        }),
      /inference_weight\.fp8/,
    ],
    [
      'no tokenizer',
      (folder) => {
        rmSync(join(folder, 't5', 't5-v1_1-xxl', 'spiece.model'));
        rmSync(join(folder, 't5', 't5-v1_1-xxl', 'tokenizer.json'));
      },
      /expected tokenizer\.json or spiece\.model/,
    ],
    [
      'a lost shard',
      (folder) => rmSync(join(folder, 't5', 't5-v1_1-xxl', 'pytorch_model-00002-of-00002.bin')),
      /shard .* is missing/,
    ],
    [
      'another VAE',
      (folder) => writeFileSync(join(folder, 'vae', 'config.json'), '{"_class_name":"AutoencoderKL"}'),
      /expected a ViTVAE config/,
    ],
  ];
  for (const [what, damage, message] of bad) {
    it(`${what} is named`, async () => {
      const folder = copyTinyModel();
      damage(folder);
      await expect(Magi1Pipeline.fromPretrained(folder, { device })).rejects.toThrow(message);
      expect(device.memory().tensors).toBe(loaded);
    });
  }

  it('names the faults of all parts at once', async () => {
    const folder = copyTinyModel();
    truncate(weights(folder), 100);
    rmSync(join(folder, 'vae', 'config.json'));
    const message = await Magi1Pipeline.fromPretrained(folder, { device }).then(
      () => '',
      (error: unknown) => (error as Error).message,
    );
    expect(message).toContain('model.safetensors');
    expect(message).toContain('vae/config.json');
  });

  it('misses the special tokens only when a switch is on', async () => {
    const folder = copyTinyModel();
    rmSync(join(folder, 'special_tokens.npz'));
    const without = await Magi1Pipeline.fromPretrained(folder, { device });
    await without.dispose();
    const environment = readEnvironment({ PAD_HQ: '1' });
    await expect(Magi1Pipeline.fromPretrained(folder, { device, environment })).rejects.toThrow(/special_tokens\.npz/);
    const elsewhere = readEnvironment({ PAD_HQ: '1', SPECIAL_TOKEN_PATH: join(TINY_MODEL, 'special_tokens.npz') });
    const found = await Magi1Pipeline.fromPretrained(folder, { device, environment: elsewhere });
    await found.dispose();
  });
});

describe('a model folder', () => {
  it('is summed up without loading', async () => {
    const { parts, settings, fit } = await inspectModel(await readModelFolder(TINY_MODEL), device);
    expect(parts.map(({ name, tensors }) => [name, tensors])).toEqual([
      ['text encoder', 30],
      ['transformer', 92],
      ['vae', 36],
    ]);
    expect(parts[1]).toMatchObject({ parameters: 1706818, dtypes: { f32: 25410, bf16: 1681408 } });
    expect(settings).toMatchObject({ width: 64, height: 64, frames: 48, numInferenceSteps: 8 });
    expect(fit.need!.peaks.none).toBeGreaterThan(fit.need!.peaks.text);
  });

  it('may be named by a config file in its folder', async () => {
    const folder = copyTinyModel();
    cpSync(join(TINY_MODEL, 'configs', 't2v.json'), join(folder, 'other.json'));
    const environment = readEnvironment({});
    const { folders, tokenFolders } = await readConfigFile(join(folder, 'other.json'), { environment });
    expect(folders.transformer.name).toBe(join(folder, 'magi', 'inference_weight'));
    expect(folders.vae.name).toBe(join(folder, 'vae'));
    expect(tokenFolders[0]!.name).toBe(folder);
  });
});

it('formats bytes for people', () => {
  expect([512, 2048, 1.5 * 2 ** 30].map(formatBytes)).toEqual(['512 bytes', '2.00 KiB', '1.50 GiB']);
});

it('has the version of its package', () => {
  const manifest = JSON.parse(readFileSync(join(REPOSITORY, 'packages', 'magi1', 'package.json'), 'utf8')) as object;
  expect(manifest).toMatchObject({ version: VERSION });
});
