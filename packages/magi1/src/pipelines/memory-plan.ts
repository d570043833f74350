// What a run needs on the device: the parts of it that take most are run on the meta device, whose tensors have no bytes.
import { framesToUint8 } from '@magi1/kernels';
import type { CacheDType } from '@magi1/kernels';
import { MetaDevice, describeSpec, scope } from '@magi1/tensor';
import type { DType, Device, Tensor } from '@magi1/tensor';
import { LATENT_STRIDE } from '../config/index.ts';
import type { Magi1Config, SpecialTokenSwitches } from '../config/index.ts';
import { Params } from '../nn/index.ts';
import type { Linear, ParamSpec, ParamSpecs } from '../nn/index.ts';
import type { ChunkRange, PassPlan, SamplingPlan, SamplingStep } from '../sampler/index.ts';
import { kvCacheShape, sample } from '../sampler/sample.ts';
import type { T5Config } from '../t5/config.ts';
import { T5Encoder } from '../t5/encoder.ts';
import { conditionText } from '../text/conditioning.ts';
import type { TextConditioning, Texts } from '../text/conditioning.ts';
import { SPECIAL_TOKEN_ARRAYS, specialTokenTable } from '../text/special-tokens.ts';
import { KvCache } from '../transformer/kv-cache.ts';
import { VideoDiT } from '../transformer/video-dit.ts';
import type { DitConfig } from '../transformer/video-dit.ts';
import type { VaeConfig } from '../vae/config.ts';
import { ViTVae } from '../vae/vit-vae.ts';
import { decodeVideo, encodePrefix } from './frames.ts';
import type { Offload } from './offload.ts';
import type { OutputType } from './request.ts';

/** Bytes on the device, as it counts its tensors. */
export interface MemoryNeed {
  readonly weights: { readonly textEncoder: number; readonly transformer: number; readonly vae: number };
  /** Factors of LoRAs that are not fused. */
  readonly loras: number;
  /** Keys and values of finished chunks; does not grow with the length of the video. */
  readonly keyValueCache: number;
  /** Most that each stage takes beside weights and cache; only the largest counts, stages do not overlap. */
  readonly text: number;
  readonly denoising: number;
  readonly decoding: number;
  /** Of the picture or clip that a video starts from; 0 without one. */
  readonly encoding: number;
  /** Most that there is on the device at a time, by the way of offloading. */
  readonly peaks: Readonly<Record<Offload, number>>;
  /** Weights that wait in host memory where a device with memory of its own is offloaded by group. */
  readonly hostWeights: number;
}

/** Bytes of a network's weights on a device. */
export interface WeightBytes {
  readonly deviceBytes: number;
  /** Where blocks are brought: what stays on the device, and the room of two blocks. */
  readonly residentBytes: number;
  readonly roomBytes: number;
}

/** How a network's weights are held on a device. */
export interface WeightTypes extends WeightBytes {
  readonly specs: ParamSpecs;
  dtypeOf(name: string, spec: ParamSpec): DType;
  /** The same where another dtype is asked for. */
  bytesAs(dtype: DType): WeightBytes;
}

/** What the memory of a model's runs follows from; no weight has been read. */
export interface ModelShapes {
  readonly config: Magi1Config;
  readonly t5Config: T5Config;
  readonly vaeConfig: VaeConfig;
  readonly transformer: WeightTypes;
  readonly textEncoder: WeightTypes;
  readonly vae: WeightTypes;
}

/** What the memory of one run follows from, beside its model. */
export interface RunSize {
  readonly plan: SamplingPlan;
  /** In pixels. */
  readonly height: number;
  readonly width: number;
  readonly prefixFrames: number;
  readonly outputType: OutputType;
  readonly cacheDType: CacheDType;
  /** Bytes of the widest layer of a tile of tokens; the most when left out. */
  readonly tileBytes?: number | undefined;
  readonly texts: TextSizes;
  readonly switches: SpecialTokenSwitches;
  /** By linear layer of the transformer: the largest rank of the LoRAs that act on it without being fused. */
  readonly loras: ReadonlyMap<string, number>;
  /** Bytes of all factors of those LoRAs. */
  readonly loraBytes: number;
}

