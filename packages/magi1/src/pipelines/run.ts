// One run: from texts and noise to frames, chunk by chunk.
import { processPeakBytes } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { LATENT_STRIDE } from '../config/index.ts';
import { loraNotes } from '../lora/index.ts';
import type { LoraChoice, LoraSet } from '../lora/index.ts';
import { refuseNotFinite } from '../not-finite.ts';
import { countChunkForwards, seededNoise } from '../sampler/index.ts';
import type { SamplingPlan, SamplingStep } from '../sampler/index.ts';
import { sample } from '../sampler/sample.ts';
import { cleanPromptInTurns } from '../text/clean/clean-caption.ts';
import { conditionText } from '../text/conditioning.ts';
import type { TextRows, Texts } from '../text/conditioning.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { VERSION } from '../version.ts';
import { Continuation } from './continuation.ts';
import { deliver, encodePrefix, upload } from './frames.ts';
import { promptsOf } from './inputs.ts';
import { modelNotes } from './model-files.ts';
import type { ModelFiles, StoredNetwork } from './model-files.ts';
import type { LoadingOptions, Networks } from './networks.ts';
import type { OpenedModel } from './opened-model.ts';
import type { CheckedRequest } from './prepare.ts';
import { CallProgress } from './progress.ts';
import type { Call, StageProgress, Work } from './progress.ts';
import type { EncodedPrompt, Facts, FrameValues, GenerationOptions, VideoChunk } from './request.ts';

export interface RunInput<Request extends GenerationOptions> {
  readonly model: OpenedModel<Request>;
  /** Of a single video. */
  readonly run: CheckedRequest<Request>;
  readonly loras: LoraSet;
  readonly choice: LoraChoice;
  readonly call: Call;
  /** Of the widest layer of a tile of tokens. */
  readonly tileBytes: number;
}

