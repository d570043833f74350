// Whether a run fits: what it needs beside what there is, and what would fit where it does not.
import type { Tokenizer } from '@magi1/loaders';
import { cacheCanBe } from '@magi1/kernels';
import type { CacheDType } from '@magi1/kernels';
import { OpError, TensorTooLargeError, bitsPerElement, machineMemory, yieldToEventLoop } from '@magi1/tensor';
import type { DType, Device } from '@magi1/tensor';
import { LATENT_STRIDE } from '../config/index.ts';
import type { LoraChoice } from '../lora/lora-set.ts';
import { planSampling } from '../sampler/index.ts';
import { cleanPromptInTurns } from '../text/clean/clean-caption.ts';
import type { TextRows } from '../text/conditioning.ts';
import { RequestError, formatBytes, formatLimit, formatNeed, joined, option, worded } from '../wording.ts';
import type { Wording } from '../wording.ts';
import { TILE_BYTES } from '../transformer/video-dit.ts';
import { peaksOf, planMemory } from './memory-plan.ts';
import type { MemoryNeed, ModelShapes, RunSize } from './memory-plan.ts';
import { OFFLOADS, OFFLOAD_WORDS } from './offload.ts';
import type { Offload } from './offload.ts';
import type { CheckedRequest } from './prepare.ts';

/** For refusals of the config's own run. */
export const NO_REQUEST = worded`no ${option('request')} was given, so that the config's own run is planned: give the one that you mean to make`;

/** What a device can hold. */
export interface Capacity {
  /** Bytes that tensors may take; Infinity where nobody tells. */
  readonly bytes: number;
  /** What sets them. */
  readonly limitedBy: 'budget' | 'machine' | 'cgroup' | 'adapter' | null;
  /** Bytes of a wasm heap, which holds everything but the weights beyond `heapWeightBytes`; Infinity elsewhere. */
  readonly heapBytes: number;
  readonly heapWeightBytes: number;
  /** Bytes of host memory for weights that wait there; Infinity where none do, or nobody tells. */
  readonly hostBytes?: number;
}

/** A memory budget where there is one, else what the machine or the adapter has now. */
export function capacityOf(device: Device): Capacity {
  const { memoryBudget, memory, adapterBytes, limits } = device.info;
  const host = memory === 'adapter' ? (machineMemory()?.available ?? Infinity) : Infinity;
  const heap = {
    heapBytes: limits.heapBytes ?? Infinity,
    heapWeightBytes: limits.heapWeightBytes ?? 0,
    hostBytes: host,
  };
  if (memoryBudget !== undefined) return { bytes: memoryBudget, limitedBy: 'budget', ...heap };
  if (memory === 'adapter')
    return adapterBytes === undefined
      ? { bytes: Infinity, limitedBy: null, ...heap }
      : { bytes: adapterBytes, limitedBy: 'adapter', ...heap };
  const machine = machineMemory();
  if (machine === undefined) return { bytes: Infinity, limitedBy: null, ...heap };
  // What the device holds already is its own to use.
  return { bytes: machine.available + device.memory().reserved, limitedBy: machine.limitedBy, ...heap };
}

/** A run beside a device. */
export interface Fit {
  /** Undefined where a tensor is too large for the device: `fault` says which. */
  readonly need: MemoryNeed | undefined;
  /** How it fits, with the most that may be on the device; undefined where it does not. */
  readonly offload: Offload | undefined;
  /** Why it can never fit, whatever the memory. */
  readonly fault: string | undefined;
  /** Of the widest layer of a tile of tokens. */
  readonly tileBytes: number;
}

/** Another size of a run. */
export interface OtherSize {
  readonly height: number;
  readonly width: number;
  readonly chunks: number;
  /** Larger ones were not looked at. */
  readonly most?: boolean;
}

/** Plans the memory of a model's runs on one device. */
export class MemoryPlanner {
  readonly #shapes: ModelShapes;
  readonly #device: Device;
  /** What may be chosen. */
  readonly #offloads: readonly Offload[];
  readonly #signal: AbortSignal | undefined;
  readonly #needs = new Map<string, Promise<MemoryNeed>>();

