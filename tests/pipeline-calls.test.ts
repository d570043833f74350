// Calls of a pipeline beside and after one another: networks are loaded once, runs are left alone, disposal is said.
import { nodeFolder, writeSafetensors } from '@magi1/loaders';
import type { Folder } from '@magi1/loaders';
import { Device, Magi1Pipeline, POCKET_MODEL, RequestError, readEnvironment } from '@magi1/core';
import { seededNoise } from '@magi1/core/model';
import type { EncodedPrompt, Latents, Progress, TextToVideoOptions, TextToVideoRequest } from '@magi1/core';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { temporaryFolder } from './support/tiny-model.ts';

const RUN = { prompt: 'a red circle', numFrames: 48 } satisfies TextToVideoRequest;
const STAGED = readEnvironment({ OFFLOAD_T5_CACHE: 'true' });

/** A pipeline on a device of its own, where nothing may be left when both are done. */
async function withPipeline(
  options: Partial<TextToVideoOptions>,
  use: (pipe: Magi1Pipeline, device: Device) => Promise<void>,
): Promise<void> {
  const device = await Device.open({ backend: 'wasm' });
  const pipe = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device, ...options });
  try {
    await use(pipe, device);
  } finally {
    await pipe.dispose();
    expect(device.memory().tensors).toBe(0);
    await device.dispose();
  }
}

const latents: Latents = { values: new Float32Array(16 * 6 * 4 * 4), latentFrames: 6, height: 4, width: 4 };

describe('networks that are not loaded', () => {
  it('are loaded once by calls at the same time', async () => {
    await withPipeline({ environment: STAGED }, async (pipe, device) => {
      await Promise.all(['a', 'b', 'c'].map((prompt) => pipe.encodePrompt(prompt)));
      const one = device.memory().tensors;
      await pipe.encodePrompt('d');
      expect(device.memory().tensors).toBe(one);
      await Promise.all([pipe.decodeLatents(latents), pipe.decodeLatents(latents)]);
      const vae = device.memory().tensors;
      const { weights } = await pipe.planMemory(RUN);
      expect(device.memory().inUse).toBeLessThan(1.1 * weights.vae); // neither of the others is there
      await pipe.decodeLatents(latents);
      expect(device.memory().tensors).toBe(vae);
    });
  });

  it('wait for one another where memory is short', async () => {
    await withPipeline({ environment: STAGED }, async (pipe) => {
      const alone = [await pipe.encodePrompt('a red circle'), await pipe.decodeLatents(latents)] as const;
      const mixed = await Promise.all([
        pipe.encodePrompt('a red circle'),
        pipe.decodeLatents(latents),
        pipe.encodePrompt('a red circle'),
        pipe.decodeLatents(latents),
        pipe(RUN),
      ]);
      expect([mixed[0], mixed[2]]).toEqual([alone[0], alone[0]]);
      expect([mixed[1], mixed[3]]).toEqual([alone[1], alone[1]]);
      expect(mixed[4].frames).toEqual((await pipe(RUN)).frames);
    });
  });

  it('are loaded by the second where the first is cancelled', async () => {
    await withPipeline({ environment: STAGED }, async (pipe) => {
      const controller = new AbortController();
      let second: Promise<EncodedPrompt> | undefined;
      const onProgress = () => {
        second ??= pipe.encodePrompt('a');
        controller.abort(new Error('enough'));
      };
      await expect(pipe.encodePrompt('a', { signal: controller.signal, onProgress })).rejects.toThrow('enough');
      expect((await second!).length).toBeGreaterThan(0);
    });
  });
});