/** Yields every chunk as soon as it is decoded, and returns the facts; frees what it made, however it ends. */
export async function* generateChunks<Request extends GenerationOptions>(
  input: RunInput<Request>,
): AsyncGenerator<VideoChunk<FrameValues>, Facts, undefined> {
  const { model, run, choice } = input;
  const { request, settings, sampling, prefix: given } = run;
  const { networks, device, config, environment, mode } = model;
  const { signal, onProgress } = input.call;
  const runtime = config.runtime_config;
  const start = performance.now();
  const loadedBefore = networks.loadingSeconds;
  device.resetPeak();
  signal.throwIfAborted();
  const going = await Continuation.of(model, run, choice, device);
  const { plan, resume, keeper } = going;
  const prompts = promptsOf(run.texts);
  const missing = networks.missingBytesOfRun(prompts > 0);
  const progress = new CallProgress(estimateWork(model, run, missing), onProgress);
  const loading = progress.stage('loading', missing);

  // Before the transformer is needed: where memory is short both do not fit at once.
  device.mark('text');
  const text = progress.stage('text', prompts);
  const { maxSequenceLength } = settings;
  const encoded = await encodeTexts(model, run.texts, text, { maxSequenceLength, signal, loading });
  const textSeconds = text.seconds - (networks.loadingSeconds - loadedBefore);
  using held = await networks.use(['transformer', 'vae'], { signal, loading, run: true });
  const { transformer, vae } = held.networks;
  loading.finish();
  text.finish();
  const restore: Parameters<LoraSet['attach']>[1] = (params, names) =>
    model.transformer.restore(params, names, { signal });
  await input.loras.attach(transformer, restore, choice, { signal });
  const conditioning = await conditionTexts(model, transformer, encoded.texts, run);

  const forwards = countChunkForwards(plan);
  let prefix: Tensor | undefined;
  try {
    const encoding = progress.stage('encoding', 1);
    if (given.pictures !== undefined) {
      device.mark('encoding');
      prefix = await encodePrefix(vae, upload(device, given.pictures, given.frames), config, signal);
      await device.sync(signal);
      await vae.params.stream?.rest();
      encoding.at(1, given.frames === 1 ? '1 frame' : `${given.frames} frames`);
    }
    prefix = going.start(device, prefix);
    const encodingSeconds = encoding.seconds;
    device.mark('denoising');
    const denoising = progress.stage('denoising', forwards.planned);
    const decoding = progress.stage('decoding', settings.chunks);
    const [latentHeight, latentWidth] = [settings.height / LATENT_STRIDE, settings.width / LATENT_STRIDE];
    const remedies = remediesOf(request, choice.loras.length);
    const latents = sample(
      {
        model: transformer,
        plan,
        text: conditioning,
        height: latentHeight,
        width: latentWidth,
        noise: noiseOf(model, run, latentHeight * latentWidth),
        prefix,
        cacheDType: settings.cacheDType,
        tileBytes: input.tileBytes,
        prevChunksScale: environment.prevChunksScale,
        resume,
        remedies,
        onStep: async (step, state) => {
          denoising.advance(forwardsOf(step), workedOn(step, sampling, settings.chunks));
          await request.onStep?.(step, state);
          await request.callbackOnStepEnd?.(step, state);
          await keeper?.after(step, state.latents);
        },
        onSkippedStep: (step) => {
          denoising.advance(forwardsOf(step), workedOn(step, sampling, settings.chunks));
          progress.measureFromHere();
        },
      },
      { signal },
    );
    progress.measureFromHere();
    denoising.at(0, workedOn(plan.steps[0]!, sampling, settings.chunks));
    let firstFrame = 0;
    let decodingSeconds = 0;
    let consumerSeconds = 0;
    const generationStart = performance.now();
    for await (const { order, latent } of going.chunks(device, latents)) {
      using finished = latent;
      await device.sync(signal); // so that each stage's time is its own
      await transformer.params.stream?.rest();
      device.mark('decoding');
      const decodeStart = performance.now();
      const origin = { chunk: { index: order, count: settings.chunks }, remedies };
      const { frames, frameCount } = await deliver(vae, finished, settings.outputType, runtime, signal, origin);
      await vae.params.stream?.rest();
      decodingSeconds += (performance.now() - decodeStart) / 1000;
      decoding.at(order + 1, `chunk ${order + 1} of ${settings.chunks}`);
      const { width, height, fps } = settings;
      device.mark('output');
      const handedOver = performance.now();
      const chunk = { index: order, frameCount, firstFrame, frames, width, height, fps };
      await request.onChunk?.(chunk);
      yield chunk;
      consumerSeconds += (performance.now() - handedOver) / 1000;
      firstFrame += frameCount;
      device.mark('denoising');
    }
    const generationSeconds = (performance.now() - generationStart) / 1000;
    const peakProcessBytes = processPeakBytes();
    return {
      ...encoded.facts,
      mode: mode.name,
      settings,
      clip: given.clip === undefined ? null : { ...given.clip, newFrames: settings.frames },
      model: { config: model.configFile, name: config.model_config.model_name },
      loras: choice.loras,
      versions: versions(),
      device: { backend: device.backend, name: device.info.name, reason: device.info.reason },
      offload: networks.offload,
      seconds: {
        loading: networks.loadingSeconds - loadedBefore,
        text: textSeconds,
        encoding: encodingSeconds,
        denoising: generationSeconds - decodingSeconds - consumerSeconds,
        decoding: decodingSeconds,
        total: (performance.now() - start) / 1000,
      },
      peakDeviceBytes: device.memory().peak,
      ...(peakProcessBytes === undefined ? {} : { peakProcessBytes }),
      chunkForwards: { run: forwards.planned, full: forwards.full },
      notes: [...modelNotes(model), ...loraNotes(choice.loras), ...run.notes, ...encoded.notes, ...going.notes],
    };
  } finally {
    prefix?.dispose();
  }
}

interface EncodePromptOptions extends LoadingOptions {
  readonly maxSequenceLength: number;
}

