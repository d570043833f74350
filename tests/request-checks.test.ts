// Requests that are refused before any work, or noted: prompts of chunks, numbers that no plan can hold, names as users
// type them, words that a small model never saw.
import { cpSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Device, Magi1Pipeline, Magi1VideoToVideoPipeline, POCKET_MODEL, RequestError } from '@magi1/core';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { REPOSITORY, TINY_MODEL, runCli } from './support/cli.ts';
import { copyTinyModel, editConfig, temporaryFolder } from './support/tiny-model.ts';

let device: Device;
let pipe: Magi1Pipeline;
let loaded: number;

beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
  pipe = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
  loaded = device.memory().tensors;
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(loaded);
  await pipe.dispose();
  await device.dispose();
});

const refusal = (request: object): RequestError => {
  try {
    pipe.plan({ prompt: 'a red circle', ...request });
  } catch (error) {
    if (error instanceof RequestError) return error;
    throw error;
  }
  throw new Error(`${JSON.stringify(request)} was accepted`);
};

describe('a prompt for a chunk', () => {
  const at = (...seconds: number[]) => ({
    numFrames: 72,
    chunkPrompts: seconds.map((second) => ({ second, prompt: 'a blue star' })),
  });

  it.each([0, 0.001, 0.5, 0.95])('of the first one is refused where there is a prompt: second %d', (second) => {
    const message = refusal(at(second)).message;
    expect(message).toMatch(/^chunkPrompts\[0\]: second \S+ lies in the first chunk, which prompt describes/);
    expect(message).toMatch(/the first that another prompt can have starts at second 1 \(chunk 1\)$/);
  });

  it('of the first one is refused beside embeddings, by its number, and where there is no second chunk', () => {
    const promptEmbeds = { rows: new Float32Array(64), length: 1 };
    expect(refusal({ prompt: undefined, promptEmbeds, ...at(0.5) }).message).toContain('which promptEmbeds describes');
    const first = { chunkPrompts: [{ chunk: 0, prompt: 'x' }] };
    expect(refusal({ ...first, numFrames: 48 }).message).toContain('chunk 0 lies in the first chunk');
    expect(refusal({ ...first, numFrames: 24 }).message).toMatch(/the video has no other; more frames are needed/);
  });

  it('stands for the prompt where there is none, and the first second that is named is accepted', () => {
    expect(pipe.plan({ ...at(0, 1), prompt: undefined }).settings.chunks).toBe(3);
    expect(pipe.plan({ prompt: 'a red circle', ...at(1) }).notes).toEqual([]);
  });

  it('is refused beside another one for the same chunk, and past the end', () => {
    expect(refusal(at(1, 1.5)).message).toBe(
      'chunkPrompts[0] and chunkPrompts[1]: both start with chunk 1; chunks start at 0, 1, 2 s',
    );
    expect(refusal({ ...at(0, 0.5), prompt: undefined }).message).toContain('both start with chunk 0');
    for (const second of [3, 4, 1e300])
      expect(refusal(at(second)).message).toMatch(/past the end of the video, which has 3 chunks and lasts 3 s/);
    expect(refusal({ numFrames: 72, chunkPrompts: [{ chunk: 3, prompt: 'x' }] }).message).toContain('past the end');
  });

  it('that acts earlier than asked for is said', () => {
    const { notes } = pipe.plan({ prompt: 'a red circle', ...at(1, 2.5) });
    expect(notes).toEqual(['the prompt for second 2.5 acts from 2 s on, where its chunk starts']);
  });
});

