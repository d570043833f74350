// Every option of a request, said once: what it must be, how the command line has it, and what docs/options.md says.
import { isOptions } from '@magi1/tensor';
import type { CacheDType } from '@magi1/kernels';
import type { SpecialTokenSwitches } from '../config/environment.ts';
import {
  MAX_SCALE,
  a,
  aChunk,
  aCount,
  aFunction,
  aPrefixLength,
  aRunState,
  aTextLength,
  aWholeNumber,
  anAbortSignal,
  chunkPrompts,
  distillation,
  embedsFault,
  media,
  nearlyCleanThreshold,
  oneOrMore,
  promptFault,
  trueOrFalse,
} from './option-checks.ts';
import type { Flag, RequestOption } from './option-checks.ts';
import type { GenerationOptions, ImageToVideoRequest, ModeName, VideoToVideoRequest } from './request.ts';

type AnyRequest = GenerationOptions & ImageToVideoRequest & VideoToVideoRequest;
export type OptionKey = keyof AnyRequest;

const oneOf = (...choices: readonly string[]) => ({
  choices,
  check: a(`one of ${choices.join(', ')}`, (value) => choices.includes(value as string)),
});
const FIT = oneOf('stretch', 'pad', 'crop');
const SCALER = oneOf('accurate', 'original');
const END = oneOf('end', 'start');
const OUTPUT_TYPE = oneOf('uint8', 'float', 'latents');
const CACHE_DTYPE = oneOf(...(['f32', 'f16', 'bf16', 'q8'] satisfies CacheDType[]));
const TOKENS: readonly string[] = [
  'static',
  'dynamic',
  'borderness',
  'hq',
  'threeDModel',
  'twoDAnime',
  'duration',
  'negative',
] satisfies (keyof SpecialTokenSwitches)[];

const WITH_MEDIA: readonly ModeName[] = ['i2v', 'v2v'];
const WITH_CLIP: readonly ModeName[] = ['v2v'];

function token(key: keyof SpecialTokenSwitches, name: string, what: string, documented: string, does: string) {
  const flag: Flag = { name, reads: 'switch', help: `special token: ${what}` };
  return { token: key, check: trueOrFalse, flag, documented, does };
}