/**
 * Valid rows only.
 * @throws NotFiniteError where the text encoder gives anything else than numbers
 */
export async function encodePrompt(
  { networks, config, tokenizer }: Pick<ModelFiles, 'config' | 'tokenizer'> & { readonly networks: Networks },
  prompt: string,
  { maxSequenceLength: maxLength, signal, loading }: EncodePromptOptions,
): Promise<EncodedPrompt> {
  const { caption_channels: width } = config.model_config;
  const cleaned = await cleanPromptInTurns(prompt, signal);
  const { inputIds, attentionMask } = tokenizer.encodePadded(cleaned, maxLength);
  const length = attentionMask.indexOf(0) < 0 ? maxLength : attentionMask.indexOf(0);
  const truncated = length === maxLength && tokenizer.encode(cleaned).length > maxLength;
  using held = await networks.use(['textEncoder'], { signal, loading });
  const { textEncoder } = held.networks;
  // Masked keys are seen by no row: padding need not be run.
  const hidden = await textEncoder.encode(inputIds.slice(0, length), attentionMask.slice(0, length), { signal });
  try {
    const rows = (await hidden.toFloat32()).subarray(0, length * width);
    refuseNotFinite(rows, { stage: 'text', what: 'the features of the prompt' });
    return { rows, length, cleaned, truncated };
  } finally {
    hidden.dispose();
  }
}

/** Encodes one after the other, features are taken as they are; and how the texts read in the facts of a run. */
export async function encodeTexts(
  model: Parameters<typeof encodePrompt>[0],
  { caption, later, negative }: Texts<string | TextRows>,
  progress: StageProgress,
  options: EncodePromptOptions,
): Promise<{
  readonly texts: Texts<TextRows>;
  readonly notes: readonly string[];
  readonly facts: Pick<Facts, 'prompt' | 'cleanedPrompt' | 'chunkPrompts' | 'negativePrompt' | 'textTokens'>;
}> {
  const given = [
    { what: 'prompt', text: caption },
    ...later.map(({ chunk, text }) => ({ what: `prompt of chunk ${chunk}`, text })),
    ...(negative === undefined ? [] : [{ what: 'negative prompt', text: negative }]),
  ];
  const rows: (TextRows & { readonly cleaned?: string })[] = [];
  const notes: string[] = [];
  for (const { what, text } of given) {
    if (typeof text !== 'string') {
      rows.push(text);
      continue;
    }
    const encoded = await encodePrompt(model, text, options);
    if (encoded.truncated) notes.push(`the ${what} was cut to ${options.maxSequenceLength} tokens`);
    progress.advance(1, `${encoded.length} tokens`);
    rows.push(encoded);
  }
  const [first, ...others] = rows as [(typeof rows)[0], ...typeof rows];
  const promptOf = (text: string | TextRows | undefined) => (typeof text === 'string' ? text : null);
  return {
    texts: {
      caption: first,
      later: later.map(({ chunk }, i) => ({ chunk, text: others[i]! })),
      negative: negative === undefined ? undefined : others.at(-1),
    },
    notes,
    facts: {
      prompt: promptOf(caption),
      cleanedPrompt: first.cleaned ?? null,
      chunkPrompts: later.map(({ chunk, text }) => ({ chunk, prompt: promptOf(text) })),
      negativePrompt: promptOf(negative),
      textTokens: first.length,
    },
  };
}

async function conditionTexts<Request extends GenerationOptions>(
  model: OpenedModel<Request>,
  transformer: VideoDiT,
  texts: Texts<TextRows>,
  { settings, sampling: plan }: CheckedRequest<Request>,
) {
  const { caption_channels: width, caption_max_length: captionMaxLength } = model.config.model_config;
  const switches = settings.specialTokens;
  const specialTokens = Object.values(switches).some((on) => on) ? { specialTokens: await model.specialTokens() } : {};
  const nullRows = await transformer.nullCaption();
  return conditionText({
    ...texts,
    nullCaption: { rows: nullRows, length: nullRows.length / width },
    switches,
    ...specialTokens,
    width,
    captionMaxLength,
    chunks: plan.options.chunks,
    prefixChunks: plan.chunkOffset,
  });
}

