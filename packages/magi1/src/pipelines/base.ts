// What all pipelines share: opening and checking a model, encoding text, and the loop from noise to frames.
import { Magi1Error, keep } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import type { Environment, Magi1Config } from '../config/index.ts';
import type { LoraSet } from '../lora/index.ts';
import type { FuseLoraOptions, LoadLoraOptions, LoraInfo } from '../lora/index.ts';
import { countChunkForwards, seededNoise } from '../sampler/index.ts';
import type { SamplingStep } from '../sampler/index.ts';
import type { RgbFrames } from '../media/rgb-frames.ts';
import { sample } from '../sampler/sample.ts';
import { cleanPrompt } from '../t5/clean-caption.ts';
import { conditionText } from '../text-conditioning/index.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { VERSION } from '../version.ts';
import { Callable } from './callable.ts';
import { checkRequest, singleRequests } from './check-request.ts';
import type { CheckedRequest } from './check-request.ts';
import { encodeTexts } from './encode-texts.ts';
import type { EncodedTexts } from './encode-texts.ts';
import { checkEncodable, checkLatents, deliver, encodePrefix, joinFrames, joinLatents } from './frames.ts';
import type { Latents } from './frames.ts';
import { chooseResidency, estimateMemory } from './memory.ts';
import type { MemoryNeed } from './memory.ts';
import type { Mode } from './mode.ts';
import { contextOf, prepareRequest, sizeOf } from './open-model.ts';
import type { OpenedModel } from './open-model.ts';
import { modelNotes } from './model-folder.ts';
import type { NetworkOptions } from './networks.ts';
import { StageProgress } from './progress.ts';
import type { GenerationOptions } from './request.ts';
import type { Settings } from './settings.ts';
import type { Trained } from './trained.ts';
import type { EncodedPrompt, Facts, FrameValues, FramesOf, GeneratedVideo, VideoChunk } from './result.ts';

/** What a request would give and need. */
export interface RunPlan {
  readonly settings: Settings;
  readonly memory: MemoryNeed;
  /** Runs that the request asks for. */
  readonly videos: number;
  readonly notes: readonly string[];
}

type EncodeOptions = Pick<GenerationOptions, 'signal' | 'onProgress' | 'maxSequenceLength'>;

/** Everything a pipeline is made of; its mode says what it starts from. */
export abstract class Magi1Base<Request extends GenerationOptions> extends Callable<
  Request,
  GeneratedVideo<FrameValues>