/** Tokens of each text. */
export interface TextSizes extends Texts<number> {
  /** The longest text that is encoded; 0 where all are given as features. */
  readonly encoded: number;
}

/** Runs what takes most, as `device` would. */
export async function planMemory(shapes: ModelShapes, run: RunSize, device: Device): Promise<MemoryNeed> {
  const weights = {
    textEncoder: shapes.textEncoder.deviceBytes,
    transformer: shapes.transformer.deviceBytes,
    vae: shapes.vae.deviceBytes,
  };
  const text = await planText(shapes, run.texts.encoded, MetaDevice.like(device));
  const { encoding, denoising, decoding, keyValueCache } = await planVideo(shapes, run, MetaDevice.like(device));
  const parts = { weights, loras: run.loraBytes, keyValueCache, text, denoising, decoding, encoding };
  return {
    ...parts,
    peaks: peaksOf(parts, shapes),
    hostWeights: Math.max(weights.textEncoder, weights.transformer + weights.vae),
  };
}

/** By the way of offloading: the most that there is on the device at a time, stages and weights taken together. */
export function peaksOf(
  parts: Omit<MemoryNeed, 'peaks' | 'hostWeights' | 'weights'>,
  { textEncoder, transformer, vae }: Readonly<Record<'textEncoder' | 'transformer' | 'vae', WeightBytes>>,
): MemoryNeed['peaks'] {
  const { loras, text } = parts;
  const inFull = ({ deviceBytes }: WeightBytes) => [deviceBytes, 0] as const;
  const byBlock = ({ residentBytes, roomBytes }: WeightBytes) => [residentBytes, roomBytes] as const;
  const generating = generatingBytes(parts, inFull(transformer), inFull(vae));
  const encodingText = transformer.deviceBytes + vae.deviceBytes + loras + text + PADDING;
  const group = Math.max(
    generatingBytes(parts, byBlock(transformer), byBlock(vae)),
    textEncoder.residentBytes + textEncoder.roomBytes + text + PADDING,
  );
  return {
    none: textEncoder.deviceBytes + Math.max(generating, encodingText),
    text: Math.max(generating, textEncoder.deviceBytes + text + PADDING),
    group,
    disk: group,
  };
}

/** Devices round every tensor up; of the weights this is not counted one by one. */
const PADDING = 2 ** 16;

/** What of a network stays on the device, and what is there only while it runs. */
type Held = readonly [resident: number, running: number];

/** Without the text encoder. */
function generatingBytes(
  { loras, keyValueCache, denoising, decoding, encoding }: Omit<MemoryNeed, 'peaks' | 'hostWeights' | 'weights'>,
  [transformer, denoisingRoom]: Held,
  [vae, vaeRoom]: Held,
): number {
  // The cache is not there yet while the prefix is encoded.
  const stages = [
    keyValueCache + denoising + denoisingRoom,
    decoding > 0 ? keyValueCache + decoding + vaeRoom : 0,
    encoding > 0 ? encoding + vaeRoom : 0,
  ];
  return transformer + vae + loras + Math.max(...stages) + PADDING;
}

/** Bytes that the text encoder takes beside its weights. */
async function planText({ textEncoder, t5Config }: ModelShapes, tokens: number, device: MetaDevice): Promise<number> {
  if (tokens === 0) return 0;
  const encoder = new T5Encoder(metaParams(device, textEncoder), t5Config);
  const { inUse } = device.memory();
  const hidden = await encoder.encode(new Int32Array(tokens), new Int32Array(tokens).fill(1));
  hidden.dispose();
  return device.memory().peak - inUse;
}