/** Parts of one tensor [1, C, frames, h, w], made chunk by chunk: host memory does not grow with the video. */
function noiseOf<Request extends GenerationOptions>(
  { config, vaeConfig }: OpenedModel<Request>,
  { request: { latents: given }, settings, sampling: { latentFrames } }: CheckedRequest<Request>,
  area: number,
): (chunk: number) => Float32Array {
  const { chunk_width: chunkWidth } = config.runtime_config;
  const channels = vaeConfig.z_chans;
  const length = chunkWidth * area;
  return (chunk) => {
    const out = new Float32Array(channels * length);
    for (let c = 0; c < channels; c++) {
      const start = (c * latentFrames + chunk * chunkWidth) * area;
      out.set(given ? given.subarray(start, start + length) : seededNoise(settings.seed, length, start), c * length);
    }
    return out;
  };
}

/** The chunks that a step denoises, counted among those that come out. */
function workedOn({ stage }: SamplingStep, { chunkOffset }: SamplingPlan, count: number): string {
  const [first, last] = [stage.chunkStart - chunkOffset + 1, stage.chunkEnd - chunkOffset];
  return first === last ? `chunk ${first} of ${count}` : `chunks ${first} to ${last} of ${count}`;
}

function forwardsOf({ chunks, passes }: SamplingStep): number {
  return (
    (passes.caption ? chunks.length : 0) +
    (passes.nullText ? chunks.length : 0) +
    passes.alone.length +
    (passes.nearlyClean === null ? 0 : 1)
  );
}

function versions(): Facts['versions'] {
  const node = typeof process === 'undefined' ? undefined : process.versions?.node;
  return { magi1: VERSION, ...(node === undefined ? {} : { node }) };
}

/** What a request itself gives reason to change, in words for the error. */
function remediesOf({ guidanceScale, latents }: GenerationOptions, loras: number): string[] {
  return [
    ...(typeof guidanceScale === 'number' ? ['a smaller guidance scale'] : []),
    ...(latents === undefined ? [] : ['other latents']),
    ...(loras === 0 ? [] : ['no LoRA']),
  ];
}

/** Multiply-adds that take as long as a byte takes to be loaded. */
const PER_BYTE = 50;
/** Tokens of a usual prompt: only the tokenizer knows, and the share is small. */
const PROMPT_TOKENS = 40;

/**
 * How a run's work spreads over its stages, roughly: multiply-adds of the linear layers, and bytes to load.
 * @param loading bytes of the networks that have to be loaded
 */
function estimateWork(files: ModelFiles, { settings, sampling, texts }: CheckedRequest, loading: number): Work {
  const { model_config: model, runtime_config: runtime } = files.config;
  const { patch_length, patch_size } = files.vaeConfig;
  const [transformer, textEncoder, vae] = [files.transformer, files.textEncoder, files.vae].map(parametersOf);
  const side = LATENT_STRIDE * model.patch_size;
  const area = settings.height * settings.width;
  const tokens = (runtime.chunk_width / model.t_patch_size) * (area / side ** 2);
  const patches = (frames: number) => (frames / patch_length) * (area / patch_size ** 2);
  const prompts = promptsOf(texts);
  return {
    loading: PER_BYTE * loading,
    text: textEncoder! * PROMPT_TOKENS * prompts,
    encoding: (vae! / 2) * patches(settings.prefixFrames),
    denoising: transformer! * tokens * countChunkForwards(sampling).planned,
    decoding: settings.outputType === 'latents' ? 0 : (vae! / 2) * patches(settings.frames),
  };
}

function parametersOf({ entries }: StoredNetwork<unknown>): number {
  let count = 0;
  for (const { shape } of entries.values()) count += shape.reduce((product, dim) => product * dim, 1);
  return count;
}
