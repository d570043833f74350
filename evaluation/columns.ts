// What is measured: each column generates clips one by one and scores them.
import type {
  Magi1ImageToVideoPipeline,
  Magi1Pipeline,
  TextToVideoRequest,
  Magi1VideoToVideoPipeline,
} from '@magi1/core';
import { directionOf, watch } from './oracle/clip.ts';
import type { Clip, Direction, Seen } from './oracle/clip.ts';
import { cut, heldOutClips, heldOutPrompts, isDirection } from './prompts.ts';
import type { HeldOutPrompt } from './prompts.ts';
import { scoreClip } from './score.ts';

export type Values = Readonly<Record<string, number>>;

/** The pipelines that a column may ask for; opened when first asked. */
export interface Models {
  distilled(): Promise<Magi1Pipeline>;
  /** The distilled model on a device that holds nothing else, as when the command line runs it. */
  alone(): Promise<Magi1Pipeline>;
  base(): Promise<Magi1Pipeline>;
  imageToVideo(): Promise<Magi1ImageToVideoPipeline>;
  videoToVideo(): Promise<Magi1VideoToVideoPipeline>;
}

export interface Column {
  readonly name: string;
  readonly what: string;
  readonly clips: number;
  /** Part of `--quick`. */
  readonly quick?: number;
  /** Values between 0 and 1, or in the unit that `show` gives them; the table shows their means. */
  run(models: Models, index: number): Promise<Values>;
}

export const prompts = heldOutPrompts();
const clips = heldOutClips();
/** Single objects that keep going in one direction. */
const moving = prompts.filter(({ objects }) => objects.length === 1 && isDirection(objects[0]!.kind));
const movingClips = prompts
  .slice(0, clips.length)
  .map((prompt, i) => ({ prompt, clip: clips[i]! }))
  .filter(({ prompt }) => moving.includes(prompt));

const number = (value: boolean): number => (value ? 1 : 0);

function scored(clip: Clip, prompt: HeldOutPrompt): Values {
  const { color, shape, count, direction } = scoreClip(clip, prompt);
  return {
    colour: number(color),
    shape: number(shape),
    count: number(count),
    ...(direction === undefined ? {} : { direction: number(direction) }),
  };
}

/** Without the direction: a thing may have arrived by then. */
function things(clip: Clip, prompt: HeldOutPrompt, when: string): Values {
  const { color, shape, count } = scoreClip(clip, prompt);
  return { [`colour ${when}`]: number(color), [`shape ${when}`]: number(shape), [`count ${when}`]: number(count) };
}

/** The seed of a clip is its place in the list. */
export async function fromPrompt(
  pipe: Magi1Pipeline,
  index: number,
  request: Omit<TextToVideoRequest, 'prompt'> = {},
): Promise<Values> {
  const prompt = prompts[index % prompts.length]!;
  const values = scored(await pipe({ prompt: prompt.prompt, numFrames: 48, seed: index, ...request }), prompt);
  const objects = prompt.objects.length === 1 ? 'one object' : 'two objects';
  return { ...values, [`shape of ${objects}`]: values['shape']! };
}