describe('numbers that are too large', () => {
  const huge: [request: object, message: RegExp][] = [
    ...[100_001, 1e9, Number.MAX_SAFE_INTEGER, 1e300].flatMap((numFrames): [object, RegExp][] => [
      [{ numFrames }, /^numFrames: at most 100000 expected, got /],
      [{ numVideosPerPrompt: numFrames }, /^numVideosPerPrompt: at most 10000 expected, got /],
    ]),
    ...[1001, 1_000_000, 1e8, Number.MAX_SAFE_INTEGER].map((numInferenceSteps): [object, RegExp] => [
      { numInferenceSteps },
      /^numInferenceSteps: at most 1000 expected, got /,
    ]),
    ...[16_400, 2 ** 31, 1e9, 2 ** 60].flatMap((side): [object, RegExp][] => [
      [{ height: side }, /^height: at most 16384 expected, got /],
      [{ width: side }, /^width: at most 16384 expected, got /],
    ]),
    [{ numFrames: 100_000, numInferenceSteps: 1000 }, /^numFrames and numInferenceSteps: .* at most 200000 expected/],
    [
      { prompt: new Array<string>(1000).fill('x'), numVideosPerPrompt: 1000 },
      /at most 100000 videos expected, got 1000000/,
    ],
    [{ prompt: undefined, promptEmbeds: [], numFrames: 1e9 }, /a list with at least one entry.*; numFrames: at most/],
    [{ guidanceScale: 1e308 }, /^guidanceScale: a number from 0 to 1000000, .* got 1e\+308/],
    [{ attentionKwargs: { scale: -1e308 } }, /^attentionKwargs: an object with scale, a number from -1000000/],
    [{ attentionKwargs: { scale: '1' } }, /^attentionKwargs: /],
    [
      { seed: Number.MAX_SAFE_INTEGER, numVideosPerPrompt: 2 },
      /^seed: the last of 2 videos would have 9007199254740992, /,
    ],
  ];
  it.each(huge)('number %#', (request, message) => {
    const start = performance.now();
    expect(refusal(request).message).toMatch(message);
    expect(performance.now() - start).toBeLessThan(200);
  });

  it('as frames of a clip', async () => {
    const own = await Magi1VideoToVideoPipeline.fromPretrained(POCKET_MODEL, { device });
    for (const prefixFrames of [100_001, 1e9, 2 ** 60])
      expect(() => own.plan({ prompt: 'x', video: 'clip.mp4', prefixFrames })).toThrow(
        /^prefixFrames: at most 100000 expected, got /,
      );
    expect(own.plan({ prompt: 'x', video: 'clip.mp4', prefixFrames: 99_996 }).settings.prefixFrames).toBe(99_996);
    await own.dispose();
  });

  it('in a config are named as they are there', async () => {
    const folder = copyTinyModel();
    editConfig(folder, (config) => (config.runtime_config!.num_steps = 1004));
    await expect(Magi1Pipeline.fromPretrained(folder, { device })).rejects.toThrow(
      /runtime_config\.num_steps: at most 1000 expected, got 1004/,
    );
  });

  it('are those beyond what a plan can hold: the limits themselves are planned in seconds', () => {
    const start = performance.now();
    expect(pipe.plan({ prompt: 'x', numFrames: 100_000, numInferenceSteps: 64 }).settings.chunks).toBe(4167);
    expect(pipe.plan({ prompt: 'x', numInferenceSteps: 1000 }).settings.numInferenceSteps).toBe(1000);
    expect(pipe.plan({ prompt: 'x', height: 16384, width: 16384 }).settings.height).toBe(16384);
    expect(pipe.plan({ prompt: 'x', seed: Number.MAX_SAFE_INTEGER }).videos).toBe(1);
    expect(performance.now() - start).toBeLessThan(20_000);
  });
});

describe('a memory budget that is too small', () => {
  const cases: [height: number, width: number, share: number][] = [
    [64, 64, 0.999999],
    [96, 80, 0.9],
    [128, 64, 0.99],
    [64, 208, 0.5],
    [64, 64, 0.05],
  ];
  it.each(cases)('is told one that suffices: %d x %d, %d of the need', async (height, width, share) => {
    const request = { prompt: 'a red circle', height, width };
    const { peaks } = await pipe.planMemory(request);
    const least = peaks.group;
    const open = (memoryBudget: number) =>
      Magi1Pipeline.fromPretrained(POCKET_MODEL, { device: { backend: 'reference', memoryBudget }, request });
    const budget = Math.floor(least * share);
    const error: unknown = await open(budget).catch((reason: unknown) => reason);
    if (!(error instanceof RequestError)) throw error;
    const [, named, bytes] = /raise memoryBudget to (\S+ MiB) \((\d+) bytes\)/.exec(error.message)!;
    expect(Number(bytes)).toBeGreaterThan(budget);
    expect(error.message).not.toContain(`budget of ${named}`);
    await (await open(Number(bytes))).dispose();
    // A size is named where one would do, and does.
    const [, smallerWidth, smallerHeight] = /choose width (\d+) and height (\d+)/.exec(error.message) ?? [];
    const smallest = await pipe.planMemory({ ...request, height: 32, width: 32 });
    expect(smallerWidth !== undefined).toBe(smallest.peaks.group <= budget);
    if (smallerWidth === undefined) return;
    const smaller = { ...request, width: Number(smallerWidth), height: Number(smallerHeight) };
    expect((await pipe.planMemory(smaller)).peaks.group).toBeLessThanOrEqual(budget);
  });
});