describe('a run', () => {
  it('is not harmed by a prompt that is encoded in the middle', async () => {
    await withPipeline({ environment: STAGED }, async (pipe) => {
      const plain = await pipe(RUN);
      const refusals: unknown[] = [];
      const onStep = () => pipe.encodePrompt('a blue star').catch((error: unknown) => refusals.push(error));
      const frames: Uint8Array[] = [];
      for await (const chunk of pipe.stream({ ...RUN, onStep })) {
        frames.push(chunk.frames);
        await onStep();
        expect((await pipe.decodeLatents(latents)).frameCount).toBe(24);
      }
      expect(Buffer.compare(Buffer.concat(frames), Buffer.from(plain.frames))).toBe(0);
      expect(refusals.length).toBeGreaterThan(10);
      for (const refusal of refusals)
        expect(String(refusal)).toMatch(/a run is under way, and memory is short: .* encode prompts before the run/);
    });
  });

  it('and a prompt in its middle go together where memory is not short', async () => {
    await withPipeline({}, async (pipe) => {
      const plain = await pipe(RUN);
      let encoded = 0;
      const onStep = async () => {
        encoded += (await pipe.encodePrompt('a blue star')).length;
      };
      expect((await pipe({ ...RUN, onStep })).frames).toEqual(plain.frames);
      expect(encoded).toBeGreaterThan(10);
    });
  });

  it('keeps the LoRAs that it began with', async () => {
    const file = join(temporaryFolder(), 'style.safetensors');
    const factor = (seed: number, ...shape: [number, number]) =>
      ({ dtype: 'f32', shape, data: seededNoise(seed, shape[0] * shape[1], 0) }) as const;
    const name = 'transformer.blocks.1.attn1.to_q';
    const factors = [
      [`${name}.lora_A.weight`, factor(1, 4, 192)],
      [`${name}.lora_B.weight`, factor(2, 192, 4)],
    ] as const;
    await writeSafetensors(file, new Map(factors));
    await withPipeline({ loras: [{ source: file, name: 'style' }] }, async (pipe) => {
      const whole = await pipe(RUN);
      for (const stage of ['text', 'denoising']) {
        let changed = false;
        const onProgress = (progress: Progress) => {
          if (changed || progress.stage !== stage) return;
          changed = true;
          pipe.setLoras({});
        };
        const run = await pipe({ ...RUN, onProgress });
        expect(changed).toBe(true);
        expect(run.frames).toEqual(whole.frames);
        expect(run.facts.loras).toMatchObject([{ name: 'style', weight: 1 }]);
        expect((await pipe(RUN)).facts.loras).toMatchObject([{ name: 'style', weight: 0 }]);
        pipe.setLoras({ style: 1 });
      }
      pipe.setLoras({ style: 1e38 });
      await expect(pipe({ ...RUN, attentionKwargs: { scale: 1000 } })).rejects.toThrow(
        /LoRA style: its weight 1e\+38 times the scale 1000 must be a finite number/,
      );
    });
  });
});

describe('a run that is prepared', () => {
  it('says what it will make, and is taken wherever a request is', async () => {
    await withPipeline({}, async (pipe) => {
      const run = await pipe.prepare({ ...RUN, outputType: 'float' });
      expect(Object.isFrozen(run)).toBe(true);
      expect(run).toMatchObject({
        settings: { frames: 48, chunks: 2, width: 64 },
        videos: 1,
        clip: null,
        pictures: null,
      });
      expect(pipe.plan(run)).toMatchObject({ settings: run.settings });
      const { frames, facts } = await pipe(run);
      expect(facts.settings).toBe(run.settings);
      expect(frames).toEqual((await pipe({ ...RUN, outputType: 'float' })).frames);
      for await (const video of pipe.batch(run)) expect(video.frames).toEqual(frames);
    });
  });

  it('is that of the first request, whose later changes do not count', async () => {
    const request = { ...RUN, seed: 3 };
    await withPipeline({ request }, async (pipe) => {
      request.seed = 4;
      const { facts } = await pipe(pipe.firstRun!);
      expect(facts.settings.seed).toBe(3);
    });
  });

  it('ends by a signal of the call as well as by its own', async () => {
    await withPipeline({}, async (pipe) => {
      const run = await pipe.prepare(RUN);
      for (const part of [run, run.settings, run.sampling, run.sampling.steps, run.sampling.steps[0]!, run.texts])
        expect(Object.isFrozen(part)).toBe(true);
      expect(Object.isFrozen(pipe.plan(RUN).settings)).toBe(true);
      const stopped = pipe.stream(run, { signal: AbortSignal.abort(new Error('full')) });
      await expect(stopped.next()).rejects.toThrow('full');
      expect((await pipe(run)).numFrames).toBe(48);
    });
  });

  it('belongs to its pipeline, and is one video', async () => {
    await withPipeline({}, async (pipe, device) => {
      const other = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
      await expect(other(await pipe.prepare(RUN))).rejects.toThrow(/prepared by another pipeline/);
      await other.dispose();
      const two = await pipe.prepare({ ...RUN, numVideosPerPrompt: 2 });
      await expect(pipe(two)).rejects.toThrow(/2 videos are asked for/);
      const seeds = [];
      for await (const { facts } of pipe.batch(two)) seeds.push(facts.settings.seed);
      expect(seeds).toEqual([two.settings.seed, two.settings.seed + 1]);
    });
  });
});