  /** @param offloads what may be chosen, by `offloadsOf` */
  constructor(shapes: ModelShapes, device: Device, offloads: readonly Offload[], signal?: AbortSignal) {
    this.#shapes = shapes;
    this.#device = device;
    this.#offloads = offloads;
    this.#signal = signal;
  }

  /** @throws TensorTooLargeError, OpError where the device cannot hold a single tensor of it, whatever its memory */
  need(run: RunSize): Promise<MemoryNeed> {
    const { plan, loras, ...rest } = run;
    const key = JSON.stringify([plan.options, plan.maxCachedChunks, [...loras], rest]);
    let need = this.#needs.get(key);
    if (need === undefined) {
      need = this.#plan(run);
      this.#needs.set(key, need);
    }
    return need;
  }

  async #plan(run: RunSize): Promise<MemoryNeed> {
    await yieldToEventLoop(); // a dry run waits for nothing: signals are served here
    this.#signal?.throwIfAborted();
    return planMemory(this.#shapes, run, this.#device);
  }

  /**
   * With as little offloading as suffices. Smaller tiles of tokens cost less than bringing blocks, and are tried before that;
   * where nothing fits, with the largest.
   */
  async fit(run: RunSize, capacity = capacityOf(this.#device)): Promise<Fit> {
    const byBlock = (each: Offload) => each === 'group' || each === 'disk';
    const whole = this.#offloads.filter((each) => !byBlock(each));
    const fit = await this.#fitByTiles(run, capacity, whole);
    if (fit.offload !== undefined || fit.need === undefined) return fit;
    return this.#fitByTiles(run, capacity, this.#offloads.filter(byBlock));
  }

  /** With the largest tiles of tokens that fit; where none do, with the most. */
  async #fitByTiles(run: RunSize, capacity: Capacity, offloads: readonly Offload[]): Promise<Fit> {
    const fit = await this.#fitOf(run, capacity, offloads);
    if (fit.offload !== undefined || fit.need === undefined || run.tileBytes !== undefined || offloads.length === 0)
      return fit;
    const smaller = (tileBytes: number) => this.#fitOf({ ...run, tileBytes }, capacity, offloads);
    const [, ...sizes] = TILE_BYTES;
    if ((await smaller(sizes.at(-1)!)).offload === undefined) return fit;
    for (const tileBytes of sizes) {
      const found = await smaller(tileBytes);
      if (found.offload !== undefined) return found;
    }
    return fit;
  }