describe('a small model', () => {
  const notesOf = (request: object) => pipe.plan({ prompt: 'a red circle', ...request }).notes;

  it.each([
    ['A red circle moves to the right on a black background.', []],
    ['a red fox in the snow', ['this model does not know the words fox, snow: it knows one or two objects']],
    ['a grey circle', ['this model does not know the word grey: it knows one or two objects']],
    ['红色的圆形', ['this model does not know the word 红色的圆形: it knows one or two objects']],
    ['', ['a prompt without words leaves to this model what to show: it knows one or two objects']],
    [' ... !', ['a prompt without words leaves to this model what to show: it knows one or two objects']],
    [Array.from({ length: 12 }, (_, i) => `w${i}`).join(' '), ['w0, w1, w2, w3, w4, w5, w6, w7 and 4 more: it knows']],
    ['z'.repeat(1000), [`the word ${'z'.repeat(30)}...: it knows`]],
  ])('names the words that it does not know: %#', (prompt, expected) => {
    const notes = notesOf({ prompt });
    expect(notes).toHaveLength(expected.length);
    for (const [i, part] of expected.entries()) expect(notes[i]).toContain(part);
  });

  it('looks at the prompts of later chunks and of a batch, and not at what is not wanted', () => {
    const chunkPrompts = [{ chunk: 1, prompt: 'a blue horse' }];
    expect(notesOf({ chunkPrompts })).toEqual([expect.stringContaining('the word horse:')]);
    expect(notesOf({ prompt: ['a red circle', 'a dog'] })).toEqual([expect.stringContaining('the word dog:')]);
    const promptEmbeds = { rows: new Float32Array(64), length: 1 };
    expect(notesOf({ prompt: undefined, promptEmbeds })).toEqual([]);
  });

  it('knows every word of the held-out prompts', () => {
    const file = join(REPOSITORY, 'evaluation', 'data', 'prompts.json');
    const prompts = JSON.parse(readFileSync(file, 'utf8')) as { prompt: string }[];
    expect(prompts.length).toBeGreaterThan(100);
    for (const { prompt } of prompts) expect(notesOf({ prompt })).toEqual([]);
  });

  it.each([
    ['fps', 12, /fps 12 where it was trained with 24/],
    ['chunk_width', 4, /chunk_width 4 where it was trained with 6/],
    ['window_size', 2, /window_size 2 where it was trained with 4/],
  ])('notes another %s', async (field, value, message) => {
    const folder = join(temporaryFolder(), 'model');
    cpSync(POCKET_MODEL, folder, { recursive: true });
    editConfig(folder, (config) => (config.runtime_config![field] = value));
    const own = await Magi1Pipeline.fromPretrained(folder, { device });
    expect(own.plan({ prompt: 'a red circle' }).notes.join()).toMatch(message);
    await own.dispose();
  });
});

describe('lists with holes', () => {
  const holes = (entry: unknown) => Object.assign(new Array<unknown>(2), { 0: entry });
  it.each([
    [{ prompt: holes('a') }, /prompt\[1\]: text expected, got nothing/],
    [{ negativePrompt: holes('a'), prompt: ['a', 'b'] }, /negativePrompt\[1\]: text expected, got nothing/],
    [{ chunkPrompts: holes({ chunk: 1, prompt: 'a' }) }, /chunkPrompts\[1\]: .* expected, got nothing/],
    [{ prompt: undefined, promptEmbeds: holes({ rows: new Float32Array(64), length: 1 }) }, /promptEmbeds\[1\]: /],
  ])('number %# are refused', (request, message) => {
    expect(refusal(request).message).toMatch(message);
  });
});

