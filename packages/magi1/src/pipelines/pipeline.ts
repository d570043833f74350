// The pipelines: opening a model, one run at a time, and calls beside runs. They differ in what they start from.
import type { Folder } from '@magi1/loaders';
import { Magi1Error } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import { LATENT_STRIDE } from '../config/index.ts';
import type { Environment, Magi1Config } from '../config/index.ts';
import type { Trained } from '../config/trained.ts';
import { loraNotes } from '../lora/index.ts';
import type { FuseLoraOptions, LoadLoraOptions, LoraInfo, LoraSet, LoraSource } from '../lora/index.ts';
import type { RgbFrames } from '../media/rgb-frames.ts';
import { RequestError, joined, option, worded } from '../wording.ts';
import { CALL_OPTIONS, checkCall, checkPipelineOptions, countPrompts } from './check-options.ts';
import type { PipelineOptions } from './check-options.ts';
import { checkEncodable, checkLatents, deliver, encodePrefix, joinChunks, upload } from './frames.ts';
import type { Latents } from './frames.ts';
import { IMAGE_TO_VIDEO, TEXT_TO_VIDEO, VIDEO_TO_VIDEO, clipFrames } from './inputs.ts';
import type { Mode } from './inputs.ts';
import type { MemoryNeed } from './memory-plan.ts';
import { capacityOf, sizeOf } from './memory.ts';
import { readConfigFile, readModelFolder } from './model-files.ts';
import { disposedError } from './networks.ts';
import type { Slot } from './networks.ts';
import type { Offload } from './offload.ts';
import { openModel, requireSpecialTokens } from './opened-model.ts';
import type { OpenedModel } from './opened-model.ts';
import { promptFault } from './option-checks.ts';
import { OPTIONS } from './options.ts';
import { Run, checkRequest, readInput, singleRuns } from './prepare.ts';
import type { CheckedRequest, RunPlan } from './prepare.ts';
import { Call, CallProgress } from './progress.ts';
import type { CallOptions, StageProgress } from './progress.ts';
import type {
  EncodedPrompt,
  Facts,
  FrameValues,
  FramesOf,
  GeneratedVideo,
  GenerationOptions,
  ImageToVideoRequest,
  TextToVideoRequest,
  VideoChunk,
  VideoToVideoRequest,
} from './request.ts';
import { encodePrompt, generateChunks } from './run.ts';

type EncodeOptions = CallOptions & Pick<GenerationOptions, 'maxSequenceLength'>;

/** A pipeline's class: what it starts from, and how it is made. */
interface PipelineClass<Request extends GenerationOptions, Pipeline> {
  readonly MODE: Mode<Request>;
  new (model: OpenedModel<Request>): Pipeline;
}

/** What extends it can be called, which is `generate`; its private fields live on the function that is returned here. */
abstract class Callable<Asked, Result> {
  constructor() {
    const self = (request: Asked): Promise<Result> => (self as unknown as this).generate(request);
    return Object.setPrototypeOf(self, new.target.prototype) as this;
  }

  abstract generate(request: Asked): Promise<Result>;
}

export interface Magi1Base<Request extends GenerationOptions> {
  /** Runs a request: `const { frames } = await pipe({ prompt })`; the same as `generate`. */
  <R extends Request | Run<Request>>(request: R): Promise<GeneratedVideo<FramesOf<R>>>;
}

/** Everything a pipeline is made of; its mode says what it starts from. */
// eslint-disable-next-line @typescript-eslint/no-unsafe-declaration-merging
export abstract class Magi1Base<Request extends GenerationOptions> extends Callable<
  Request | Run<Request>,
  GeneratedVideo<FrameValues>