export const metaParams = (device: MetaDevice, weights: WeightTypes): Params =>
  Params.meta(device, (name, spec) => weights.dtypeOf(name, spec));

type Stage = 'encoding' | 'denoising' | 'decoding';

async function planVideo(
  shapes: ModelShapes,
  run: RunSize,
  device: MetaDevice,
): Promise<Record<Stage | 'keyValueCache', number>> {
  const { runtime_config: runtime, model_config: model } = shapes.config;
  const { plan, height, width, prefixFrames, cacheDType, tileBytes } = run;
  const transformer = dryTransformer(shapes, run, device);
  const vae = new DryVae(metaParams(device, shapes.vae), shapes.vaeConfig);
  const weights = device.memory().inUse;
  const most = { encoding: 0, denoising: 0, decoding: 0 };
  /** A stage is over: what was taken since the last one ended is its own, but for `before`. */
  const ends = (stage: Stage, before: number): void => {
    most[stage] = Math.max(most[stage], device.memory().peak - before);
    device.resetPeak();
  };
  device.resetPeak();
  let prefix: Tensor | undefined;
  if (prefixFrames > 0) {
    prefix = await encodePrefix(vae, device.empty([prefixFrames, height, width, 3], 'u8'), shapes.config, undefined);
    ends('encoding', weights);
  }
  const [latentHeight, latentWidth] = [height / LATENT_STRIDE, width / LATENT_STRIDE];
  const sizes = { height: latentHeight, width: latentWidth, cacheDType, tileBytes };
  const cacheShape = kvCacheShape({ model: transformer, plan, ...sizes });
  const layerCache = KvCache.byteLength({ ...cacheShape, layers: 1 });
  const before = weights + layerCache * transformer.model.num_layers;
  const text = conditioning(run, model);
  for (const step of widestSteps(plan, text)) {
    const others = await heldBesides(transformer, run, text, step);
    const shown = { ...text, caption: text.caption.slice(firstSeen(step)) };
    const input = { text: shown, noise: () => new Float32Array(), ...sizes, prefix };
    for await (const { latent } of sample({ model: transformer, plan: rehearsal(plan, step), ...input })) {
      using finished = latent;
      ends('denoising', before);
      if (run.outputType !== 'latents') {
        using video = await decodeVideo(vae, finished, runtime);
        if (run.outputType === 'uint8') framesToUint8(video).dispose();
        ends('decoding', before);
      }
      break;
    }
    for (const tensor of others) tensor.dispose();
  }
  return { ...most, keyValueCache: layerCache * model.num_layers };
}

/** Layers that are run: the first, one that stands for those in between, which are alike, and the last. */
const LAYERS = 3;

/** @param Network what is made of it: another class than VideoDiT may count */
export function dryTransformer(
  { config, transformer }: ModelShapes,
  { loras }: Pick<RunSize, 'loras'>,
  device: MetaDevice,
  Network: new (params: Params, config: DitConfig) => VideoDiT = VideoDiT,
): VideoDiT {
  const { num_layers: all } = config.model_config;
  const num_layers = Math.min(all, LAYERS);
  const ofLayer = /^(videodit_blocks\.layers)\.(\d+)\./;
  const inFull = (name: string) =>
    name.replace(ofLayer, (_, path, i) => `${path}.${Number(i) === num_layers - 1 ? all - 1 : i}.`);
  const inDry = (name: string) =>
    name.replace(
      ofLayer,
      (_, path, i) => `${path}.${Number(i) === all - 1 ? num_layers - 1 : Math.min(Number(i), 1)}.`,
    );
  const params = Params.meta(device, (name, spec) => transformer.dtypeOf(inFull(name), spec));
  const network = new Network(params, { ...config, model_config: { ...config.model_config, num_layers } });
  const ranks = new Map<string, number>();
  for (const [layer, rank] of loras) ranks.set(inDry(layer), Math.max(ranks.get(inDry(layer)) ?? 0, rank));
  for (const [layer, rank] of ranks) {
    const linear = params.modules.get(layer) as Linear;
    const { shape, size } = linear.weight; // [out, in], [1, out, in] of f8 weights
    const outputs = shape.length === 3 ? shape[1]! : shape[0]!;
    const inputs = size / outputs;
    const [a, b] = [device.empty([rank, inputs], 'f32'), device.empty([outputs, rank], 'f32')];
    linear.setUpdates([{ a, b, scale: 1 }]);
  }
  return network;
}