export const COLUMNS: readonly Column[] = [
  {
    name: 'VAE',
    what: 'two seconds of a held-out clip, encoded and decoded',
    clips: clips.length,
    quick: clips.length,
    run: async (models, i) => {
      const pipe = await models.distilled();
      const clip = cut(clips[i]!, 0, 48);
      const decoded = await pipe.decodeLatents(await pipe.encodeFrames(asInput(clip)));
      return { PSNR: psnr(clip.frames, decoded.data), ...scored({ ...clip, frames: decoded.data }, prompts[i]!) };
    },
  },
  {
    name: 'distilled, 8 steps',
    what: 'text to video, 48 frames',
    clips: 240,
    quick: 40,
    run: async (models, i) => fromPrompt(await models.distilled(), i),
  },
  {
    name: 'distilled, 64 steps',
    what: 'the same prompts and seeds',
    clips: 40,
    run: async (models, i) => fromPrompt(await models.distilled(), i, { numInferenceSteps: 64 }),
  },
  {
    name: 'base, 64 steps',
    what: "the checkpoint's guidance",
    clips: 40,
    run: async (models, i) => fromPrompt(await models.base(), i),
  },
  {
    name: 'base, 64 steps, not guided',
    what: 'text scale 1',
    clips: 40,
    run: async (models, i) => fromPrompt(await models.base(), i, { guidanceScale: 1 }),
  },
  {
    name: '8 chunks',
    what: 'distilled, 192 frames: what the prompt asks for, in the first second and in the last',
    clips: 40,
    run: async (models, i) => {
      const prompt = prompts[i]!;
      const video = await (await models.distilled())({ prompt: prompt.prompt, numFrames: 192, seed: i });
      return { ...things(cut(video, 0, 24), prompt, 'at first'), ...things(cut(video, 168, 192), prompt, 'at last') };
    },
  },
  {
    name: 'image to video',
    what: `distilled, from the first frame of one of ${movingClips.length} held-out clips`,
    clips: 40,
    run: async (models, i) => {
      const { prompt, clip } = movingClips[i % movingClips.length]!;
      const image = asInput(cut(clip, 0, 1));
      const pipe = await models.imageToVideo();
      const video = await pipe({ image, prompt: prompt.prompt, numFrames: 24, seed: i });
      const [first, last] = [cut(video, 0, 8), cut(video, video.numFrames - 8, video.numFrames)];
      return { ...identity(first, last), ...identity(cut(clip, 0, 8), first, 'first '), ...scored(video, prompt) };
    },
  },
  {
    name: 'video to video',
    what: `distilled, from 32 frames of one of ${movingClips.length} held-out clips`,
    clips: 40,
    run: async (models, i) => {
      const { prompt, clip } = movingClips[i % movingClips.length]!;
      const pipe = await models.videoToVideo();
      const video = await pipe({ video: asInput(cut(clip, 0, 32)), prompt: prompt.prompt, numFrames: 24, seed: i });
      return { ...identity(cut(clip, 24, 32), cut(video, 0, 8), 'joined '), ...continued(clip, video) };
    },
  },
  {
    name: 'prompt changed after one second',
    what: 'distilled: the second motion is at a right angle to the first',
    clips: 40,
    run: async (models, i) => {
      const { objects } = moving[i]!;
      const [thing] = objects;
      const turn = TURNS[i % TURNS.length]!;
      const say = (towards: string) =>
        `a ${thing!.color} ${thing!.shape} moves ${WORDS[towards as keyof typeof WORDS]}`;
      const request = {
        prompt: say(turn[0]),
        chunkPrompts: [{ second: 1, prompt: say(turn[1]) }],
        numFrames: 72,
        seed: i,
      };
      const video = await (await models.distilled())(request);
      return {
        before: number(mainDirection(cut(video, 0, 24)) === turn[0]),
        after: number(mainDirection(cut(video, 28, 72)) === turn[1]),
      };
    },
  },
  {
    name: '10 seconds',
    what: 'distilled, 240 frames, alone on its device: time of a run without loading, most memory of the device',
    clips: 5,
    run: async (models, i) => {
      const { facts } = await (await models.alone())({ prompt: prompts[i]!.prompt, numFrames: 240, seed: i });
      const { total, loading } = facts.seconds;
      return { time: total - loading, memory: facts.peakDeviceBytes / 2 ** 20 };
    },
  },
];

/** In dB, of levels. */
function psnr(a: Uint8Array, b: Uint8Array): number {
  let error = 0;
  for (let i = 0; i < a.length; i++) error += (a[i]! - b[i]!) ** 2;
  return 10 * Math.log10((255 * 255 * a.length) / Math.max(error, 1));
}

const TURNS = [
  ['right', 'down'],
  ['left', 'up'],
  ['up', 'right'],
  ['down', 'left'],
] as const satisfies readonly (readonly [Direction, Direction])[];
const WORDS = { right: 'to the right', left: 'to the left', up: 'up', down: 'down' };

/** Whether the thing that is there longest keeps its colour and its shape. */
function identity(a: Clip, b: Clip, name = ''): Values {
  const [first, last] = [watch(a).things[0], watch(b).things[0]];
  if (first === undefined || last === undefined) return { [`${name}colour kept`]: 0, [`${name}shape kept`]: 0 };
  return {
    [`${name}colour kept`]: number(first.color === last.color),
    [`${name}shape kept`]: number(first.shape === last.shape),
  };
}

/** Whether a clip that ends in motion goes on in the same direction. One that had stopped by then says nothing. */
function continued(given: Clip, video: Clip): Values {
  const before = mainDirection(cut(given, 8, 32));
  const truth = mainDirection(cut(given, 32, 32 + video.numFrames));
  return before === null || truth === null ? {} : { 'motion continued': number(mainDirection(video) === truth) };
}

const asInput = ({ frames, numFrames, width, height }: Clip) => ({
  data: frames,
  frameCount: numFrames,
  width,
  height,
});

function mainDirection(clip: Clip): Direction | null {
  const thing: Seen | undefined = watch(clip).things[0];
  return thing === undefined ? null : directionOf(thing);
}