/** In the order of the help text and of docs/options.md. */
export const OPTIONS = {
  prompt: {
    check: oneOrMore(promptFault),
    flag: { name: 'prompt', reads: 'text', value: 'TEXT', help: 'what the video shows' },
    documented: '`prompt`',
    does: 'Text, may be empty (a caption of one token). A list is a batch.',
  },
  promptEmbeds: {
    check: oneOrMore(embedsFault),
    documented: '`prompt_embeds` (+ mask)',
    does: `T5 features \`{ rows, length, mask? }\`, as \`pipe.encodePrompt(text)\` gives them, in place of \`prompt\`. A
      mask must be ones, then zeros. No row at all means the learned null text. A list is a batch.`,
  },
  chunkPrompts: {
    check: chunkPrompts,
    flag: {
      name: 'prompt-at',
      reads: 'timed prompts',
      value: 'SECONDS:TEXT',
      help: 'another prompt from this second of the video on; may be repeated',
    },
    does: `Prompts that take over later: \`{ prompt or promptEmbeds, chunk or second }\`. \`chunk\` counts the chunks that
      are made, from 0; \`second\` is a time of the video that comes out, and the chunk that shows it is the first with
      this prompt. One in the first chunk stands for \`prompt\`; beside it, it is refused. Chunks before the start do not
      depend on it.`,
  },
  negativePrompt: {
    check: oneOrMore(promptFault),
    flag: {
      name: 'negative-prompt',
      reads: 'text',
      value: 'TEXT',
      help: 'what it does not show; no effect on distilled models',
    },
    documented: '`negative_prompt`',
    does: `Its T5 features replace the learned null text of noisy chunks in the passes without the caption; clean and given
      chunks keep the null text. Without effect on one-pass checkpoints (distilled, fp8), which a note says. One for all
      prompts, or a list with one for each.`,
  },
  negativePromptEmbeds: {
    check: oneOrMore(embedsFault),
    documented: '`negative_prompt_embeds` (+ mask)',
    does: 'The same as T5 features.',
  },
  image: {
    modes: ['i2v'],
    required: 'a path, bytes or decoded frames',
    check: media,
    flag: {
      name: 'image',
      reads: 'text',
      value: 'FILE',
      alias: 'image-path',
      help: 'i2v: the picture it starts with; JPEG, PNG or WebP',
    },
    documented: '`image`',
    does: 'Image to video only, required: path, bytes or decoded frame. CMYK JPEGs are refused.',
  },
  video: {
    modes: WITH_CLIP,
    required: 'a path, bytes or decoded frames',
    check: media,
    flag: {
      name: 'video',
      reads: 'text',
      value: 'FILE',
      alias: 'prefix-video-path',
      help: 'v2v: the clip whose last frames it continues; read by ffmpeg',
    },
    documented: '`video`',
    does: `Video to video only, required: path, bytes or decoded frames. Files are read by ffmpeg, from their first picture
      on, at the config's \`fps\`; sound is not looked at. The run gives the new frames only; \`pipe.clipFrames(request)\`
      gives the clip's frames before them, and \`--include-clip\` puts them in front of the output. \`facts.clip\` and a note
      count the frames that were read, continued and dropped.`,
  },
  prefixFrames: {
    modes: WITH_CLIP,
    check: aPrefixLength,
    flag: {
      name: 'prefix-frames',
      reads: 'whole number',
      value: 'N',
      help: 'v2v: most frames of the clip that are continued; default 32',
      says: 'how much is taken of a clip',
    },
    does: `Most frames of \`video\` that are continued; 32 by default, as in the original. A shorter clip is taken whole. The
      VAE encodes tiles of \`fps\`/2 frames, each into one latent frame per 4 frames; a single frame after whole tiles counts
      as one too. A number that leaves frames over is refused with the nearest valid ones; frames that a clip leaves over
      are dropped, at the end that is not continued, which a note says. Two or three frames in all are too few.`,
  },
  videoFrom: {
    modes: WITH_CLIP,
    check: END.check,
    flag: {
      name: 'video-from',
      reads: END.choices,
      value: 'END',
      help: 'v2v: continue the end of the clip (default) or its start, as the original and --config-file do',
      says: 'which end of a clip is continued',
    },
    does: `Which frames of \`video\` are continued: \`'end'\`, its last ones (default; the whole clip is decoded, of which
      only these are held), or \`'start'\`, its first ones, as in the original, which is the default of pipelines from a
      config file.`,
  },
  keepClip: {
    modes: WITH_CLIP,
    check: trueOrFalse,
    flag: {
      name: 'include-clip',
      reads: 'switch',
      help: 'v2v: the output begins with the clip; without it, it holds the new frames only',
      says: 'that the output begins with the clip',
    },
    does: `Holds the clip's frames before the continued ones as well, up to 1 GiB of them, so that \`pipe.clipFrames\` need
      not decode the clip once more; \`--include-clip\` sets it.`,
  },
  fit: {
    modes: WITH_MEDIA,
    check: FIT.check,
    flag: {
      name: 'fit',
      reads: FIT.choices,
      value: 'HOW',
      help: 'of a picture or clip of another shape: stretch (default), pad with black, or crop',
      says: 'how a picture or clip is read',
    },
    does: `How \`image\` or \`video\` comes to the size of the video: \`'stretch'\` (default, as in the original; a note says
      when its shape changes by 5 % or more), \`'pad'\` with black, or \`'crop'\`. The last two go by the shape that a clip
      is meant to be seen in, pixels that are not square included.`,
  },
  scaler: {
    modes: WITH_MEDIA,
    check: SCALER.check,
    flag: {
      name: 'scaler',
      reads: SCALER.choices,
      value: 'NAME',
      help: 'of a picture or clip: accurate (default), or original, byte for byte, as --config-file does',
      says: 'how a picture or clip is read',
    },
    does: `\`'accurate'\` (default): every value is rounded, white stays 255, and continuing one's own mp4 ten times changes
      flat colours and gradients by 1 level at most. \`'original'\`: ffmpeg's default, byte for byte what the original gets,
      where white becomes 253 and ten times are up to 15 levels; the default of pipelines from a config file.`,
  },
  height: {
    check: aCount,
    flag: {
      name: 'height',
      reads: 'whole number',
      value: 'PIXELS',
      help: 'multiple of 16; default from the config, as for the next four',
    },
    documented: '`height`',
    does: `Pixels, a multiple of 16 (8 per latent, 2 latents per patch); otherwise refused with the nearest valid. Default:
      the config's (the documented 480 x 832 is not used).`,
  },
  width: {
    check: aCount,
    flag: { name: 'width', reads: 'whole number', value: 'PIXELS', help: 'multiple of 16' },
    documented: '`width`',
    does: 'The same.',
  },
  numFrames: {
    check: aCount,
    flag: {
      name: 'num-frames',
      reads: 'whole number',
      value: 'N',
      help: 'new frames wanted; whole chunks of 24 are made',
    },
    documented: '`num_frames`',
    does: `New frames. Up to 3 are dropped, then whole chunks of 24 are made, the prefix included; \`plan().settings.frames\`
      says beforehand how many come out. Default: the config's.`,
  },
  numInferenceSteps: {
    check: aCount,
    flag: {
      name: 'steps',
      reads: 'whole number',
      value: 'N',
      help: 'denoising steps; a multiple of the window and of the number of key ranges',
    },
    documented: '`num_inference_steps`',
    does: `Must divide by the window and by the number of key ranges; otherwise refused with the nearest valid (50: 48 and
      52). Default: the config's.`,
  },
  seed: {
    check: aWholeNumber,
    flag: {
      name: 'seed',
      reads: 'whole number',
      value: 'N',
      help: 'any whole number; the same seed gives the same noise on every device',
    },
    documented: '`generator`',
    does: `Any whole number. The same seed gives the same noise on every device; it is not the noise that the original makes
      of it. Default: the config's.`,
  },
  guidanceScale: {
    check: a(
      `a number from 0 to ${MAX_SCALE}, or null for the checkpoint's own,`,
      (value) => value === null || (Number.isFinite(value) && (value as number) >= 0 && (value as number) <= MAX_SCALE),
    ),
    flag: {
      name: 'guidance-scale',
      reads: 'number',
      value: 'X',
      help: 'text guidance (7.5 as shipped); no effect on distilled models',
    },
    documented: '`guidance_scale`',
    does: `Takes the place of the text scales that are not 0 in the checkpoint's schedule (7.5, in the first three ranges).
      \`null\` or left out: the checkpoint's own. Without effect on one-pass checkpoints (distilled, fp8), which a note
      says.`,
  },
  maxSequenceLength: {
    check: aTextLength,
    flag: {
      name: 'max-sequence-length',
      reads: 'whole number',
      value: 'N',
      help: 'tokens that a prompt is cut to; default 800',
    },
    documented: '`max_sequence_length`',
    does: 'Tokens that each text is cut to; `caption_max_length` (800) by default and at most.',
  },
  numVideosPerPrompt: {
    check: aCount,
    documented: '`num_videos_per_prompt`',
    does: 'Runs per prompt, for `batch()`. Video i of a batch has seed + i.',
  },
  latents: {
    check: a('a Float32Array', (value) => value instanceof Float32Array),
    documented: '`latents`',
    does: `Initial noise, float32 \`[videos, C, latent frames, height / 8, width / 8]\`, frames of the prefix included.`,
  },
  outputType: {
    check: OUTPUT_TYPE.check,
    documented: '`output_type`',
    does: `\`'uint8'\`: RGB levels (default). \`'float'\`: RGB from 0 to 1, float32. \`'latents'\`: what the sampler gives,
      \`[C, latent frames, height / 8, width / 8]\`, not decoded.`,
  },
  cacheDType: {
    check: CACHE_DTYPE.check,
    flag: {
      name: 'cache-dtype',
      reads: CACHE_DTYPE.choices,
      value: 'DTYPE',
      help: 'of kept keys and values: f32, f16, bf16 or q8; default as the config says in params_dtype',
    },
    does: `How the keys and values of finished chunks are kept: \`'f32'\`, \`'f16'\` or \`'bf16'\`, which take half the
      memory, or \`'q8'\`, which takes 8.5 bits; it needs heads that together have a multiple of 64 elements. The default is
      the config's \`params_dtype\`. Keys and values of the chunks at work stay f32. docs/memory.md has sizes and errors.`,
  },
  useHqToken: token(
    'hq',
    'hq',
    'high quality',
    '`use_hq_token`',
    `Special token before the caption. The original's scripts turn it on; here it is off unless it, or \`PAD_HQ\`, is set.`,
  ),
  useDuration: token(
    'duration',
    'duration',
    'how much of the video is left',
    'duration',
    `Token that says how many chunks are left, per chunk, up to 8. The original's scripts turn it on.`,
  ),
  useBorderness: token('borderness', 'borderness', 'borders', 'borderness', 'Special token.'),
  useStaticFirstFrames: token(
    'static',
    'static-first-frames',
    'a still beginning',
    '`use_static_first_frames`',
    'Special token.',
  ),
  useDynamicFirstFrames: token(
    'dynamic',
    'dynamic-first-frames',
    'a moving beginning',
    '`use_dynamic_first_frames`',
    'Special token.',
  ),
  use3dStyle: token('threeDModel', '3d-style', '3D model style', '`use_3d_style`', 'Special token.'),
  use2dAnimeStyle: token('twoDAnime', '2d-anime-style', '2D anime style', '`use_2d_anime_style`', 'Special token.'),
  useNegativeTokens: token(
    'negative',
    'negative-tokens',
    'what to avoid, before the null text',
    'negative tokens',
    'Four tokens before the null text, within its 50 rows.',
  ),
  specialTokens: {
    check: a(`an object of ${TOKENS.join(', ')} to true or false`, (value) =>
      isOptions(value)
        ? Object.entries(value).every(([key, on]) => TOKENS.includes(key) && typeof on === 'boolean')
        : false,
    ),
    does: `The same eight switches as one object: \`hq\`, \`duration\`, \`borderness\`, \`static\`, \`dynamic\`,
      \`threeDModel\`, \`twoDAnime\`, \`negative\`. What is left out comes from the environment.`,
  },
  enableDistillation: {
    check: distillation,
    documented: '`enable_distillation`',
    does: `Says what the checkpoint must be: another kind is refused. It does not turn a base checkpoint into a distilled
      one.`,
  },
  distillNearlyCleanChunkThreshold: {
    check: nearlyCleanThreshold,
    documented: '`distill_nearly_clean_chunk_threshold`',
    does: `Checkpoints that run in one pass (distilled, fp8) only, refused on others: the time above which the oldest chunk
      is blended with a run of itself alone. Default: the config's.`,
  },
  attentionKwargs: {
    check: a(
      `an object with scale, a number from -${MAX_SCALE} to ${MAX_SCALE},`,
      (value) =>
        isOptions(value) &&
        Object.entries(value).every(
          ([key, scale]) =>
            key === 'scale' && (scale === undefined || (typeof scale === 'number' && Math.abs(scale) <= MAX_SCALE)),
        ),
    ),
    documented: '`attention_kwargs`',
    does: '`{ scale }`: multiplies the weights of the LoRAs that are not fused, for this run.',
  },
  onStep: {
    check: aFunction,
    documented: '`callback_on_step_end` (+ tensor inputs)',
    does: `Called after every step with the step and the velocities and latents of its chunks, and awaited: views, valid
      until then.`,
  },
  callbackOnStepEnd: { check: aFunction, documented: '`callback_on_step_end`', does: 'The same.' },
  onChunk: { check: aFunction, does: 'Called with every finished chunk, before `stream` yields it; awaited.' },
  resume: {
    check: aRunState,
    elsewhere: '`--resume`, from a file beside the output',
    does: `A state that \`onState\` of an earlier run was called with: the run goes on from there, and its result is the same,
      bit by bit, on the same device. A state of another model, request or version is refused, with what differs.
      docs/resume.md says more.`,
  },
  redoFromChunk: {
    check: aChunk,
    flag: {
      name: 'from-chunk',
      reads: 'whole number',
      value: 'N',
      help: 'with --resume: make chunk N and those after it anew, with another seed, prompt or guidance scale',
    },
    does: `With \`resume\`: the chunks before this one, among those that are made, from 0, stay as they were kept; this one
      and those after it continue them as they would continue a clip. Prompts, seed and guidance scale may be others.`,
  },
  onState: {
    check: aFunction,
    elsewhere: 'a file beside the output',
    does: `Called after steps with the state of the run, as often as 2 % of its time allow, and awaited; what it is called
      with is the caller's. \`encodeRunState\` and \`decodeRunState\` make bytes of it and back.`,
  },
  onProgress: {
    check: aFunction,
    elsewhere: 'shown on stderr',
    does: `Stage at work, share of the whole that is done, time left. Not awaited; a promise that rejects ends the call.`,
  },
  signal: {
    check: anAbortSignal,
    documented: '`interrupt`',
    elsewhere: 'Ctrl-C',
    does: 'AbortSignal: ends the run within a step and frees everything it holds.',
  },
} as const satisfies Readonly<Record<OptionKey, RequestOption>>;

/** The table's entries, typed alike. */
export const OPTION_ENTRIES = Object.entries(OPTIONS) as [OptionKey, RequestOption][];