describe('listeners that return promises', () => {
  const late = () => new Promise((_, reject) => setTimeout(reject, 1, new Error('the disk is full')));

  it.each(['onStep', 'callbackOnStepEnd', 'onChunk', 'onProgress'])('end the run when %s rejects', async (name) => {
    await withPipeline({}, async (pipe) => {
      const request = { ...RUN, [name]: late };
      await expect(pipe(request)).rejects.toThrow('the disk is full');
      expect((await pipe(RUN)).numFrames).toBe(48);
    });
  });

  it('end the run when the very last report is rejected, and the opening of a pipeline', async () => {
    await withPipeline({}, async (pipe, device) => {
      const onProgress = async ({ fraction }: Progress) => {
        if (fraction === 1) await late();
      };
      await expect(pipe({ ...RUN, onProgress })).rejects.toThrow('the disk is full');
      const before = device.memory().tensors;
      await expect(Magi1Pipeline.fromPretrained(POCKET_MODEL, { device, onProgress })).rejects.toThrow('disk is full');
      expect(device.memory().tensors).toBe(before);
    });
  });

  it('of steps are awaited, with tensors that can be read', async () => {
    await withPipeline({}, async (pipe) => {
      const read: number[] = [];
      await pipe({
        ...RUN,
        onStep: async (_, { latents: views }) => {
          for (const view of views.values()) read.push((await view.toFloat32()).length);
        },
      });
      expect(new Set(read)).toEqual(new Set([16 * 6 * 8 * 8]));
    });
  });
});

