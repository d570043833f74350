// What all pipelines share: opening and checking a model, encoding text, and the loop from noise to frames.
import { affine, framesToUint8 } from '@magi1/kernels';
import { Device, Magi1Error, keep, scope } from '@magi1/tensor';
import type { DeviceOptions, Tensor } from '@magi1/tensor';
import type { Environment, Magi1Config } from '../config/index.ts';
import { countChunkForwards, seededNoise } from '../sampler/index.ts';
import type { SamplingPlan, SamplingStep } from '../sampler/index.ts';
import { sample } from '../sampler/sample.ts';
import { cleanPrompt } from '../t5/clean-caption.ts';
import { conditionText } from '../text-conditioning/index.ts';
import type { TextRows } from '../text-conditioning/index.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { defaultTiles, tiledDecode } from '../vae/tiling.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { VERSION } from '../version.ts';
import { Callable } from './callable.ts';
import { chooseResidency, estimateMemory } from './memory.ts';
import type { MemoryNeed } from './memory.ts';
import type { ModelSource } from './model-folder.ts';
import { Networks } from './networks.ts';
import { openParts } from './parts.ts';
import type { ModelParts, WeightDTypes } from './parts.ts';
import { StageProgress } from './progress.ts';
import type { ProgressListener } from './progress.ts';
import type { CheckedRequest, GenerationOptions, Settings } from './request.ts';

export interface PipelineOptions<Request> {
  /** An open device, which the caller disposes, or how to open one (`auto` by default), which the pipeline disposes. */
  readonly device?: Device | DeviceOptions | undefined;
  /** dtype of matrices on the device; as stored when left out. */
  readonly dtype?: WeightDTypes | undefined;
  /** Switches that the original reads from the environment. */
  readonly environment?: Environment | undefined;
  /** The first request, where it is known: it is checked, with the memory it needs, before anything is loaded. */
  readonly request?: Request | undefined;
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ProgressListener | undefined;
}

/** The frames of one chunk, as soon as they are there. */
export interface VideoChunk {
  /** Order of delivery, from 0. */
  readonly index: number;
  readonly frameCount: number;
  /** Place of its first frame in the video. */
  readonly firstFrame: number;
  /** RGB, [frameCount, height, width, 3]. */
  readonly frames: Uint8Array;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
}

/** What ran, and how it went. */
export interface Facts {
  readonly mode: string;
  readonly prompt: string;
  readonly cleanedPrompt: string;
  /** Valid rows of the caption, special tokens left out. */
  readonly textTokens: number;
  readonly settings: Settings;
  readonly model: { readonly config: string; readonly name: string };
  readonly versions: { readonly magi1: string; readonly node?: string };
  readonly device: { readonly backend: string; readonly name: string; readonly reason: string };
  /** Wall time of each stage; loading is 0 where the networks were there already. */
  readonly seconds: {
    readonly loading: number;
    readonly text: number;
    readonly denoising: number;
    readonly decoding: number;
    readonly total: number;
  };
  /** Highest use of device memory during the run, weights included. */
  readonly peakDeviceBytes: number;
  /** Passes of one chunk through the transformer: run, and what they would be if no pass were left out. */
  readonly chunkForwards: { readonly run: number; readonly full: number };
  /** What a user should be told once. */
  readonly notes: readonly string[];
}

export interface GeneratedVideo {
  /** RGB, [numFrames, height, width, 3]. */
  readonly frames: Uint8Array;
  readonly numFrames: number;
  readonly width: number;
  readonly height: number;
  readonly fps: number;
  readonly facts: Facts;
}

export interface EncodedPrompt extends TextRows {
  readonly cleaned: string;
  /** The prompt was longer than caption_max_length tokens. */
  readonly truncated: boolean;
}

export interface OpenedModel {
  readonly parts: ModelParts;
  readonly device: Device;
  readonly ownsDevice: boolean;
  readonly networks: Networks;
}

/** Everything a pipeline is made of; sub-classes say what a request is and check it. */
export abstract class Magi1Base<Request extends GenerationOptions> extends Callable<Request, GeneratedVideo> {
  readonly #model: OpenedModel;
  #running = false;

  constructor(model: OpenedModel) {
    super();
    this.#model = model;
  }

  get config(): Magi1Config {
    return this.#model.parts.source.config;
  }
  get device(): Device {
    return this.#model.device;
  }
  get environment(): Environment {
    return this.#model.parts.source.environment;
  }

  /** Names the pipeline in facts: `t2v`. */
  abstract readonly mode: string;
  /** Checks a request and plans it; nothing is loaded or run. */
  protected abstract check(request: Request): CheckedRequest;
  protected abstract promptOf(request: Request): string;