describe('what a request holds', () => {
  it('is read once, and what changes later does not count', async () => {
    let readings = 0;
    const part = {
      second: 1,
      get prompt() {
        return ['a blue star', 5][readings++]!;
      },
    };
    const attentionKwargs = { scale: 1 };
    const asked = {
      prompt: 'a red circle',
      numFrames: 72,
      chunkPrompts: [part as { prompt: string }],
      attentionKwargs,
    };
    const run = await pipe.prepare(asked);
    expect(readings).toBe(1);
    attentionKwargs.scale = 2;
    expect(run.request.attentionKwargs).toEqual({ scale: 1 });
    expect(run.request.chunkPrompts).toEqual([{ second: 1, prompt: 'a blue star' }]);
    expect(() => Object.assign(run.request.attentionKwargs, { scale: 3 })).toThrow(TypeError);
    const ring: Record<string, unknown> = {};
    expect(refusal({ ring: Object.assign(ring, { ring }) }).message).toMatch(/^unknown option ring \(known: /);
  });

  it('may be of any kind: the message says what it is', () => {
    expect(refusal({ seed: Symbol('x') }).message).toBe('seed: a whole number expected, got a symbol');
    expect(refusal({ seed: 1n }).message).toBe('seed: a whole number expected, got a bigint');
    expect(refusal({ attentionKwargs: { scale: 1n } }).message).toMatch(/^attentionKwargs: an object with scale/);
    for (const [mask, what] of [
      [null, 'null'],
      [{}, 'an object'],
      [[1], '1'],
    ] as const) {
      const promptEmbeds = { rows: new Float32Array(0), length: 0, mask };
      expect(refusal({ prompt: undefined, promptEmbeds }).message).toBe(
        `promptEmbeds: a mask of 0 values expected, got ${what}`,
      );
    }
  });

  it('is told from a prepared run, and unknown names are told together', async () => {
    const run = await pipe.prepare({ prompt: 'a red circle' });
    const message = /^request: this is a prepared run or a copy of one; .* \{ \.\.\.run\.request, seed: 2 \}$/;
    await expect(pipe(Object.assign({}, run) as never)).rejects.toThrow(message);
    await expect(Magi1Pipeline.fromPretrained(POCKET_MODEL, { device, request: run as never })).rejects.toThrow(
      message,
    );
    expect(refusal({ cat: 1, dog: 2 }).message).toMatch(/^unknown options cat, dog \(known: [^;]*\)$/);
  });
});

describe('the names of options', () => {
  it('are told apart from the message', () => {
    const error = refusal({ numFrames: -1, prompt: ['a', 5], numInferenceSteps: 1e9 });
    expect(error.options).toEqual(['prompt', 'numFrames', 'numInferenceSteps']);
    const shown = error.wording.inNamesOf((option, index) => `<${option}${index ?? ''}>`);
    expect(shown).toBe(
      '<prompt1>: text expected, got 5; <numFrames>: a whole number above 0 expected, got -1; <numInferenceSteps>: at most 1000 expected, got 1000000000',
    );
  });

  const typed: [args: string[], status: number, message: string][] = [
    [['--num-frames', '0'], 1, '--num-frames: a whole number above 0 expected, got 0'],
    [['--num_frames=100000000'], 1, '--num-frames: at most 100000 expected, got 100000000'],
    [['--steps', '50'], 1, '--steps: 50 does not divide by the window'],
    [['--height', '16', '--width', '16'], 1, '--height and --width: at least 32 pixels expected, got 16 and 16'],
    [['--height', '100'], 1, '--height: a multiple of 16 expected'],
    [['--num-frames', '3'], 1, '--num-frames: a whole number from 4 up expected, got 3'],
    [['--max-sequence-length', '801'], 1, '--max-sequence-length: a whole number from 1 to 800'],
    [['--prompt-at', '0.5:it rains'], 1, '--prompt-at (number 1): second 0.5 lies in the first chunk, which --prompt'],
    [['--image', 'a.png', '--video', 'b.mp4'], 2, '--image and --video: a video starts from one of them'],
    [['--mode', 'i2v'], 2, '--mode i2v needs --image'],
    [['--mode', 't2v', '--image', 'a.png'], 2, '--image belongs to --mode i2v, not t2v'],
    [['--prefix-frames', '8'], 2, '--prefix-frames says how much is taken of a clip, but there is no --video'],
    [['--video', 'b.mp4', '--prefix-frames', '200000'], 1, '--prefix-frames: at most 100000 expected, got 200000'],
  ];
  it.each(typed)('are those of the command line: %j', async (args, status, message) => {
    const run = await runCli(['generate', '--model', TINY_MODEL, '--prompt', 'x', '--device', 'wasm', ...args]);
    expect(run.stderr).toContain(`magi1: ${message}`);
    expect(run).toMatchObject({ status, stdout: '' });
  });
});