describe('a pipeline that is disposed', () => {
  const message = 'the pipeline was disposed';

  it.each(['step', 'chunk', 'loading', 'text'])('ends what is under way: %s', async (where) => {
    const environment = where === 'loading' ? { environment: STAGED } : {};
    await withPipeline(environment, async (pipe, device) => {
      const dispose = () => pipe.dispose();
      const request: TextToVideoRequest = {
        ...RUN,
        ...(where === 'step' ? { onStep: dispose } : {}),
        ...(where === 'chunk' ? { onChunk: dispose } : {}),
        onProgress: ({ stage }) => (stage === where ? dispose() : undefined),
      };
      await expect(pipe(request)).rejects.toThrow(message);
      expect(device.memory().tensors).toBe(0);
    });
  });

  it('neither plans nor prepares', async () => {
    await withPipeline({}, async (pipe) => {
      await pipe.dispose();
      expect(() => pipe.plan(RUN)).toThrow(message);
      await expect(pipe.planMemory(RUN)).rejects.toThrow(message);
      await expect(pipe.prepare(RUN)).rejects.toThrow(message);
    });
  });

  it('ends a stream whose chunk is in hand, asked for more or not', async () => {
    await withPipeline({}, async (pipe, device) => {
      const stream = pipe.stream(RUN);
      await stream.next();
      await pipe.dispose();
      expect(device.memory().tensors).toBe(0);
      await expect(stream.next()).rejects.toThrow(message);
    });
  });

  it('says so with its own device as well', async () => {
    const pipe = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device: { backend: 'wasm' } });
    await expect(pipe({ ...RUN, onStep: () => pipe.dispose() })).rejects.toThrow(message);
    await pipe.dispose();
  });

  it('refuses every call, and loads nothing again', async () => {
    await withPipeline({}, async (pipe, device) => {
      await pipe.dispose();
      const frames = { data: new Uint8Array(32 * 32 * 3), frameCount: 1, width: 32, height: 32 };
      const calls: [string, () => unknown][] = [
        ['call', () => pipe(RUN)],
        ['stream', () => pipe.stream(RUN).next()],
        ['batch', () => pipe.batch(RUN).next()],
        ['encodePrompt', () => pipe.encodePrompt('a')],
        ['encodeFrames', () => pipe.encodeFrames(frames)],
        ['decodeLatents', () => pipe.decodeLatents(latents)],
        ['loadLora', () => pipe.loadLora('x.safetensors')],
        ['setLoras', () => pipe.setLoras({})],
        ['unloadLora', () => pipe.unloadLora()],
        ['fuseLora', () => pipe.fuseLora()],
        ['unfuseLora', () => pipe.unfuseLora()],
      ];
      for (const [name, call] of calls) await expect(Promise.resolve().then(call), name).rejects.toThrow(message);
      expect(device.memory().tensors).toBe(0);
    });
  });
});