/** A VAE that runs one tile of each size: for those after it the same memory is taken and given back. */
class DryVae extends ViTVae {
  readonly #known = new Map<string, { readonly taken: number; readonly shape: readonly number[] }>();

  override encode(x: Tensor): Promise<Tensor> {
    return this.#once(`encode ${describeSpec(x)}`, x.device, () => super.encode(x));
  }
  override decode(z: Tensor): Promise<Tensor> {
    return this.#once(`decode ${describeSpec(z)}`, z.device, () => super.decode(z));
  }

  async #once(what: string, device: Device, run: () => Promise<Tensor>): Promise<Tensor> {
    const known = this.#known.get(what);
    if (known !== undefined) {
      take(device, known.taken);
      return device.empty(known.shape, 'f32');
    }
    const { inUse, peak } = device.memory();
    device.resetPeak();
    const result = await run();
    this.#known.set(what, { taken: device.memory().peak - inUse, shape: result.shape });
    take(device, peak - device.memory().inUse);
    return result;
  }
}

/** Pieces that every device has. */
const PIECE = 2 ** 26;

/** Takes bytes and gives them back. */
function take(device: Device, bytes: number): void {
  scope(() => {
    for (let left = bytes; left > 0; left -= PIECE) device.empty([Math.min(left, PIECE)], 'u8');
  });
}

/** Texts of the run's sizes, all zeros. */
export function conditioning({ texts, switches, plan }: RunSize, model: Magi1Config['model_config']): TextConditioning {
  const { caption_channels: width, caption_max_length: captionMaxLength } = model;
  const zeros = new Float32Array(captionMaxLength * width);
  const rows = (length: number) => ({ rows: zeros.subarray(0, length * width), length });
  const tokens = SPECIAL_TOKEN_ARRAYS.map(
    (name) => [name, { shape: [100, width], data: new Float32Array(100 * width) }] as const,
  );
  return conditionText({
    caption: rows(texts.caption),
    later: texts.later.map(({ chunk, text }) => ({ chunk, text: rows(text) })),
    negative: texts.negative === undefined ? undefined : rows(texts.negative),
    nullCaption: rows(captionMaxLength),
    switches,
    specialTokens: specialTokenTable(new Map(tokens), width),
    width,
    captionMaxLength,
    chunks: plan.options.chunks,
    prefixChunks: plan.chunkOffset,
  });
}

/** What a run holds beside a step's own: readings of the other texts, and the rope tables of the step before. */
async function heldBesides(
  transformer: VideoDiT,
  { plan: { options }, height, width }: RunSize,
  text: TextConditioning,
  step: SamplingStep,
): Promise<Tensor[]> {
  const { caption_channels, patch_size, t_patch_size } = transformer.model;
  const own = new Set([...textsOf(step, text).flat(), ...(step.slicePoint > 0 ? [text.nullText] : [])]);
  const others = [...new Set([text.nullText, text.negative, ...text.caption])].filter(
    (rows) => rows !== null && !own.has(rows),
  );
  const readings = others.map((rows) =>
    scope(() => transformer.readText(transformer.device.empty([rows!.length, caption_channels], 'f32'))),
  );
  const chunks = step.chunks.length + (step.passes.nearlyClean === null ? 0 : 1);
  const frames = Array.from({ length: (chunks * options.chunkWidth) / t_patch_size }, (_, i) => i + 0.5);
  const side = LATENT_STRIDE * patch_size;
  const { cos, sin } = await transformer.rope.tables(frames, height / side, width / side);
  return [...readings, cos, sin];
}