> {
  readonly #model: OpenedModel<Request>;
  readonly #loras: LoraSet;
  #running = false;

  constructor(model: OpenedModel<Request>) {
    super();
    this.#model = model;
    this.#loras = model.loras;
  }

  /** `t2v`, `i2v` or `v2v`. */
  get mode(): Mode<Request>['name'] {
    return this.#model.mode.name;
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
  /** What the model was trained on, where it says so. */
  get trained(): Trained | null {
    return this.#model.parts.source.trained;
  }

  /**
   * What a request would give and need, without running it. A clip that has not been read (see `prepare`) is taken to
   * have all the frames that are wanted of it.
   */
  plan(request: Request): RunPlan {
    const checked = this.#check(request);
    const { settings, videos, notes } = checked;
    const size = sizeOf(checked, this.#loras.deviceBytes);
    return { settings, memory: estimateMemory(this.#model.parts, checked.plan, size), videos, notes };
  }

  /** Checks a request and reads its picture or clip: the same request with decoded frames. */
  async prepare(request: Request): Promise<Request> {
    return prepareRequest(request, this.#model.mode, this.#model.parts.source);
  }

  /** Runs a request for one video; its frames in one piece. */
  async generate<R extends Request>(request: R): Promise<GeneratedVideo<FramesOf<R>>> {
    this.#refuseBatch(this.#check(request));
    const prepared = (await this.prepare(request)) as R;
    const { settings } = this.#check(prepared);
    const { width, height, fps, outputType } = settings;
    const stream = this.stream(prepared);
    const parts: FramesOf<R>[] = [];
    let numFrames = 0;
    for (;;) {
      const next = await stream.next();
      if (next.done !== true) {
        parts.push(next.value.frames);
        numFrames += next.value.frameCount;
        continue;
      }
      const channels = this.#model.parts.vaeConfig.z_chans;
      const frames = outputType === 'latents' ? joinLatents(parts as Float32Array[], channels) : joinFrames(parts);
      return { frames: frames as FramesOf<R>, numFrames, width, height, fps, facts: next.value };
    }
  }

  /** Runs a batch: prompt lists and numVideosPerPrompt are a sequence of runs, each yielded when it is done. */
  async *batch<R extends Request>(request: R): AsyncGenerator<GeneratedVideo<FramesOf<R>>, void, undefined> {
    const prepared = (await this.prepare(request)) as R;
    for (const single of singleRequests(prepared, this.#check(prepared))) yield await this.generate(single);
  }

  /** The requests of a batch, one run each, with the picture or clip read. */
  async requestsOf(request: Request): Promise<Request[]> {
    const prepared = await this.prepare(request);
    return singleRequests(prepared, this.#check(prepared));
  }

  /** Yields every chunk's frames as soon as it is decoded, and returns the facts. For a request for one video. */
  async *stream<R extends Request>(request: R): AsyncGenerator<VideoChunk<FramesOf<R>>, Facts, undefined> {
    this.#refuseBatch(this.#check(request));
    if (this.#running) throw new Magi1Error('pipeline: a run is under way; wait for its end or open another pipeline');
    this.#running = true;
    try {
      request.signal?.throwIfAborted();
      const prepared = await this.prepare(request);
      const checked = this.#check(prepared);
      const { networks, device, parts } = this.#model;
      networks.residency = chooseResidency(device, parts, checked.plan, sizeOf(checked, this.#loras.deviceBytes));
      return yield* this.#run(prepared, checked) as AsyncGenerator<VideoChunk<FramesOf<R>>, Facts, undefined>;
    } finally {
      this.#running = false;
    }
  }

  /** A prompt's T5 features, valid rows only: cleaned, tokenised, encoded. They can be given as `promptEmbeds`. */
  async encodePrompt(
    prompt: string,
    { signal, onProgress, maxSequenceLength }: EncodeOptions = {},
  ): Promise<EncodedPrompt> {
    const { networks, parts } = this.#model;
    const { caption_max_length, caption_channels: width } = this.config.model_config;
    const maxLength = maxSequenceLength ?? caption_max_length;
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

  /**
   * Frames through the VAE, as a prefix is encoded: in tiles of half a second, times scale_factor.
   * @throws Magi1Error for sides that are no multiples of 8, and where frames would be left over
   */
  async encodeFrames(pictures: RgbFrames, options: NetworkOptions = {}): Promise<Latents> {
    const latentFrames = checkEncodable(pictures, this.config.runtime_config.fps);
    const { vae } = await this.#model.networks.generators(options);
    const { runtime_config: runtime } = this.config;
    using z = keep(await encodePrefix(this.device, vae, pictures, pictures.frameCount, runtime, options.signal));
    const { width, height } = pictures;
    return { values: await z.toFloat32(), latentFrames, height: height / 8, width: width / 8 };
  }

  /** Latents to frames, as a chunk is decoded: those of `encodeFrames`, or of a run with outputType 'latents'. */
  async decodeLatents(latents: Latents, options: NetworkOptions = {}): Promise<RgbFrames> {
    const channels = this.#model.parts.vaeConfig.z_chans;
    const shape = checkLatents(latents, channels);
    const { vae } = await this.#model.networks.generators(options);
    using z = keep(this.device.tensor(latents.values, shape, 'f32'));
    const { frames, frameCount } = await deliver(vae, z, 'uint8', this.config.runtime_config, options.signal);
    return { data: frames as Uint8Array, frameCount, width: 8 * latents.width, height: 8 * latents.height };
  }

  /** LoRAs that are loaded. */
  get loras(): LoraInfo[] {
    return this.#loras.list();
  }

  /**
   * Loads a LoRA for the transformer: a file, a folder with one, or the bytes of a safetensors file. It and the changes
   * below act from the next run on.
   * @throws Magi1Error naming modules that the transformer does not have, and factors of the wrong width
   */
  async loadLora(source: string | Uint8Array, options: LoadLoraOptions = {}): Promise<LoraInfo> {
    return this.#loras.load(source, options);
  }

  /** Which LoRAs act, and how strongly; those not named do not act. */
  setLoras(weights: Readonly<Record<string, number>>): void {
    this.#loras.set(weights);
  }

  /** Forgets one LoRA, or all. */
  unloadLora(name?: string): void {
    this.#loras.unload(name);
  }

  /** Puts LoRAs into the weights themselves, with the weights they have now: runs cost nothing more then. */
  fuseLora(options: FuseLoraOptions = {}): void {
    this.#loras.fuse(options);
  }

  /** Takes the fused LoRAs out again: the very bits of the checkpoint come back. */
  unfuseLora(): void {
    this.#loras.unfuse();
  }

  /** Frees the networks, and the device if this pipeline opened it. */
  async dispose(): Promise<void> {
    this.#model.networks.dispose();
    if (this.#model.ownsDevice) await this.#model.device.dispose();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  #check(request: Request): CheckedRequest {
    const { mode, parts } = this.#model;
    return checkRequest(request, mode, contextOf(parts.source));
  }

  #refuseBatch({ videos }: CheckedRequest): void {
    if (videos > 1)
      throw new Magi1Error(`request: ${videos} videos are asked for; take them one after the other from batch()`);
  }

  async *#run(request: Request, checked: CheckedRequest): AsyncGenerator<VideoChunk<FrameValues>, Facts, undefined> {
    const { settings, plan, prefix: given } = checked;
    const { networks, device, parts } = this.#model;
    const { signal, onProgress } = request;
    const runtime = this.config.runtime_config;
    const start = performance.now();
    const loadedBefore = networks.loadingSeconds;
    device.resetPeak();
    signal?.throwIfAborted();
    const textProgress = new StageProgress('text', 1, onProgress);
    // Before the transformer is needed: where memory is short both do not fit at once.
    const { maxSequenceLength } = settings;
    const texts = await encodeTexts(checked.texts, maxSequenceLength, (prompt) =>
      this.encodePrompt(prompt, { signal, onProgress, maxSequenceLength }),
    );
    const textSeconds = textProgress.seconds - (networks.loadingSeconds - loadedBefore);
    textProgress.at(1, `${texts.caption.length} tokens`);
    const { transformer, vae } = await networks.generators({ signal, onProgress });
    await this.#loras.attach(transformer, (weights, names) => parts.transformer.restore(weights, names, { signal }), {
      scale: request.attentionKwargs?.scale,
      signal,
    });
    const text = await this.#conditionText(transformer, texts, checked);

    const forwards = countChunkForwards(plan);
    const encoding = new StageProgress('encoding', 1, onProgress);
    let prefix: Tensor | undefined;
    try {
      if (given.pictures !== undefined) {
        prefix = await encodePrefix(device, vae, given.pictures, given.frames, runtime, signal);
        await device.sync(signal);
        encoding.at(1, given.frames === 1 ? '1 frame' : `${given.frames} frames`);
      }
      const encodingSeconds = encoding.seconds;
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
          prefix,
          prevChunksScale: parts.source.environment.prevChunksScale,
          onStep: (step, state) => {
            denoising.advance(forwardsOf(step), `step ${step.index + 1} of ${plan.steps.length}`);
            request.onStep?.(step, state);
            request.callbackOnStepEnd?.(step, state);
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
        using finished = latent;
        await device.sync(signal); // so that each stage's time is its own
        const decodeStart = performance.now();
        const { frames, frameCount } = await deliver(vae, finished, settings.outputType, runtime, signal);
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
      return {
        ...texts.facts,
        mode: this.mode,
        textTokens: texts.caption.length,
        settings,
        model: { config: parts.source.paths.config, name: this.config.model_config.model_name },
        loras: this.loras,
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
        chunkForwards: { run: forwards.planned, full: forwards.full },
        notes: [...modelNotes(parts.source), ...checked.notes, ...texts.notes],
      };
    } finally {
      prefix?.dispose();
    }
  }

  async #conditionText(
    transformer: VideoDiT,
    { caption, laterCaptions, negative }: EncodedTexts,
    { settings, plan }: CheckedRequest,
  ) {
    const { parts } = this.#model;
    const { caption_channels: width, caption_max_length: captionMaxLength } = this.config.model_config;
    const switches = settings.specialTokens;
    const specialTokens = Object.values(switches).some((on) => on)
      ? { specialTokens: await parts.specialTokens() }
      : {};
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
