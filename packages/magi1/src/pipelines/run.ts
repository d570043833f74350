// One run: from texts and noise to frames, chunk by chunk.
import { processPeakBytes } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { loraNotes } from '../lora/index.ts';
import type { LoraChoice, LoraSet } from '../lora/index.ts';
import { countChunkForwards, seededNoise } from '../sampler/index.ts';
import type { SamplingPlan, SamplingStep } from '../sampler/index.ts';
import { sample } from '../sampler/sample.ts';
import { conditionText } from '../text/conditioning.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { VERSION } from '../version.ts';
import type { Call } from './call.ts';
import type { CheckedRequest } from './check-request.ts';
import { encodePrompt } from './encode-prompt.ts';
import { encodeTexts } from './encode-texts.ts';
import type { EncodedTexts } from './encode-texts.ts';
import { deliver, encodePrefix, upload } from './frames.ts';
import { modelNotes } from './model-folder.ts';
import type { OpenedModel } from './open-model.ts';
import { CallProgress } from './progress.ts';
import { remediesOf } from './remedies.ts';
import type { GenerationOptions } from './request.ts';
import type { Facts, FrameValues, VideoChunk } from './result.ts';
import { estimateWork, promptsOf } from './work.ts';

export interface RunInput<Request extends GenerationOptions> {
  readonly model: OpenedModel<Request>;
  /** With decoded frames. */
  readonly request: Request;
  readonly checked: CheckedRequest;
  readonly loras: LoraSet;
  readonly choice: LoraChoice;
  readonly call: Call;
}

/** Yields every chunk as soon as it is decoded, and returns the facts; frees what it made, however it ends. */
export async function* run<Request extends GenerationOptions>(
  input: RunInput<Request>,
): AsyncGenerator<VideoChunk<FrameValues>, Facts, undefined> {
  const { model, request, checked, choice } = input;
  const { settings, plan, prefix: given } = checked;
  const { networks, device, parts, mode } = model;
  const { signal, onProgress } = input.call;
  const { config, environment, paths } = parts.source;
  const runtime = config.runtime_config;
  const start = performance.now();
  const loadedBefore = networks.loadingSeconds;
  device.resetPeak();
  signal.throwIfAborted();
  const prompts = promptsOf(checked.texts);
  const missing = networks.missingBytesOfRun(prompts > 0);
  const progress = new CallProgress(estimateWork(parts, checked, missing), onProgress);
  const loading = progress.stage('loading', missing);

  // Before the transformer is needed: where memory is short both do not fit at once.
  const text = progress.stage('text', prompts);
  const { maxSequenceLength } = settings;
  const texts = await encodeTexts(checked.texts, maxSequenceLength, async (prompt) => {
    const encoded = await encodePrompt(model, prompt, { maxSequenceLength, signal, loading });
    text.advance(1, `${encoded.length} tokens`);
    return encoded;
  });
  const textSeconds = text.seconds - (networks.loadingSeconds - loadedBefore);
  using held = await networks.generators({ signal, loading, run: true });
  const { transformer, vae } = held.networks;
  loading.finish();
  text.finish();
  const restore: Parameters<LoraSet['attach']>[1] = (params, names) =>
    parts.transformer.restore(params, names, { signal });
  await input.loras.attach(transformer, restore, choice, { signal });
  const conditioning = await conditionTexts(model, transformer, texts, checked);

  const forwards = countChunkForwards(plan);
  let prefix: Tensor | undefined;
  try {
    const encoding = progress.stage('encoding', 1);
    if (given.pictures !== undefined) {
      prefix = await encodePrefix(vae, upload(device, given.pictures, given.frames), runtime, signal);
      await device.sync(signal);
      encoding.at(1, given.frames === 1 ? '1 frame' : `${given.frames} frames`);
    }
    const encodingSeconds = encoding.seconds;
    const denoising = progress.stage('denoising', forwards.planned);
    const decoding = progress.stage('decoding', settings.chunks);
    const [latentHeight, latentWidth] = [settings.height / 8, settings.width / 8];
    const remedies = remediesOf(request, choice.loras.length);
    const latents = sample(
      {
        model: transformer,
        plan,
        text: conditioning,
        height: latentHeight,
        width: latentWidth,
        noise: noiseOf(model, checked, request.latents, latentHeight * latentWidth),
        prefix,
        prevChunksScale: environment.prevChunksScale,
        remedies,
        onStep: async (step, state) => {
          denoising.advance(forwardsOf(step), workedOn(step, plan, settings.chunks));
          await request.onStep?.(step, state);
          await request.callbackOnStepEnd?.(step, state);
        },
      },
      { signal },
    );
    progress.measureFromHere();
    denoising.at(0, workedOn(plan.steps[0]!, plan, settings.chunks));
    let firstFrame = 0;
    let decodingSeconds = 0;
    let consumerSeconds = 0;
    const generationStart = performance.now();
    for await (const { order, latent } of latents) {
      using finished = latent;
      await device.sync(signal); // so that each stage's time is its own
      const decodeStart = performance.now();
      const origin = { chunk: { index: order, count: settings.chunks }, remedies };
      const { frames, frameCount } = await deliver(vae, finished, settings.outputType, runtime, signal, origin);
      decodingSeconds += (performance.now() - decodeStart) / 1000;
      decoding.at(order + 1, `chunk ${order + 1} of ${settings.chunks}`);
      const { width, height, fps } = settings;
      const handedOver = performance.now();
      const chunk = { index: order, frameCount, firstFrame, frames, width, height, fps };
      await request.onChunk?.(chunk);
      yield chunk;
      consumerSeconds += (performance.now() - handedOver) / 1000;
      firstFrame += frameCount;
    }
    const generationSeconds = (performance.now() - generationStart) / 1000;
    const peakProcessBytes = processPeakBytes();
    return {
      ...texts.facts,
      mode: mode.name,
      textTokens: texts.caption.length,
      settings,
      clip: given.clip === undefined ? null : { ...given.clip, newFrames: settings.frames },
      model: { config: paths.config, name: config.model_config.model_name },
      loras: choice.loras,
      versions: versions(),
      device: { backend: device.backend, name: device.info.name, reason: device.info.reason },
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
      notes: [...modelNotes(parts.source), ...loraNotes(choice.loras), ...checked.notes, ...texts.notes],
    };
  } finally {
    prefix?.dispose();
  }
}

async function conditionTexts<Request extends GenerationOptions>(
  { parts }: OpenedModel<Request>,
  transformer: VideoDiT,
  { caption, laterCaptions, negative }: EncodedTexts,
  { settings, plan }: CheckedRequest,
) {
  const { caption_channels: width, caption_max_length: captionMaxLength } = parts.source.config.model_config;
  const switches = settings.specialTokens;
  const specialTokens = Object.values(switches).some((on) => on) ? { specialTokens: await parts.specialTokens() } : {};
  const nullRows = await transformer.nullCaption();
  return conditionText({
    caption,
    laterCaptions,
    ...(negative === undefined ? {} : { negative }),
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
  { parts }: OpenedModel<Request>,
  { settings, plan: { latentFrames } }: CheckedRequest,
  given: Float32Array | undefined,
  area: number,
): (chunk: number) => Float32Array {
  const { chunk_width: chunkWidth } = parts.source.config.runtime_config;
  const channels = parts.vaeConfig.z_chans;
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