describe('bad input is refused before any work', () => {
  it('by calls beside runs', async () => {
    await withPipeline({ environment: STAGED }, async (pipe, device) => {
      const bad: [() => unknown, RegExp][] = [
        [() => pipe.encodePrompt(undefined as never), /prompt: text expected, got nothing/],
        [() => pipe.encodePrompt(['a'] as never), /prompt: text expected, got an array/],
        [() => pipe.encodePrompt('a', null as never), /encodePrompt: an object of options expected, got null/],
        [() => pipe.encodePrompt('a', { maxSequenceLength: 1e9 }), /maxSequenceLength: a whole number from 1 to 128/],
        [() => pipe.encodePrompt('a', { signal: 5 } as never), /signal: an AbortSignal expected/],
        [() => pipe.encodePrompt('a', { length: 5 } as never), /unknown option length/],
        [() => pipe.decodeLatents(undefined as never), /decodeLatents: .* expected, got nothing/],
        [() => pipe.decodeLatents({ ...latents, values: [1] } as never), /decodeLatents: \{ values: Float32Array/],
        [() => pipe.decodeLatents(latents, { onProgress: 1 } as never), /onProgress: a function expected/],
        [() => pipe.encodeFrames(undefined as never), /encodeFrames: decoded frames expected, got nothing/],
        [() => pipe.setLoras(undefined as never), /setLoras: an object of names to weights expected, got nothing/],
        [() => pipe.loadLora(null as never), /a path, URL or Folder .* expected, got null/],
        [() => pipe.loadLora('x', [] as never), /loadLora: an object of options expected, got an array/],
        [() => pipe.encodePrompt('a', [] as never), /encodePrompt: an object of options expected, got an array/],
        [() => pipe.setLoras([] as never), /setLoras: an object of names to weights expected, got an array/],
        [() => pipe.setLoras(new Map() as never), /setLoras: an object of names to weights expected, got a Map/],
        [() => pipe.fuseLora(new Date(0) as never), /fuseLora: an object of options expected, got a Date/],
        [() => pipe.loadLora('x', null as never), /loadLora: an object of options expected, got null/],
        [() => pipe.unloadLora(1n as never), /the name of a LoRA expected, got a bigint/],
        [() => pipe.fuseLora(null as never), /fuseLora: an object of options expected, got null/],
        [() => pipe.fuseLora({ names: 'a' } as never), /fuseLora: names: a list expected, got "a"/],
        [
          () => pipe.stream(RUN, { signal: {} } as never).next(),
          /stream: signal: an AbortSignal expected, got an object/,
        ],
        [() => pipe.stream(RUN, null as never).next(), /stream: an object of options expected, got null/],
        [() => pipe.stream(RUN, [] as never).next(), /stream: an object of options expected, got an array/],
        [() => pipe.unloadLora([] as never), /the name of a LoRA expected, got an array/],
        [() => pipe(undefined as never), /request: an object of options expected, got nothing/],
      ];
      for (const [call, message] of bad) await expect(Promise.resolve().then(call)).rejects.toThrow(message);
      const requests: [call: () => unknown, message: RegExp, options: string[]][] = [
        ...[undefined, null, 5, [], new Map(), new Date(0)].map((request): (typeof requests)[number] => [
          () => pipe.plan(request as never),
          /^request: an object of options expected, got /,
          [],
        ]),
        [
          () => pipe.plan({ ...RUN, specialTokens: [] as never }),
          /^specialTokens: .* got an array$/,
          ['specialTokens'],
        ],
        [
          () => pipe.plan({ ...RUN, attentionKwargs: [] as never }),
          /^attentionKwargs: .* got an array$/,
          ['attentionKwargs'],
        ],
        [
          () => pipe({ ...RUN, numVideosPerPrompt: 2 }),
          /^numVideosPerPrompt: 2 videos are asked for; .* from batch\(\)$/,
          ['numVideosPerPrompt'],
        ],
        [
          () => pipe({ ...RUN, prompt: ['a', 'b'], numVideosPerPrompt: 2 }),
          /^prompt and numVideosPerPrompt: 4 videos are asked for/,
          ['prompt', 'numVideosPerPrompt'],
        ],
      ];
      for (const [call, message, options] of requests) {
        const error = await Promise.resolve()
          .then(call)
          .catch((reason: unknown) => reason);
        expect(error).toBeInstanceOf(RequestError);
        expect(error).toMatchObject({ message: expect.stringMatching(message) as unknown, options });
      }
      expect(device.memory()).toMatchObject({ tensors: 0, peak: 0 });
    });
  });

  const options: [options: unknown, message: RegExp][] = [
    [null, /options: an object expected, got null/],
    [[], /options: an object expected, got an array/],
    [new Map(), /options: an object expected, got a Map/],
    [{ dtype: [] }, /dtype: f32, f16, bf16, q8 or q4 expected, got an array/],
    [{ request: [] }, /request: an object of options expected, got an array/],
    [{ memoryBudget: 5 }, /unknown option memoryBudget \(known: device, dtype, offload, loras, environment, request/],
    [{ device: null }, /device: an open device, or an object .* expected, got null/],
    [{ device: 'wasm' }, /device: an open device, .* got "wasm"/],
    [{ signal: true }, /signal: an AbortSignal expected, got true/],
    [{ onProgress: 'x' }, /onProgress: a function expected/],
    [{ request: 'a cat' }, /request: an object of options expected, got "a cat"/],
    [{ environment: {} }, /environment: what readEnvironment gives expected/],

    [{ dtype: 'f64' }, /dtype: f32, f16, bf16, q8 or q4 expected, got "f64"/],
    [{ dtype: { transformer: {} } }, /dtype: transformer: f32, f16, bf16, q8 or q4 expected, got an object/],
    [{ dtype: { unet: 'f16' } }, /dtype: unknown option unet/],
    [{ loras: 'x' }, /loras: a list expected/],
    [{ loras: [{ path: 'x' }] }, /loras\[0\]: source: a path, URL, Folder or bytes expected, got nothing/],
    [{ loras: [{ source: 'x', scale: 2 }] }, /loras\[0\]: unknown option scale/],
  ];
  it.each(options)('by fromPretrained: %j', async (given, message) => {
    await expect(Magi1Pipeline.fromPretrained(POCKET_MODEL, given as never)).rejects.toThrow(message);
    await expect(Magi1Pipeline.fromConfigFile('config.json', given as never)).rejects.toThrow(message);
  });

  it('by fromPretrained without a folder', async () => {
    await expect(Magi1Pipeline.fromPretrained('')).rejects.toThrow(/a path expected, got ""/);
    for (const folder of [undefined, 5, [], { name: 'x' }])
      await expect(Magi1Pipeline.fromPretrained(folder as never)).rejects.toThrow(
        /^a path, URL or Folder \(name, list, open, at\) expected, got /,
      );
  });

  it('by fromPretrained with a Folder that gives something else', async () => {
    const folder: Folder = { ...nodeFolder(POCKET_MODEL), name: 'mine' };
    await expect(Magi1Pipeline.fromPretrained({ ...folder, list: () => 5 as never })).rejects.toThrow(
      /^mine: list\(\) of a Folder must give a list of names, got 5$/,
    );
    await expect(Magi1Pipeline.fromPretrained({ ...folder, open: () => 5 as never })).rejects.toThrow(
      /^mine: open\("config\.json"\) of a Folder must give a ByteSource, got 5$/,
    );
  });

  it('where special tokens are switched on and the model has none', async () => {
    await withPipeline({ environment: STAGED }, async (pipe, device) => {
      const refusal =
        /^useHqToken, useDuration: this model has no table of special tokens \(.*special_tokens\.npz: there is no such file\); leave them out, or name/;
      const request = { ...RUN, useHqToken: true, useDuration: true };
      const error = await pipe(request).catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(RequestError);
      expect((error as RequestError).message).toMatch(refusal);
      expect(device.memory().peak).toBe(0);
      await expect(Magi1Pipeline.fromPretrained(POCKET_MODEL, { device, request })).rejects.toThrow(refusal);
      const environment = readEnvironment({ PAD_HQ: '1' });
      await expect(Magi1Pipeline.fromPretrained(POCKET_MODEL, { device, environment })).rejects.toThrow(
        /^PAD_HQ: this model has no table of special tokens .* leave it out/,
      );
    });
  });
});

describe('progress', () => {
  it.each([false, true])('of the whole only rises, to 1; staged: %s', async (staged) => {
    await withPipeline(staged ? { environment: STAGED } : {}, async (pipe) => {
      const reports: Progress[] = [];
      await pipe({ ...RUN, numFrames: 96, onProgress: (progress) => void reports.push(progress) });
      const fractions = reports.map(({ fraction }) => fraction);
      expect(fractions).toEqual(fractions.toSorted((a, b) => a - b));
      expect(fractions[0]).toBeGreaterThanOrEqual(0);
      expect(fractions.at(-1)).toBe(1);
      const stages = [...new Set(reports.map(({ stage }) => stage))];
      expect(stages).toEqual([...(staged ? ['loading'] : []), 'text', 'denoising', 'decoding']);
      for (const stage of stages) {
        const own = reports.filter((report) => report.stage === stage).map(({ stageFraction }) => stageFraction);
        expect(own).toEqual(own.toSorted((a, b) => a - b));
        expect(own.at(-1)).toBeCloseTo(1, 6);
      }
      const denoised = reports.filter(({ stage }) => stage === 'denoising').map(({ detail }) => detail);
      expect(denoised[0]).toBe('chunk 1 of 4');
      expect(denoised).toContain('chunks 1 to 4 of 4');
      expect(denoised.at(-1)).toBe('chunk 4 of 4');
    });
  });
});

it("the process's peak stands beside the device's", async () => {
  await withPipeline({}, async (pipe) => {
    const { facts } = await pipe(RUN);
    expect(facts.peakProcessBytes).toBeGreaterThan(facts.peakDeviceBytes);
  });
});