  async #fitOf(run: RunSize, capacity: Capacity, offloads: readonly Offload[]): Promise<Fit> {
    const tileBytes = run.tileBytes ?? TILE_BYTES[0];
    let need: MemoryNeed;
    try {
      need = await this.need(run);
    } catch (error) {
      if (!(error instanceof TensorTooLargeError || error instanceof OpError)) throw error;
      return { need: undefined, offload: undefined, fault: error.message, tileBytes };
    }
    const offload = offloads.find((each) => this.fits(need, each, capacity));
    return { need, offload, fault: undefined, tileBytes };
  }

  /** Whether a run fits where so much is offloaded. */
  fits(need: MemoryNeed, offload: Offload, capacity = capacityOf(this.#device)): boolean {
    return (
      need.peaks[offload] <= capacity.bytes &&
      this.#fitsHeap(need, offload, capacity) &&
      (offload !== 'group' || need.hostWeights <= (capacity.hostBytes ?? Infinity))
    );
  }

  /** Whether what a wasm heap must hold fits it. */
  #fitsHeap(need: MemoryNeed, offload: Offload, capacity: Capacity): boolean {
    const { transformer, vae } = this.#shapes;
    const byBlock = transformer.residentBytes + vae.residentBytes + Math.max(transformer.roomBytes, vae.roomBytes);
    const inFull = offload === 'none' || offload === 'text';
    const weights = inFull ? need.weights.transformer + need.weights.vae : byBlock;
    return Math.min(capacity.heapWeightBytes, weights) + activationsOf(need) + HEAP_GAPS <= capacity.heapBytes;
  }

  /**
   * Chooses how much is offloaded: no more than it takes.
   * @throws RequestError that says what is needed, what there is, and what would fit
   */
  async choose(run: RunSize, capacity = capacityOf(this.#device)): Promise<Offload> {
    const fit = await this.fit(run, capacity);
    if (fit.offload !== undefined) return fit.offload;
    throw new RequestError(await this.#refusal(run, fit, capacity));
  }

  /** How large the tiles of tokens of a run are that was chosen for. */
  async tileBytes(run: RunSize, capacity: Capacity): Promise<number> {
    return (await this.fit(run, capacity)).tileBytes;
  }

  /** The same before a run is known, by one of the usual size: refused is only a model that does not fit at any size. */
  async chooseForAny(usual: RunSize): Promise<Offload> {
    const capacity = capacityOf(this.#device);
    const fit = await this.fit(usual, capacity);
    if (fit.offload !== undefined) return fit.offload;
    if ((await this.largestSize(usual, capacity, 1)) !== null) return this.#offloads.at(-1)!;
    throw new RequestError(worded`${await this.#refusal(usual, fit, capacity)}; ${NO_REQUEST}`);
  }

  /** The largest size of the same shape, with as many chunks, that fits; none where not even the smallest does. */
  async largestSize(
    run: RunSize,
    capacity = capacityOf(this.#device),
    chunks = chunksOf(run),
  ): Promise<OtherSize | null> {
    const side = LATENT_STRIDE * this.#shapes.config.model_config.patch_size;
    const longest = Math.max(run.height, run.width) / side;
    const sizeAt = (steps: number): OtherSize => {
      const scaled = (pixels: number) => Math.max(2, Math.round((pixels / side) * (steps / longest))) * side;
      return { height: scaled(run.height), width: scaled(run.width), chunks };
    };
    const fits = async (steps: number) => (await this.fit(resized(run, sizeAt(steps)), capacity)).offload !== undefined;
    if (!(await fits(2))) return null;
    let [low, high] = [2, MOST_PIXELS / side + 1]; // `low` fits, `high` is not looked at or does not
    while (high - low > 1) {
      const middle = Math.floor((low + high) / 2);
      if (await fits(middle)) low = middle;
      else high = middle;
    }
    return { ...sizeAt(low), most: low >= MOST_PIXELS / side };
  }

  /** What to ask for in place of a run that does not fit. */
  async #alternatives(run: RunSize, capacity: Capacity): Promise<Wording[]> {
    const found: Wording[] = [];
    const smaller = await this.largestSize(run, capacity);
    if (smaller !== null && smaller.height * smaller.width < run.height * run.width)
      found.push(worded`${option('width')} ${smaller.width} and ${option('height')} ${smaller.height}`);
    const chunks = await this.#mostChunks(run, capacity);
    if (chunks > 0) found.push(worded`${option('numFrames')} ${this.framesOf(run, chunks)}`);
    for (const cacheDType of this.smallerCaches(run)) {
      if ((await this.fit({ ...run, cacheDType }, capacity)).offload === undefined) continue;
      found.push(worded`${option('cacheDType')} ${cacheDType}`);
      break;
    }
    const { need } = await this.fit(run, capacity);
    const other = need && OFFLOADS.find((each) => !this.#offloads.includes(each) && this.fits(need, each, capacity));
    if (other !== undefined) found.push(worded`${option('offload')} ${other}`);
    const narrower = need && NARROWER.find((dtype) => this.#fitsIn(need, dtype, capacity));
    if (narrower !== undefined) found.push(worded`${option('dtype')} ${narrower}`);
    if (found.length > 0) return found;
    const both = chunksOf(run) === 1 ? null : await this.largestSize(run, capacity, 1);
    return both === null
      ? []
      : [
          worded`${option('width')} ${both.width}, ${option('height')} ${both.height} and ${option('numFrames')} ${this.framesOf(run, 1)}`,
        ];
  }

  /** Types of the cache that take less, the most exact one first. */
  smallerCaches({ cacheDType }: RunSize): CacheDType[] {
    const { num_query_groups, kv_channels } = this.#shapes.config.model_config;
    const smaller = (['f16', 'q8'] as const).filter((dtype) => bitsPerElement(dtype) < bitsPerElement(cacheDType));
    return smaller.filter((dtype) => cacheCanBe(dtype, num_query_groups, kv_channels));
  }

  /** Chunks of the same size that fit, up to one less than the window; 0 where a single one does not. */
  async #mostChunks(run: RunSize, capacity: Capacity): Promise<number> {
    for (let chunks = Math.min(chunksOf(run), run.plan.options.windowSize + 1) - 1; chunks > 0; chunks--)
      if ((await this.fit(resized(run, { ...run, chunks }), capacity)).offload !== undefined) return chunks;
    return 0;
  }

  /** The most frames to ask for that make so many chunks: what a prefix takes of the first one is not asked for. */
  framesOf({ plan }: RunSize, chunks: number): number {
    const { chunk_width, temporal_downsample_factor } = this.#shapes.config.runtime_config;
    const latents = (plan.chunkOffset + chunks) * chunk_width - plan.options.prefixLatentFrames;
    return latents * temporal_downsample_factor;
  }

  async #refusal(run: RunSize, { need, fault }: Fit, capacity: Capacity): Promise<Wording> {
    const size = `${run.width}x${run.height}`;
    const others = await this.#alternatives(run, capacity);
    const choose = (options: readonly Wording[]) =>
      options.length === 0
        ? worded`no size of this model fits`
        : worded`choose ${joined(options, ', or ')}, which fits`;
    if (need === undefined) return worded`memory: ${size} cannot run on this device: ${fault!}; ${choose(others)}`;
    const activations = activationsOf(need);
    const offload = this.#least(need);
    const least = need.peaks[offload];
    if (least <= capacity.bytes && need.hostWeights > (capacity.hostBytes ?? Infinity) && offload === 'group')
      return worded`memory: the weights, ${formatNeed(need.hostWeights)}, do not fit host memory, of which there is ${formatLimit(capacity.hostBytes ?? Infinity)}; ${choose(others)}`;
    if (least <= capacity.bytes)
      return worded`memory: ${size} needs about ${formatNeed(activations)} for activations and the key-value cache, for which a wasm heap of ${formatLimit(capacity.heapBytes)} is too small; ${choose(others)}, or take a WebGPU device`;
    const staged = formatNeed(least);
    const needs = `this run needs about ${staged} (${this.#networksOf(need, offload)}, key-value cache ${formatBytes(need.keyValueCache)}, activations ${formatBytes(activations - need.keyValueCache)})`;
    const budget = worded`${option('memoryBudget')} to ${staged} (${Math.ceil(least)} bytes)`;
    const { limitedBy } = capacity;
    const limit = formatLimit(capacity.bytes);
    return limitedBy === 'budget'
      ? worded`memory budget of ${limit}: ${needs}; raise ${budget}; ${others.length === 0 ? '' : 'or '}${choose(others)}`
      : worded`memory: ${needs}, and ${LIMITS[limitedBy!]} ${limit}; ${choose(others)}; setting ${budget} tries it all the same`;
  }

  /** Of what may be chosen, what takes least. */
  #least({ peaks }: MemoryNeed): Offload {
    return this.#offloads.reduce((least, each) => (peaks[each] < peaks[least] ? each : least));
  }

  #networksOf({ weights, loras }: MemoryNeed, offload: Offload): string {
    const bytesOf = (network: Slot) => {
      const { residentBytes, roomBytes } = this.#shapes[network];
      const all = formatBytes(weights[network]);
      return offload === 'none' || offload === 'text' ? all : `${formatBytes(residentBytes + roomBytes)} of ${all}`;
    };
    const freed = offload === 'none' ? '' : ' (freed after the text)';
    const parts = `transformer ${bytesOf('transformer')}, VAE ${bytesOf('vae')}, text encoder ${bytesOf('textEncoder')}${freed}`;
    const brought = offload === 'none' || offload === 'text' ? '' : `, ${OFFLOAD_WORDS[offload]}`;
    return `${parts}${brought}${loras > 0 ? `, LoRAs ${formatBytes(loras)}` : ''}`;
  }

  /** Whether the same run would fit with the matrices of transformer and text encoder in another type. */
  #fitsIn(need: MemoryNeed, dtype: DType, capacity: Capacity): boolean {
    const { transformer, textEncoder, vae } = this.#shapes;
    const narrow = { transformer: transformer.bytesAs(dtype), textEncoder: textEncoder.bytesAs(dtype), vae };
    if (narrow.transformer.deviceBytes >= transformer.deviceBytes) return false;
    const weights = {
      transformer: narrow.transformer.deviceBytes,
      textEncoder: narrow.textEncoder.deviceBytes,
      vae: vae.deviceBytes,
    };
    const hostWeights = Math.max(weights.textEncoder, weights.transformer + weights.vae);
    const narrowed = { ...need, weights, peaks: peaksOf(need, narrow), hostWeights };
    return this.#offloads.some((each) => this.fits(narrowed, each, capacity));
  }
}