/** What the chunks of a step read, pass by pass. */
function textsOf({ chunks, passes }: SamplingStep, { caption, negative, nullText }: TextConditioning) {
  const read = [chunks.map(({ chunk, text }) => (text === 'caption' ? caption[chunk] : null) ?? nullText)];
  if (passes.nullText !== null) read.push(chunks.map(({ clean }) => (clean ? nullText : (negative ?? nullText))));
  return read;
}

/** The steps that no other exceeds in chunks, cached chunks, passes and rows of text together. */
function widestSteps({ steps }: SamplingPlan, text: TextConditioning): SamplingStep[] {
  const sizes = new Map<string, { readonly step: SamplingStep; readonly size: readonly number[] }>();
  for (const step of steps) {
    const { chunks, passes, slicePoint } = step;
    const cached = slicePoint - firstSeen(step);
    const results = (passes.caption?.outputs.length ?? 0) + passes.alone.length;
    const rows = textsOf(step, text).map((texts) => texts.reduce((sum, { length }) => sum + length, 0));
    const size = [chunks.length + (passes.nearlyClean === null ? 0 : 1), cached, results, Math.max(...rows)];
    if (!sizes.has(size.join())) sizes.set(size.join(), { step, size });
  }
  const all = [...sizes.values()];
  const exceeds = (a: readonly number[], b: readonly number[]): boolean =>
    a !== b && a.every((value, i) => value >= b[i]!);
  return all.filter(({ size }) => !all.some((other) => exceeds(other.size, size))).map(({ step }) => step);
}

/**
 * A plan of one step, which finishes its oldest chunk; what it sees in the cache is run chunk by chunk before it. Chunks are
 * counted from the first that is seen. Another step follows, so that what the window holds stays.
 */
function rehearsal(plan: SamplingPlan, step: SamplingStep): SamplingPlan {
  const first = firstSeen(step);
  const shifted = ([start, end]: ChunkRange): ChunkRange => [start - first, end - first];
  const chunks = step.chunks.map((each) => ({ ...each, chunk: each.chunk - first, keys: shifted(each.keys) }));
  const slicePoint = step.slicePoint - first;
  const { dt, distillInterval } = step;
  const keys = Array.from({ length: slicePoint }, (_, chunk) => [chunk, chunk + 1] as const);
  const noisy = chunks.filter(({ clean }) => !clean);
  const { chunk } = noisy[0]!;
  const start = chunk * plan.options.chunkWidth;
  const delivered = plan.steps.map(({ finished }) => (finished === null ? 0 : finished.frames[1] - finished.frames[0]));
  const finished = { chunk, order: 0, frames: [start, start + Math.max(...delivered)] } as const;
  const { nearlyClean, alone, caption, nullText } = step.passes;
  const outputs = (pass: PassPlan | null) => pass && { outputs: pass.outputs.map((each) => each - first) };
  const passes = {
    ...step.passes,
    caption: outputs(caption),
    nullText: outputs(nullText),
    alone: alone.map((each) => each - first),
    nearlyClean: nearlyClean === null ? null : nearlyClean - first,
  };
  return {
    ...plan,
    prefix: slicePoint === 0 ? null : { t: 1, keys, distillInterval, dt },
    steps: [
      { ...step, slicePoint, chunks, passes, finished },
      { ...step, slicePoint, chunks: noisy, passes, index: step.index + 1 },
    ],
  };
}

/** The first chunk whose keys a step sees. */
function firstSeen({ slicePoint, chunks }: SamplingStep): number {
  return chunks.reduce((first, { keys }) => Math.min(first, keys[0]), slicePoint);
}