> {
  /**
   * Opens a model folder: `config.json` in the original's format, relative paths resolved against the folder. Everything
   * is checked, the memory need included, before weights are loaded.
   */
  static async fromPretrained<R extends GenerationOptions, Pipeline>(
    this: PipelineClass<R, Pipeline>,
    folder: string | URL | Folder,
    options: PipelineOptions<R> = {},
  ): Promise<Pipeline> {
    checkPipelineOptions(options);
    return new this(await openModel(await readModelFolder(folder, options), this.MODE, options));
  }

  /** Opens a config file of the original, its relative paths resolved against the working directory, with its environment. */
  static async fromConfigFile<R extends GenerationOptions, Pipeline>(
    this: PipelineClass<R, Pipeline>,
    file: string | URL,
    options: PipelineOptions<R> = {},
  ): Promise<Pipeline> {
    checkPipelineOptions(options);
    return new this(await openModel(await readConfigFile(file, options), this.MODE, options));
  }

  readonly #model: OpenedModel<Request>;
  readonly #loras: LoraSet;
  readonly #disposed = new AbortController();
  #running = false;
  /** The run whose chunk the caller has in hand. */
  #suspended: AsyncGenerator<unknown, unknown, undefined> | undefined;

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
    return this.#model.config;
  }
  get device(): Device {
    return this.#model.device;
  }
  get environment(): Environment {
    return this.#model.environment;
  }
  /** What the model was trained on, where it says so. */
  get trained(): Trained | null {
    return this.#model.trained;
  }

  /** How much of the model is on the device at a time: what was asked for, or what the last run or the first one needs. */
  get offload(): Offload {
    return this.#model.networks.offload;
  }

  /** The run of the request that the pipeline was opened with. */
  get firstRun(): Run<Request> | null {
    return this.#model.firstRun;
  }

  /**
   * What a request would make, without running it. A clip that has not been read is taken to have all the frames
   * that are wanted of it; `prepare` reads it.
   */
  plan(request: Request | Run<Request>): RunPlan {
    const checked = this.#checked(request);
    const { settings, videos, prefix, notes } = checked;
    return { settings, videos, clip: prefix.clip ?? null, notes: [...loraNotes(this.loras), ...notes] };
  }

  /**
   * What a request needs on this device, with the LoRAs that act now. What takes most of it, its widest step and the VAE,
   * is gone through with tensors that have no bytes: some tenths of a second for the largest models.
   * @throws TensorTooLargeError, OpError for sizes that this device cannot run, whatever its memory
   */
  async planMemory(request: Request | Run<Request>): Promise<MemoryNeed> {
    const checked = this.#checked(request);
    const { memory, tokenizer } = this.#model;
    const { attentionKwargs, signal } = checked.request;
    const loras = this.#loras.choose(attentionKwargs?.scale);
    return memory.need(await sizeOf(checked, tokenizer, { loras, signal }));
  }

  /**
   * Parses a request once and for all: checks it in full, plans every step, reads its picture or clip. What comes of it
   * says what it will make, and is taken wherever a request is. Nothing of it can be changed; arrays of numbers that were
   * given (frames, features, latents) are not copied, so leave them as they are until its last run is over.
   */
  async prepare<R extends Request>(request: R): Promise<Run<R>> {
    return new Run((await this.#read(this.#checked(request))) as CheckedRequest<R>);
  }

  /** Runs a request for one video; its frames in one piece. */
  async generate<R extends Request | Run<Request>>(request: R): Promise<GeneratedVideo<FramesOf<R>>> {
    return (await joinChunks(this.stream(request), this.#model.vaeConfig.z_chans)) as GeneratedVideo<FramesOf<R>>;
  }

  /** Runs a batch: prompt lists and numVideosPerPrompt are a sequence of runs, each yielded when it is done. */
  async *batch<R extends Request | Run<Request>>(
    request: R,
  ): AsyncGenerator<GeneratedVideo<FramesOf<R>>, void, undefined> {
    for (const single of singleRuns(await this.#read(this.#checked(request))))
      yield (await joinChunks(this.#run(single), this.#model.vaeConfig.z_chans)) as GeneratedVideo<FramesOf<R>>;
  }

  /**
   * Yields every chunk's frames as soon as it is decoded, and returns the facts. For a request for one video.
   * `signal`: ends the run as well as the request's own.
   */
  async *stream<R extends Request | Run<Request>>(
    request: R,
    options: Pick<CallOptions, 'signal'> = {},
  ): AsyncGenerator<VideoChunk<FramesOf<R>>, Facts, undefined> {
    checkCall('stream', options, ['signal']);
    const checked = this.#checked(request);
    if (checked.videos > 1) {
      const { prompt, numVideosPerPrompt = 1 } = checked.request;
      const lists = countPrompts(checked.request) > 1 ? [option(prompt === undefined ? 'promptEmbeds' : 'prompt')] : [];
      const names = joined([...lists, ...(numVideosPerPrompt > 1 ? [option('numVideosPerPrompt')] : [])], ' and ');
      throw new RequestError(
        worded`${names}: ${checked.videos} videos are asked for; take them one after the other from batch()`,
      );
    }
    return yield* this.#run(checked, options.signal) as AsyncGenerator<VideoChunk<FramesOf<R>>, Facts, undefined>;
  }

  /**
   * A prompt's T5 features, valid rows only: cleaned, tokenised, encoded. They can be given as `promptEmbeds`. During a
   * run it is refused where memory is too short for the text encoder and the run's networks at once.
   */
  async encodePrompt(prompt: string, options: EncodeOptions = {}): Promise<EncodedPrompt> {
    const { maxSequenceLength: length } = OPTIONS;
    const given = (options as EncodeOptions | null)?.maxSequenceLength;
    const fault = promptFault(prompt);
    checkCall(
      'encodePrompt',
      options,
      ['maxSequenceLength', ...CALL_OPTIONS],
      [
        ...(fault === undefined ? [] : [worded`${option('prompt')}: ${fault}`]),
        ...(given === undefined ? [] : length.check(given, 'maxSequenceLength', this.config)),
      ],
    );
    const maxSequenceLength = options.maxSequenceLength ?? this.config.model_config.caption_max_length;
    return this.#during(options, ['textEncoder'], ({ signal, loading }) =>
      encodePrompt(this.#model, prompt, { maxSequenceLength, signal, loading }),
    );
  }

  /**
   * Frames through the VAE, as a prefix is encoded: in tiles of half a second, times scale_factor.
   * @throws Magi1Error for sides that are not multiples of 8, and where frames would be left over
   */
  async encodeFrames(pictures: RgbFrames, options: CallOptions = {}): Promise<Latents> {
    checkCall('encodeFrames', options, CALL_OPTIONS);
    const latentFrames = checkEncodable(pictures, this.config.runtime_config.fps);
    return this.#during(options, ['vae'], async ({ signal, loading }) => {
      using held = await this.#model.networks.use(['vae'], { signal, loading });
      const { frameCount, width, height } = pictures;
      using z = await encodePrefix(held.networks.vae, upload(this.device, pictures, frameCount), this.config, signal);
      const [rows, columns] = [height / LATENT_STRIDE, width / LATENT_STRIDE];
      return { values: await z.toFloat32(), latentFrames, height: rows, width: columns };
    });
  }

  /** Latents to frames, as a chunk is decoded: those of `encodeFrames`, or of a run with outputType 'latents'. */
  async decodeLatents(latents: Latents, options: CallOptions = {}): Promise<RgbFrames> {
    checkCall('decodeLatents', options, CALL_OPTIONS);
    const shape = checkLatents(latents, this.#model.vaeConfig.z_chans);
    return this.#during(options, ['vae'], async ({ signal, loading }) => {
      using held = await this.#model.networks.use(['vae'], { signal, loading });
      using z = this.device.tensor(latents.values, shape, 'f32');
      const { frames, frameCount } = await deliver(held.networks.vae, z, 'uint8', this.config.runtime_config, signal);
      const [height, width] = [LATENT_STRIDE * latents.height, LATENT_STRIDE * latents.width];
      return { data: frames as Uint8Array, frameCount, width, height };
    });
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
  async loadLora(source: LoraSource, options: LoadLoraOptions = {}): Promise<LoraInfo> {
    this.#alive();
    return this.#loras.load(source, options);
  }

  /** Which LoRAs act, and how strongly; those not named do not act. */
  setLoras(weights: Readonly<Record<string, number>>): void {
    this.#alive();
    this.#loras.set(weights);
  }

  /** Forgets one LoRA, or all. */
  unloadLora(name?: string): void {
    this.#alive();
    this.#loras.unload(name);
  }

  /** Puts LoRAs into the weights themselves, with the weights they have now: runs cost nothing more then. */
  fuseLora(options: FuseLoraOptions = {}): void {
    this.#alive();
    this.#loras.fuse(options);
  }

  /** Takes the fused LoRAs out again: the very bits of the checkpoint come back. */
  unfuseLora(): void {
    this.#alive();
    this.#loras.unfuse();
  }

  /**
   * Frees the networks, and the device if this pipeline opened it. A run or another call that is under way ends with an
   * error that says so, and so does every later one.
   */
  async dispose(): Promise<void> {
    this.#disposed.abort(disposedError());
    // A run whose chunk the caller has in hand may never be asked for more.
    await this.#suspended?.return(undefined);
    this.#model.networks.dispose();
    await this.#model.close();
    if (this.#model.ownsDevice) await this.#model.device.dispose();
  }
  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /**
   * The frames [height, width, 3] of the clip up to the last one that is continued, as the run sees them and one by one:
   * what comes before the frames of the run where both are to be one video. None where no clip is continued.
   */
  async *clipFrames(request: Request | Run<Request>): AsyncGenerator<Uint8Array, void, undefined> {
    yield* clipFrames(await this.#read(this.#checked(request)), this.#model.asOriginal);
  }

  /** One video, chunk by chunk. */
  async *#run(
    checked: CheckedRequest<Request>,
    signal?: AbortSignal,
  ): AsyncGenerator<VideoChunk<FrameValues>, Facts, undefined> {
    this.#alive();
    if (this.#running) throw new Magi1Error('pipeline: a run is under way; wait for its end or open another pipeline');
    this.#running = true;
    using call = new Call(checked.request, this.#disposed.signal, signal);
    try {
      const chunks = await this.#start(checked, call);
      try {
        for (;;) {
          const next = await chunks.next();
          this.#alive();
          if (next.done === true) {
            await call.settle();
            return next.value;
          }
          this.#suspended = chunks;
          yield next.value;
          this.#suspended = undefined;
        }
      } finally {
        this.#suspended = undefined;
        await chunks.return(undefined as never);
      }
    } catch (error) {
      throw this.#explained(error);
    } finally {
      this.#running = false;
    }
  }

  /** @throws RequestError naming all that is wrong, and for a run of another pipeline */
  #checked(request: Request | Run<Request>): CheckedRequest<Request> {
    this.#alive();
    if (!(request instanceof Run)) return checkRequest(request, this.#model.mode, this.#model);
    if (request.source.config === this.config) return request;
    throw new RequestError(
      worded`request: this run was prepared by another pipeline; prepare its request with this one`,
    );
  }

  #read(checked: CheckedRequest<Request>, signal = checked.request.signal): Promise<CheckedRequest<Request>> {
    return readInput(checked, this.#model.mode, signal);
  }

  /** A run whose picture or clip is read and whose memory is checked. */
  async #start(checked: CheckedRequest<Request>, call: Call) {
    const { signal } = call;
    signal.throwIfAborted();
    const choice = this.#loras.choose(checked.request.attentionKwargs?.scale);
    const run = await this.#read(checked, signal);
    const { networks, memory, tokenizer } = this.#model;
    await requireSpecialTokens(this.#model, run.request, run.settings.specialTokens);
    const size = await sizeOf(run, tokenizer, { loras: choice, signal });
    const capacity = capacityOf(this.device);
    networks.offload = await memory.choose(size, capacity);
    const tileBytes = await memory.tileBytes(size, capacity);
    return generateChunks({ model: this.#model, run, loras: this.#loras, choice, call, tileBytes });
  }

  /** A call of its own, not part of a run. */
  async #during<T>(
    options: CallOptions,
    needs: readonly Slot[],
    work: (call: { signal: AbortSignal; loading: StageProgress }) => Promise<T>,
  ): Promise<T> {
    this.#alive();
    using call = new Call(options, this.#disposed.signal);
    try {
      const { signal, onProgress } = call;
      signal.throwIfAborted();
      const all = this.#model.networks.missingBytes(...needs);
      const loading = new CallProgress({ loading: 1 }, onProgress).stage('loading', all);
      const result = await work({ signal, loading });
      await call.settle();
      return result;
    } catch (error) {
      throw this.#explained(error);
    }
  }

  #alive(): void {
    if (this.#disposed.signal.aborted) throw disposedError();
  }

  /** Networks that are gone in mid-run fail in their own words. */
  #explained(error: unknown): unknown {
    const { signal } = this.#disposed;
    if (!signal.aborted || error === signal.reason) return error;
    const explained = disposedError();
    explained.cause = error;
    return explained;
  }
}

/** A video from a prompt alone. */
export class Magi1Pipeline extends Magi1Base<TextToVideoRequest> {
  static readonly MODE = TEXT_TO_VIDEO;
}

/** A picture is the first latent frame, the model makes what follows. */
export class Magi1ImageToVideoPipeline extends Magi1Base<ImageToVideoRequest> {
  static readonly MODE = IMAGE_TO_VIDEO;
}

/** The model makes what follows the last frames of a clip, or its first ones. */
export class Magi1VideoToVideoPipeline extends Magi1Base<VideoToVideoRequest> {
  static readonly MODE = VIDEO_TO_VIDEO;
}

export type TextToVideoOptions = PipelineOptions<TextToVideoRequest>;
export type ImageToVideoOptions = PipelineOptions<ImageToVideoRequest>;
export type VideoToVideoOptions = PipelineOptions<VideoToVideoRequest>;
