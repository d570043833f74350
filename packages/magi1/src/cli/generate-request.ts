// The options of `magi1 generate` that say what to make, as a request of the pipeline that --mode chooses.
import type { Fit, Scaler, VideoEnd } from '../media/index.ts';
import type { PipelineOptions } from '../pipelines/open-model.ts';
import { Magi1ImageToVideoPipeline, Magi1Pipeline, Magi1VideoToVideoPipeline } from '../pipelines/pipeline.ts';
import type { Magi1Base } from '../pipelines/pipeline.ts';
import type { ChunkPrompt, GenerationOptions, ImageToVideoRequest, VideoToVideoRequest } from '../pipelines/request.ts';
import { UsageError, choice, decimalNumber, requiredText, text, texts, wholeNumber } from './command.ts';
import type { OptionSpec, Values } from './command.ts';

/** Where a model is: a folder, or a config file of the original. */
export type ModelOption =
  | { readonly model: string; readonly configFile: undefined }
  | { readonly model: undefined; readonly configFile: string };

const SWITCHES = {
  hq: ['useHqToken', 'high quality'],
  duration: ['useDuration', 'how much of the video is left'],
  borderness: ['useBorderness', 'borders'],
  'static-first-frames': ['useStaticFirstFrames', 'a still beginning'],
  'dynamic-first-frames': ['useDynamicFirstFrames', 'a moving beginning'],
  '3d-style': ['use3dStyle', '3D model style'],
  '2d-anime-style': ['use2dAnimeStyle', '2D anime style'],
  'negative-tokens': ['useNegativeTokens', 'what to avoid, before the null text'],
} as const satisfies Readonly<Record<string, readonly [keyof GenerationOptions, string]>>;

export const REQUEST_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  mode: { value: 'MODE', help: 't2v, i2v or v2v; default by what is given: --image is i2v, --video is v2v' },
  prompt: { value: 'TEXT', help: 'what the video shows' },
  'prompt-at': {
    value: 'SECONDS:TEXT',
    help: 'another prompt from this second of the video on; may be repeated',
    repeats: true,
    sets: 'chunkPrompts',
  },
  'negative-prompt': { value: 'TEXT', help: 'what it does not show; no effect on distilled models' },
  image: { value: 'FILE', help: 'i2v: the picture it starts with; JPEG, PNG or WebP' },
  video: { value: 'FILE', help: 'v2v: the clip whose last frames it continues; read by ffmpeg' },
  'prefix-frames': { value: 'N', help: 'v2v: most frames of the clip that are continued; default 32' },
  'video-from': {
    value: 'END',
    help: 'v2v: continue the end of the clip (default) or its start, as the original and --config-file do',
  },
  'include-clip': { help: 'v2v: the output begins with the clip; without it, it holds the new frames only' },
  fit: { value: 'HOW', help: 'of a picture or clip of another shape: stretch (default), pad with black, or crop' },
  scaler: {
    value: 'NAME',
    help: 'of a picture or clip: accurate (default), or original, byte for byte, as --config-file does',
  },
  height: { value: 'PIXELS', help: 'multiple of 16; default from the config, as for the next four' },
  width: { value: 'PIXELS', help: 'multiple of 16' },
  'num-frames': { value: 'N', help: 'new frames wanted; whole chunks of 24 are made' },
  steps: {
    value: 'N',
    help: 'denoising steps; a multiple of the window and of the number of key ranges',
    sets: 'numInferenceSteps',
  },
  seed: { value: 'N', help: 'any whole number; the same seed gives the same noise on every device' },
  'guidance-scale': { value: 'X', help: 'text guidance (7.5 as shipped); no effect on distilled models' },
  'max-sequence-length': { value: 'N', help: 'tokens that a prompt is cut to; default 800' },
  ...Object.fromEntries(
    Object.entries(SWITCHES).map(([name, [sets, what]]) => [name, { help: `special token: ${what}`, sets }] as const),
  ),
};

export interface CommandRequest {
  readonly request: GenerationOptions;
  /** Files that the video starts from, by option. */
  readonly inputs: Readonly<Record<string, string>>;
  /** Whether the clip goes into the output, before the new frames. */
  readonly includeClip: boolean;
  /** Opens the pipeline of the mode with the request completed by what only a run has. */
  readonly open: (
    where: ModelOption,
    options: Omit<PipelineOptions<never>, 'request'>,
    request: GenerationOptions,
  ) => Promise<Magi1Base<GenerationOptions>>;
}