type Slot = 'textEncoder' | 'transformer' | 'vae';

/** Types of matrices to propose, the widest first. */
const NARROWER: readonly DType[] = ['bf16'];

const LIMITS = {
  machine: 'this machine has left',
  cgroup: "the limit of this process's group leaves",
  adapter: 'the adapter has',
};

/** What may lie unused between the tensors of a wasm heap: dry runs of large sizes leave half of it. */
const HEAP_GAPS = 2 ** 27;

/** A longer side than this is not looked for. */
const MOST_PIXELS = 4096;

const chunksOf = ({ plan }: RunSize): number => plan.options.chunks - plan.chunkOffset;

/** The same run of another size. */
export function resized(run: RunSize, { height, width, chunks }: OtherSize): RunSize {
  const { plan } = run;
  if (chunks === chunksOf(run)) return { ...run, height, width };
  return { ...run, height, width, plan: planSampling({ ...plan.options, chunks: plan.chunkOffset + chunks }) };
}

/** Cache included: what a wasm heap must hold. */
function activationsOf({ keyValueCache, denoising, decoding, encoding, text }: MemoryNeed): number {
  return Math.max(keyValueCache + Math.max(denoising, decoding), encoding, text);
}

type Planned = Pick<CheckedRequest, 'settings' | 'sampling'>;
type Loras = Pick<LoraChoice, 'ranks' | 'deviceBytes'>;
const NO_LORAS: Loras = { ranks: new Map(), deviceBytes: 0 };