  /** What a request would give and need, without running it. */
  plan(request: Request): { readonly settings: Settings; readonly memory: MemoryNeed } {
    const { settings, plan } = this.check(request);
    return { settings, memory: estimateMemory(this.#model.parts, plan, settings) };
  }

  /** Runs a request; its frames in one piece. */
  async generate(request: Request): Promise<GeneratedVideo> {
    const { settings } = this.check(request);
    const { width, height, fps } = settings;
    const frames = new Uint8Array(settings.frames * width * height * 3);
    const stream = this.stream(request);
    let numFrames = 0;
    for (;;) {
      const next = await stream.next();
      if (next.done)
        return {
          frames: frames.subarray(0, numFrames * width * height * 3),
          numFrames,
          width,
          height,
          fps,
          facts: next.value,
        };
      frames.set(next.value.frames, numFrames * width * height * 3);
      numFrames += next.value.frameCount;
    }
  }

  /** Yields every chunk's frames as soon as it is decoded, and returns the facts. */
  async *stream(request: Request): AsyncGenerator<VideoChunk, Facts, undefined> {
    const checked = this.check(request);
    const { parts, networks, device } = this.#model;
    if (this.#running) throw new Magi1Error('pipeline: a run is under way; wait for its end or open another pipeline');
    this.#running = true;
    try {
      networks.residency = chooseResidency(device, parts, checked.plan, checked.settings);
      return yield* this.#run(request, checked);
    } finally {
      this.#running = false;
    }
  }

  /** A prompt's T5 features, valid rows only: cleaned, tokenised, encoded. */
  async encodePrompt(
    prompt: string,
    { signal, onProgress }: Pick<GenerationOptions, 'signal' | 'onProgress'> = {},
  ): Promise<EncodedPrompt> {
    const { networks, parts } = this.#model;
    const { caption_max_length: maxLength, caption_channels: width } = this.config.model_config;
    const cleaned = cleanPrompt(prompt);
    const { inputIds, attentionMask } = parts.tokenizer.encodePadded(cleaned, maxLength);
    const length = attentionMask.indexOf(0) < 0 ? maxLength : attentionMask.indexOf(0);
    const truncated = length === maxLength && parts.tokenizer.encode(cleaned).length > maxLength;
    const encoder = await networks.textEncoder({ signal, onProgress });
    // Masked keys are seen by no row: padding need not be run.
    const hidden = await encoder.encode(inputIds.slice(0, length), attentionMask.slice(0, length), { signal });
    try {
      return { rows: (await hidden.toFloat32()).subarray(0, length * width), length, cleaned, truncated };
    } finally {
      hidden.dispose();
    }
  }

  /** Frees the networks, and the device if this pipeline opened it. */
  async dispose(): Promise<void> {
    this.#model.networks.dispose();
    if (this.#model.ownsDevice) await this.#model.device.dispose();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async *#run(request: Request, { settings, plan }: CheckedRequest): AsyncGenerator<VideoChunk, Facts, undefined> {
    const { networks, device, parts } = this.#model;
    const { signal, onProgress } = request;
    const start = performance.now();
    const loadedBefore = networks.loadingSeconds;
    device.resetPeak();
    signal?.throwIfAborted();
    const prompt = this.promptOf(request);
    const textProgress = new StageProgress('text', 1, onProgress);
    const encoded = await this.encodePrompt(prompt, { signal, onProgress });
    const loadedForText = networks.loadingSeconds - loadedBefore;
    const textSeconds = textProgress.seconds - loadedForText;
    textProgress.at(1, `${encoded.length} tokens`);
    const { transformer, vae } = await networks.generators({ signal, onProgress });
    const text = await this.#conditionText(transformer, encoded, settings, plan);

    const forwards = countChunkForwards(plan);
    const denoising = new StageProgress('denoising', forwards.planned, onProgress);
    const decoding = new StageProgress('decoding', settings.chunks, onProgress);
    const [latentHeight, latentWidth] = [settings.height / 8, settings.width / 8];
    const latents = sample(
      {
        model: transformer,
        plan,
        text,
        height: latentHeight,
        width: latentWidth,
        noise: this.#noise(request, settings.seed, plan.latentFrames, latentHeight * latentWidth),
        prevChunksScale: parts.source.environment.prevChunksScale,
        onStep: (step, state) => {
          denoising.advance(forwardsOf(step), `step ${step.index + 1} of ${plan.steps.length}`);
          request.onStep?.(step, state);
        },
      },
      { signal },
    );
    denoising.at(0, `step 1 of ${plan.steps.length}`);
    let firstFrame = 0;
    let decodingSeconds = 0;
    let consumerSeconds = 0;
    const generationStart = performance.now();
    for await (const { order, latent } of latents) {
      await device.sync(signal); // so that each stage's time is its own
      const decodeStart = performance.now();
      const { frames, frameCount } = await this.#decode(vae, latent, signal);
      decodingSeconds += (performance.now() - decodeStart) / 1000;
      decoding.at(order + 1, `chunk ${order + 1} of ${settings.chunks}`);
      const { width, height, fps } = settings;
      const handedOver = performance.now();
      yield { index: order, frameCount, firstFrame, frames, width, height, fps };
      consumerSeconds += (performance.now() - handedOver) / 1000;
      firstFrame += frameCount;
    }
    const generationSeconds = (performance.now() - generationStart) / 1000;
    return {
      mode: this.mode,
      prompt,
      cleanedPrompt: encoded.cleaned,
      textTokens: encoded.length,
      settings,
      model: { config: parts.source.paths.config, name: this.config.model_config.model_name },
      versions: versions(),
      device: { backend: device.backend, name: device.info.name, reason: device.info.reason },
      seconds: {
        loading: networks.loadingSeconds - loadedBefore,
        text: textSeconds,
        denoising: generationSeconds - decodingSeconds - consumerSeconds,
        decoding: decodingSeconds,
        total: (performance.now() - start) / 1000,
      },
      peakDeviceBytes: device.memory().peak,
      chunkForwards: { run: forwards.planned, full: forwards.full },
      notes: encoded.truncated ? [`the prompt was cut to ${this.config.model_config.caption_max_length} tokens`] : [],
    };
  }

  async #conditionText(transformer: VideoDiT, caption: TextRows, settings: Settings, plan: SamplingPlan) {
    const { parts } = this.#model;
    const { caption_channels: width, caption_max_length: captionMaxLength } = this.config.model_config;
    const switches = settings.specialTokens;
    const specialTokens = Object.values(switches).some((on) => on)
      ? { specialTokens: await parts.specialTokens() }
      : {};
    const nullRows = await transformer.nullCaption();
    return conditionText({
      caption,
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
  #noise({ latents }: Request, seed: number, latentFrames: number, area: number): (chunk: number) => Float32Array {
    const { chunk_width: chunkWidth } = this.config.runtime_config;
    const channels = this.#model.parts.vaeConfig.z_chans;
    const length = chunkWidth * area;
    return (chunk) => {
      const out = new Float32Array(channels * length);
      for (let c = 0; c < channels; c++) {
        const start = (c * latentFrames + chunk * chunkWidth) * area;
        out.set(latents ? latents.subarray(start, start + length) : seededNoise(seed, length, start), c * length);
      }
      return out;
    };
  }

  /** One chunk's latents [1, C, t, h, w] to frames; disposes `latent`. */
  async #decode(
    vae: ViTVae,
    latent: Tensor,
    signal: AbortSignal | undefined,
  ): Promise<{ frames: Uint8Array; frameCount: number }> {
    const { scale_factor: scale, fps } = this.config.runtime_config;
    const alive: Tensor[] = [latent];
    const hold = (tensor: Tensor): Tensor => {
      alive.push(keep(tensor));
      return tensor;
    };
    try {
      const z = hold(scope(() => affine(latent, { scale: 1 / scale, shift: 0 })));
      const video = hold(await tiledDecode(vae, z, defaultTiles(fps), { signal }));
      const rgb = hold(scope(() => framesToUint8(video)));
      await this.device.sync(signal);
      return { frames: (await rgb.read()) as Uint8Array, frameCount: rgb.shape[0]! };
    } finally {
      for (const tensor of alive) tensor.dispose();
    }
  }
}

/**
 * Opens a model for a pipeline: every part is checked, then `check` may look at the request, then the memory need is
 * compared with the device, and only then weights are loaded.
 */
export async function openModel<Request>(
  source: ModelSource,
  options: PipelineOptions<Request>,
  check: () => CheckedRequest,
): Promise<OpenedModel> {
  const { settings, plan } = check();
  const parts = await openParts(source, options.dtype);
  if (Object.values(settings.specialTokens).some((on) => on)) await parts.specialTokens();
  options.signal?.throwIfAborted();
  const ownsDevice = !isDevice(options.device);
  const device = isDevice(options.device) ? options.device : await Device.open(options.device);
  let networks: Networks | undefined;
  try {
    networks = new Networks(parts, device, chooseResidency(device, parts, plan, settings));
    await networks.loadResident(options);
    return { parts, device, ownsDevice, networks };
  } catch (error) {
    networks?.dispose();
    if (ownsDevice) await device.dispose();
    throw error;
  }
}

function isDevice(device: Device | DeviceOptions | undefined): device is Device {
  return device !== undefined && 'execute' in device;
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