/** @throws UsageError for options that are missing, malformed or of another mode */
export function readRequest(values: Values): CommandRequest {
  const image = text(values, 'image');
  const video = text(values, 'video');
  const wanted = choice(values, 'mode', ['t2v', 'i2v', 'v2v']);
  if (image !== undefined && video !== undefined)
    throw new UsageError('--image and --video: a video starts from one of them, leave the other out');
  const mode = wanted ?? (video !== undefined ? 'v2v' : image !== undefined ? 'i2v' : 't2v');
  if (image !== undefined && mode !== 'i2v') throw new UsageError(`--image belongs to --mode i2v, not ${mode}`);
  if (video !== undefined && mode !== 'v2v') throw new UsageError(`--video belongs to --mode v2v, not ${mode}`);
  if (values['prefix-frames'] !== undefined && mode !== 'v2v')
    throw new UsageError(
      wanted === undefined
        ? '--prefix-frames says how much is taken of a clip, but there is no --video'
        : `--prefix-frames belongs to --mode v2v, not ${mode}`,
    );
  for (const name of ['video-from', 'include-clip'])
    if (values[name] !== undefined && mode !== 'v2v')
      throw new UsageError(`--${name} belongs to --mode v2v, not ${mode}`);
  for (const name of ['fit', 'scaler'])
    if (values[name] !== undefined && mode === 't2v')
      throw new UsageError(`--${name} says how a picture or clip is read, but there is no --image and no --video`);
  const common = commonOptions(values);
  const scaling = {
    fit: choice<Fit>(values, 'fit', ['stretch', 'pad', 'crop']),
    scaler: choice<Scaler>(values, 'scaler', ['accurate', 'original']),
  };
  if (mode === 'i2v') {
    const inputs = { image: neededBy(mode, values, 'image') };
    const request: ImageToVideoRequest = { ...common, ...scaling, ...inputs };
    return { request, inputs, includeClip: false, open: opener(Magi1ImageToVideoPipeline) };
  }
  if (mode === 'v2v') {
    const prefixFrames = wholeNumber(values, 'prefix-frames');
    const inputs = { video: neededBy(mode, values, 'video') };
    const videoFrom = choice<VideoEnd>(values, 'video-from', ['end', 'start']);
    const request: VideoToVideoRequest = { ...common, ...scaling, ...inputs, prefixFrames, videoFrom };
    const includeClip = values['include-clip'] === true;
    return { request, inputs, includeClip, open: opener(Magi1VideoToVideoPipeline) };
  }
  return { request: common, inputs: {}, includeClip: false, open: opener(Magi1Pipeline) };
}

function neededBy(mode: string, values: Values, name: string): string {
  const value = text(values, name);
  if (value === undefined) throw new UsageError(`--mode ${mode} needs --${name}`);
  return value;
}

function commonOptions(values: Values): GenerationOptions {
  const switches = Object.entries(SWITCHES).filter(([name]) => values[name] === true);
  const chunkPrompts = texts(values, 'prompt-at').map(promptAt);
  return {
    prompt: requiredText(values, 'prompt'),
    ...(chunkPrompts.length === 0 ? {} : { chunkPrompts }),
    negativePrompt: text(values, 'negative-prompt'),
    height: wholeNumber(values, 'height'),
    width: wholeNumber(values, 'width'),
    numFrames: wholeNumber(values, 'num-frames'),
    numInferenceSteps: wholeNumber(values, 'steps'),
    seed: wholeNumber(values, 'seed'),
    guidanceScale: decimalNumber(values, 'guidance-scale'),
    maxSequenceLength: wholeNumber(values, 'max-sequence-length'),
    ...Object.fromEntries(switches.map(([, [name]]) => [name, true])),
  };
}

function promptAt(given: string): ChunkPrompt {
  const match = /^(\d+(?:\.\d+)?):([^]*)$/.exec(given);
  if (match === null) throw new UsageError(`--prompt-at: SECONDS:TEXT expected, as in 2:"it rains", got "${given}"`);
  return { second: Number(match[1]), prompt: match[2]! };
}

interface PipelineClass {
  fromPretrained(folder: string, options: PipelineOptions<never>): Promise<unknown>;
  fromConfigFile(file: string, options: PipelineOptions<never>): Promise<unknown>;
}

/** The request's type follows from the mode, so that a pipeline and its request always belong together. */
function opener(pipeline: PipelineClass): CommandRequest['open'] {
  return async ({ model, configFile }, rest, request) => {
    const options = { ...rest, request: request as never };
    const opened =
      model === undefined
        ? await pipeline.fromConfigFile(configFile, options)
        : await pipeline.fromPretrained(model, options);
    return opened as Magi1Base<GenerationOptions>;
  };
}