/** Of a request; its prompts are tokenised. */
export async function sizeOf(
  { settings, sampling: plan, texts }: Pick<CheckedRequest, 'settings' | 'sampling' | 'texts'>,
  tokenizer: Tokenizer,
  { loras = NO_LORAS, signal }: { readonly loras?: Loras; readonly signal?: AbortSignal | undefined } = {},
): Promise<RunSize> {
  let encoded = 0;
  const tokensOf = async (text: string | TextRows): Promise<number> => {
    if (typeof text !== 'string') return text.length;
    const all = tokenizer.encode(await cleanPromptInTurns(text, signal)).length;
    const tokens = Math.min(all, settings.maxSequenceLength);
    encoded = Math.max(encoded, tokens);
    return tokens;
  };
  const caption = await tokensOf(texts.caption);
  const later = [];
  for (const { chunk, text } of texts.later) later.push({ chunk, text: await tokensOf(text) });
  const negative = texts.negative === undefined ? undefined : await tokensOf(texts.negative);
  return { ...sizes(settings, loras), plan, texts: { caption, later, negative, encoded } };
}

/** With the longest prompt. */
export function plannedSize({ settings, sampling }: Planned, loras: Loras = NO_LORAS): RunSize {
  const { maxSequenceLength: tokens } = settings;
  const texts = { caption: tokens, later: [], negative: undefined, encoded: tokens };
  return { ...sizes(settings, loras), plan: sampling, texts };
}

function sizes(settings: CheckedRequest['settings'], loras: Loras) {
  const { height, width, prefixFrames, outputType, cacheDType, specialTokens } = settings;
  return {
    height,
    width,
    prefixFrames,
    outputType,
    cacheDType,
    switches: specialTokens,
    loras: loras.ranks,
    loraBytes: loras.deviceBytes,
  };
}
