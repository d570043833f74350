// Executes a sampling plan: latents chunk by chunk, through the transformer, each handed out when it is finished.
import { add, affine, concat, eulerStep, guidance, narrow } from '@magi1/kernels';
import type { CacheDType } from '@magi1/kernels';
import { Magi1Error, MetaDevice, scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import { MagnitudeReading } from '../not-finite.ts';
import { latentChannels } from '../config/latents.ts';
import type { TextConditioning, TextRows } from '../text/conditioning.ts';
import { KvCache } from '../transformer/kv-cache.ts';
import type { KvCacheShape } from '../transformer/kv-cache.ts';
import { tokensOfTile } from '../transformer/video-dit.ts';
import type { DitChunk, DitForward, TextReading, VideoDiT } from '../transformer/video-dit.ts';
import { LatentWatch } from './latent-watch.ts';
import type { ForwardChunk, SamplingPlan, SamplingStep } from './schedule.ts';
import type { RunOptions } from '../nn/index.ts';

export interface SampleInput {
  readonly model: VideoDiT;
  readonly plan: SamplingPlan;
  readonly text: TextConditioning;
  /** Latent rows and columns. */
  readonly height: number;
  readonly width: number;
  /** Initial latents of one chunk, f32 values of [1, C, chunkWidth, h, w]; asked for when its turn comes, not in a dry run. */
  readonly noise: (chunk: number) => Float32Array;
  /** Given latents [1, C, prefixLatentFrames, h, w] at the start of the video. */
  readonly prefix?: Tensor | undefined;
  /** Share of the pass that sees earlier chunks, where a distilled model blends a nearly clean chunk (0.7). */
  readonly prevChunksScale?: number | undefined;
  /** How keys and values of finished chunks are kept (f32). */
  readonly cacheDType?: CacheDType | undefined;
  /** Bytes of the widest layer of the tokens that go through a block at once (128 MiB); results do not depend on it. */
  readonly tileBytes?: number | undefined;
  /** What an earlier run of the same plan has come to: this one goes on after it, with the same bits. */
  readonly resume?: SamplerState | undefined;
  /** Called for every step that `resume` has done already. */
  readonly onSkippedStep?: ((step: SamplingStep) => void) | undefined;
  /** What to try where the latents stop being finite, in words for the error. */
  readonly remedies?: readonly string[] | undefined;
  /** Awaited after every step, with the velocities and latents of the chunks it worked on; views, valid until then. */
  readonly onStep?: ((step: SamplingStep, state: StepState) => unknown) | undefined;
}

export interface StepState {
  /** By chunk. */
  readonly velocities: ReadonlyMap<number, Tensor>;
  readonly latents: ReadonlyMap<number, Tensor>;
}

/** What a run has come to. Keys and values are not part of it: finished latents give them again. */
export interface SamplerState {
  /** Index of the last step that is done. */
  readonly step: number;
  /** f32 values [1, C, chunkWidth, h, w] by chunk: of every finished chunk, and of those in the window after the step. */
  readonly latents: ReadonlyMap<number, Float32Array>;
}

export interface FinishedLatents {
  readonly chunk: number;
  readonly order: number;
  /** f32 [1, C, frames, h, w]; the receiver disposes it. */
  readonly latent: Tensor;
}

/**
 * Yields each chunk's latents as soon as its last step is done. Everything else is freed, also when it is stopped.
 * @throws NotFiniteError naming the first step after which latents are not finite; nothing is yielded after it
 */
export async function* sample(
  input: SampleInput,
  options: RunOptions = {},
): AsyncGenerator<FinishedLatents, void, undefined> {
  const run = new SamplerRun(input, options);
  try {
    const { resume } = input;
    if (input.plan.prefix) await run.cachePrefix(input.plan.prefix);
    for (const step of input.plan.steps) {
      options.signal?.throwIfAborted();
      if (resume !== undefined && step.index <= resume.step) await run.skip(step, resume);
      else await run.step(step);
      if (!step.finished) continue;
      await run.watch.check();
      yield { chunk: step.finished.chunk, order: step.finished.order, latent: run.finished(step) };
    }
  } finally {
    await run.watch.settle();
    run.dispose();
  }
}

/** Of the cache that a run makes. */
export function kvCacheShape({
  model: { model },
  plan,
  height,
  width,
  cacheDType = 'f32',
}: Pick<SampleInput, 'model' | 'plan' | 'height' | 'width' | 'cacheDType'>): KvCacheShape {
  const { t_patch_size, patch_size, num_layers, num_query_groups, kv_channels } = model;
  return {
    layers: num_layers,
    slots: plan.maxCachedChunks,
    tokensPerChunk: (plan.options.chunkWidth / t_patch_size) * (height / patch_size) * (width / patch_size),
    groups: num_query_groups,
    headDim: kv_channels,
    dtype: cacheDType,
  };
}

class SamplerRun {
  readonly #input: SampleInput;
  readonly #options: RunOptions;
  readonly #device: Device;
  readonly #tokensPerChunk: number;
  readonly #cache: KvCache | undefined;
  readonly watch: LatentWatch;
  /** By chunk. Owned here: what is taken out is borrowed, until `#set` or `#free`. */
  readonly #latents = new Map<number, Tensor>();
  readonly #readings = new Map<TextRows, TextReading>();
  /** Last step that works on each chunk, clean pass included. */
  readonly #lastUse: ReadonlyMap<number, number>;

  constructor(input: SampleInput, options: RunOptions) {
    const { model, plan, remedies } = input;
    const cache = kvCacheShape(input);
    this.#input = input;
    this.#options = options;
    this.#device = model.device;
    this.#tokensPerChunk = cache.tokensPerChunk;
    this.#lastUse = new Map(plan.steps.flatMap((step) => step.chunks.map(({ chunk }) => [chunk, step.index] as const)));
    const { steps, chunkOffset } = plan;
    const extent = { steps: steps.length, chunks: plan.options.chunks - chunkOffset, chunkOffset };
    this.watch = new LatentWatch(extent, remedies);
    this.#cache = cache.slots === 0 ? undefined : new KvCache(this.#device, cache);
  }

  /** Runs whole prefix chunks for their keys and values, one by one: a chunk sees only those before it. */
  async cachePrefix(prefix: NonNullable<SamplingPlan['prefix']>): Promise<void> {
    const { plan, text } = this.#input;
    for (const [chunk, [first]] of prefix.keys.entries()) {
      const latent = this.#startStep(chunk);
      const keys = [0, (chunk + 1 - first) * this.#tokensPerChunk] as const;
      const firstFrame = chunk * plan.options.chunkWidth;
      const unused = await this.#forward({
        chunks: [{ latent, t: prefix.t, firstFrame, keys, text: this.#read(text.nullText) }],
        condition: plan.options.cfgNumber === 1 ? 'caption' : 'null',
        dt: prefix.dt,
        cached: { first, end: chunk },
        writes: this.#cache ? [{ position: 0, chunk }] : [],
      });
      disposeAll(unused);
      this.#free(chunk);
    }
  }

  async step(step: SamplingStep): Promise<void> {
    this.watch.checkArrived();
    for (const { chunk } of step.chunks) this.#startStep(chunk);
    const velocities = await this.#velocities(step);
    try {
      for (const { chunk, clean, t, tNext } of step.chunks) {
        const v = velocities.get(chunk);
        if (clean || v === undefined) continue;
        this.#set(chunk, eulerStep(this.#latents.get(chunk)!, v, { dt: Math.fround(tNext - t) }));
      }
      await this.#input.onStep?.(step, { velocities, latents: this.#latents });
    } finally {
      disposeAll(velocities.values());
    }
    const noisy = step.chunks.filter(({ clean }) => !clean).map(({ chunk }) => chunk);
    const magnitudes = new MagnitudeReading(noisy.map((chunk) => this.#latents.get(chunk)!));
    for (const { chunk } of step.chunks) {
      if (this.#lastUse.get(chunk) === step.index && step.finished?.chunk !== chunk) this.#free(chunk);
    }
    try {
      await this.#device.tick(this.#options.signal);
    } catch (error) {
      magnitudes.dispose();
      throw error;
    }
    this.watch.add(step.index, noisy, magnitudes);
  }

  /**
   * A step that is done already: only what it leaves behind is made again. The keys and values of its clean chunk take one
   * pass of the same shape, since kernels are chosen by it; the chunks beside it, which it does not see, are zeros.
   */
  async skip(step: SamplingStep, { step: last, latents }: SamplerState): Promise<void> {
    const keep = (chunk: number) => this.#set(chunk, this.#latentOf(kept(latents, chunk)));
    if (step.hasCleanChunk && this.#cache !== undefined) {
      for (const { chunk, clean } of step.chunks) {
        if (clean) keep(chunk);
        else this.#set(chunk, this.#device.zeros(this.#latentShape, 'f32'));
        this.#startStep(chunk);
      }
      const { cacheWriter, nullText } = step.passes;
      const unused = await (this.#input.plan.options.cfgNumber === 1
        ? this.#singlePass(step)
        : this.#pass(step, cacheWriter === 'caption' ? 'caption' : 'null', nullText!.outputs));
      disposeAll(unused.values());
      for (const { chunk } of step.chunks) this.#free(chunk);
    }
    if (step.finished) keep(step.finished.chunk);
    if (step.index === last) for (const { chunk } of step.chunks) if (this.#lastUse.get(chunk)! > last) keep(chunk);
    await this.#device.tick(this.#options.signal);
    this.#input.onSkippedStep?.(step);
  }

  /** The finished chunk's frames that belong to the output. */
  finished({ index, finished }: SamplingStep): Tensor {
    const { chunk, frames } = finished!;
    const { chunkWidth } = this.#input.plan.options;
    const [start, end] = frames.map((frame) => frame - chunk * chunkWidth) as [number, number];
    const latent = this.#latents.get(chunk)!;
    const out = start === 0 ? latent.reshape(latent.shape) : narrow(latent, 2, start, end - start);
    if (this.#lastUse.get(chunk) === index) this.#free(chunk);
    return out;
  }

  dispose(): void {
    disposeAll(this.#latents.values());
    disposeAll(this.#readings.values());
    this.#cache?.dispose();
    this.#input.model.rope.free(); // its tables are this run's
  }

  /** Velocity of every noisy chunk of a step: its passes run and combined. */
  async #velocities(step: SamplingStep): Promise<Map<number, Tensor>> {
    return this.#input.plan.options.cfgNumber === 1 ? this.#singlePass(step) : this.#guided(step);
  }

  async #guided(step: SamplingStep): Promise<Map<number, Tensor>> {
    const { passes } = step;
    const results: Map<number, Tensor>[] = [];
    try {
      // The null-text pass writes the cache: it comes after those that read what it overwrites.
      const caption = passes.caption
        ? await this.#pass(step, 'caption', passes.caption.outputs)
        : new Map<number, Tensor>();
      results.push(caption);
      const alone = await this.#alone(step);
      results.push(alone);
      const nullText = await this.#pass(step, 'null', passes.nullText!.outputs);
      results.push(nullText);
      const combined = scope(() =>
        step.chunks.flatMap(({ chunk, scales }): [number, Tensor][] => {
          if (scales === null) return [];
          const given = { alone: alone.get(chunk), nullText: nullText.get(chunk)!, caption: caption.get(chunk) };
          return [[chunk, guidance(given, { prevScale: scales.prevChunk, textScale: scales.text })]];
        }),
      );
      return new Map(combined);
    } finally {
      for (const result of results) disposeAll(result.values());
    }
  }

  /** Pass A or B: all chunks of the step; outputs by chunk, from the first one on that is used. */
  async #pass(step: SamplingStep, kind: 'caption' | 'null', outputs: readonly number[]): Promise<Map<number, Tensor>> {
    const used = step.chunks.findIndex(({ chunk }) => outputs.includes(chunk));
    // All noisy chunks are combined from pass B, whatever its weight.
    const noisy = step.chunks.findIndex(({ clean }) => !clean);
    const firstOutput = kind === 'null' ? noisy : used;
    const cached = this.#cachedRange(step);
    const writer = step.passes.cacheWriter === (kind === 'null' ? 'nullText' : 'caption');
    const out = await this.#forward({
      chunks: step.chunks.map((chunk) => this.#ditChunk(chunk, kind, cached.first)),
      condition: kind,
      dt: step.dt,
      cached,
      writes: writer ? this.#writes(step) : [],
      firstOutput,
    });
    return new Map(out.map((v, i) => [step.chunks[firstOutput + i]!.chunk, v]));
  }

  /** Pass U: null text, each chunk by itself as if it were the first. */
  async #alone(step: SamplingStep): Promise<Map<number, Tensor>> {
    const chunks = step.chunks.filter(({ chunk, clean }) => !clean && step.passes.alone.includes(chunk));
    if (chunks.length === 0) return new Map();
    const tokens = this.#tokensPerChunk;
    const out = await this.#forward({
      chunks: chunks.map((chunk, i) => ({
        ...this.#ditChunk(chunk, 'null', 0),
        firstFrame: 0,
        keys: [i * tokens, (i + 1) * tokens],
      })),
      condition: 'null',
      dt: step.dt,
    });
    return new Map(out.map((v, i) => [chunks[i]!.chunk, v]));
  }

  /** Distilled models: one pass; a nearly clean chunk is run once more, seeing only itself, and blended. */
  async #singlePass(step: SamplingStep): Promise<Map<number, Tensor>> {
    const cached = this.#cachedRange(step);
    const chunks: DitChunk[] = step.chunks.map((chunk) => this.#ditChunk(chunk, 'caption', cached.first));
    const position = step.chunks.findIndex(({ chunk }) => chunk === step.passes.nearlyClean);
    if (position >= 0) {
      const tokens = this.#tokensPerChunk;
      const start = (step.slicePoint - cached.first + step.chunks.length) * tokens;
      const next = (step.chunks.at(-1)!.chunk + 1) * this.#input.plan.options.chunkWidth;
      chunks.push({ ...chunks[position]!, firstFrame: next, keys: [start, start + tokens] });
    }
    const firstOutput = step.hasCleanChunk ? 1 : 0;
    const out = await this.#forward({
      chunks,
      condition: 'caption',
      dt: step.dt,
      cached,
      writes: this.#writes(step),
      firstOutput,
    });
    const velocities = new Map(step.chunks.slice(firstOutput).map(({ chunk }, i) => [chunk, out[i]!]));
    if (position >= 0) {
      const withPrevious = out[position - firstOutput]!;
      const alone = out.at(-1)!;
      const share = this.#input.prevChunksScale ?? 0.7;
      const blend = () =>
        add(affine(withPrevious, { scale: share, shift: 0 }), affine(alone, { scale: 1 - share, shift: 0 }));
      try {
        velocities.set(step.passes.nearlyClean!, scope(blend));
      } catch (error) {
        disposeAll(out);
        throw error;
      }
      disposeAll([withPrevious, alone]);
    }
    return velocities;
  }

  #forward(input: Omit<DitForward, 'cache'>): Promise<Tensor[]> {
    const { model, tileBytes } = this.#input;
    const tileTokens = tokensOfTile(model.model, tileBytes);
    return model.forward({ ...input, cache: this.#cache, tileTokens }, this.#options);
  }

  #ditChunk(chunk: ForwardChunk, pass: 'caption' | 'null', firstKeyChunk: number): DitChunk {
    const { text, plan } = this.#input;
    const [start, end] = chunk.keys.map((key) => (key - firstKeyChunk) * this.#tokensPerChunk) as [number, number];
    const nullText = chunk.clean ? text.nullText : (text.negative ?? text.nullText);
    const caption = chunk.text === 'caption' ? text.caption[chunk.chunk] : null;
    return {
      latent: this.#latents.get(chunk.chunk)!,
      t: chunk.t,
      firstFrame: chunk.chunk * plan.options.chunkWidth,
      keys: [start, end],
      text: this.#read(pass === 'null' ? nullText : (caption ?? text.nullText)),
    };
  }

  #cachedRange(step: SamplingStep): { first: number; end: number } {
    const first = Math.min(step.slicePoint, ...step.chunks.map(({ keys }) => keys[0]));
    return { first, end: step.slicePoint };
  }

  #writes(step: SamplingStep): { position: number; chunk: number }[] {
    return step.hasCleanChunk && this.#cache ? [{ position: 0, chunk: step.slicePoint }] : [];
  }

  #read(rows: TextRows): TextReading {
    let reading = this.#readings.get(rows);
    if (reading === undefined) {
      if (rows.length === 0) throw new Magi1Error('sampler: a text without rows cannot be attended to');
      const shape = [rows.length, rows.rows.length / rows.length];
      reading = scope(() => this.#input.model.readText(this.#device.tensor(rows.rows.slice(), shape, 'f32')));
      this.#readings.set(rows, reading);
    }
    return reading;
  }

  /** A chunk's latent, noise at first, with the frames that the prefix gives put over it. */
  #startStep(chunk: number): Tensor {
    const { prefix, plan } = this.#input;
    const { chunkWidth, prefixLatentFrames } = plan.options;
    const latent = this.#latents.get(chunk) ?? this.#set(chunk, this.#noise(chunk));
    const start = chunk * chunkWidth;
    const given = Math.min(prefixLatentFrames - start, chunkWidth);
    if (prefix === undefined || given <= 0) return latent;
    const imposed = scope(() => {
      const frames = narrow(prefix, 2, start, given);
      return given === chunkWidth ? frames : concat([frames, narrow(latent, 2, given, chunkWidth - given)], 2);
    });
    return this.#set(chunk, imposed);
  }

  #noise(chunk: number): Tensor {
    const dry = this.#device instanceof MetaDevice;
    return dry ? this.#device.empty(this.#latentShape, 'f32') : this.#latentOf(this.#input.noise(chunk));
  }

  #latentOf(values: Float32Array): Tensor {
    return this.#device.tensor(values, this.#latentShape, 'f32');
  }

  get #latentShape(): readonly number[] {
    const { model, plan, height, width } = this.#input;
    return [1, latentChannels(model.model), plan.options.chunkWidth, height, width];
  }

  #set(chunk: number, latent: Tensor): Tensor {
    this.#free(chunk);
    this.#latents.set(chunk, latent);
    return latent;
  }

  #free(chunk: number): void {
    this.#latents.get(chunk)?.dispose();
    this.#latents.delete(chunk);
  }
}

/** @throws Magi1Error where a state lacks a chunk that its step has */
function kept(latents: SamplerState['latents'], chunk: number): Float32Array {
  const values = latents.get(chunk);
  if (values === undefined) throw new Magi1Error(`sampler: the state to go on from has no latents of chunk ${chunk}`);
  return values;
}

function disposeAll(tensors: Iterable<Tensor>): void {
  for (const tensor of tensors) tensor.dispose();
}
