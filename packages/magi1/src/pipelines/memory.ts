// What a run needs on the device, estimated from the configs before anything is loaded.
import { Magi1Error } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import type { SamplingPlan } from '../sampler/index.ts';
import { NULL_TEXT_ROWS } from '../text/conditioning.ts';
import { ropeBands } from '../transformer/rope.ts';
import { unpatchedChannels } from '../vae/config.ts';
import { defaultTiles } from '../vae/tiling.ts';
import { RequestError, option, worded } from '../wording.ts';
import { formatBytes, formatLimit, formatNeed } from './format-bytes.ts';
import type { ModelFiles } from './model.ts';

/** Bytes on the device. Weights are exact, the rest counts the tensors that are alive at once. */
export interface MemoryNeed {
  readonly weights: { readonly textEncoder: number; readonly transformer: number; readonly vae: number };
  /** Factors of LoRAs that are not fused. */
  readonly loras: number;
  /** Keys and values of finished chunks; does not grow with the length of the video. */
  readonly keyValueCache: number;
  /** Activations of each stage; only the largest counts, stages do not overlap. */
  readonly text: number;
  readonly denoising: number;
  readonly decoding: number;
  /** Of the picture or clip that a video starts from; 0 without one. */
  readonly encoding: number;
  /** With all three networks loaded. */
  readonly total: number;
  /** With the text encoder freed before the others are loaded. */
  readonly staged: number;
}

/** What decides the memory of a run, beside its plan. */
export interface RunSize {
  /** In pixels. */
  readonly height: number;
  readonly width: number;
  readonly prefixFrames: number;
  /** Texts that differ, special tokens included; the null text is not counted. */
  readonly texts: number;
  /** Bytes of the LoRAs that act without being fused. */
  readonly loras: number;
}

const F32 = 4;

export function estimateMemory(model: ModelFiles, plan: SamplingPlan, size: RunSize): MemoryNeed {
  const { height, width } = size;
  const weights = {
    textEncoder: model.textEncoder.deviceBytes,
    transformer: model.transformer.deviceBytes,
    vae: model.vae.deviceBytes,
  };
  const { patch_size, t_patch_size, num_layers, num_query_groups, kv_channels } = model.config.model_config;
  const side = 8 * patch_size;
  const tokens = (plan.options.chunkWidth / t_patch_size) * (height / side) * (width / side);
  const keyValueCache = F32 * num_layers * plan.maxCachedChunks * tokens * 2 * num_query_groups * kv_channels;
  const text = textActivations(model);
  const denoising = denoisingActivations(model, plan, tokens, size);
  const decoding = decodingActivations(model, plan, height, width);
  const encoding = encodingActivations(model, size);
  // The cache is not there yet while the prefix is encoded.
  const generating =
    weights.transformer + weights.vae + size.loras + Math.max(keyValueCache + Math.max(denoising, decoding), encoding);
  return {
    weights,
    loras: size.loras,
    keyValueCache,
    text,
    denoising,
    decoding,
    encoding,
    total: weights.textEncoder + Math.max(generating, weights.transformer + weights.vae + text),
    staged: Math.max(generating, weights.textEncoder + text),
  };
}

function textActivations({ t5Config, config }: ModelFiles): number {
  const { d_model, d_ff, num_heads, d_kv } = t5Config;
  return F32 * config.model_config.caption_max_length * (7 * d_model + 4 * num_heads * d_kv + 4 * d_ff);
}

function denoisingActivations(
  { config }: ModelFiles,
  plan: SamplingPlan,
  tokensPerChunk: number,
  { prefixFrames, texts, loras, ...video }: RunSize,
): number {
  const model = config.model_config;
  const chunks = Math.max(
    ...plan.steps.map(({ chunks, passes }) => chunks.length + (passes.nearlyClean === null ? 0 : 1)),
  );
  const width = model.hidden_size;
  const inner = model.num_attention_heads * model.kv_channels;
  const shared = model.num_query_groups * model.kv_channels;
  const { ffn_hidden_size: activated } = model;
  const hidden = activated * (model.gated_linear_unit ? 2 : 1); // out of fc1
  const tokens = chunks * tokensPerChunk;
  const rowsOf = (count: number) => count * model.caption_max_length + NULL_TEXT_ROWS;
  const [held, packed] = [rowsOf(texts), rowsOf(Math.min(texts, chunks))]; // in the run, in a forward
  const cached = plan.maxCachedChunks > 0 ? 2 * shared * (plan.maxCachedChunks + chunks) * tokensPerChunk : 0;
  // A block's steps, beside its input and what it has made so far (see block.ts); only the largest counts.
  const { fp8_quant: fp8 } = config.engine_config;
  const steps = [
    tokens * (2 * width + 2 * inner + 2 * shared) + cached, // self attention: norm, q, k, v, result
    tokens * (2 * width + 3 * inner) + packed * 5 * shared, // cross attention
    tokens * (2 * width + 4 * inner), // both, joined
    tokens * (3 * width + hidden + activated), // MLP
    model.caption_max_length * (model.caption_channels + 2 * width), // a text is read before the first block
    // A quantised layer holds its input as bytes and widened, and its result before and after scaling.
    fp8 ? tokens * Math.max(3 * width + 4.5 * inner, 4.25 * width + 2 * hidden, 4 * width + 2.25 * activated) : 0,
    // A LoRA's change beside what it is added to, and the sum.
    loras > 0 ? tokens * Math.max(3 * width + 3 * hidden, 2 * width + 4 * inner, 4 * width + activated) : 0,
  ];
  const given = prefixFrames === 0 ? 0 : plan.options.prefixLatentFrames;
  const latents = 16 * (5 * chunks * plan.options.chunkWidth + given) * (video.height / 8) * (video.width / 8);
  return F32 * (Math.max(...steps) + tokens * 6 * ropeBands(model) + (held + packed) * width + latents);
}

/** Of one tile in the VAE's transformer: pixels, patches, and values that a block holds. */
function tileActivations({ config, vaeConfig: vae }: ModelFiles, { height, width }: Pick<RunSize, 'height' | 'width'>) {
  const tiles = defaultTiles(config.runtime_config.fps);
  const [tileHeight, tileWidth] = [Math.min(tiles.tileHeight, height), Math.min(tiles.tileWidth, width)];
  const pixels = tiles.tileLength * tileHeight * tileWidth;
  const patches = pixels / (vae.patch_length * vae.patch_size ** 2) + 1;
  return { pixels, patches, block: patches * vae.embed_dim * (13 + 2 * vae.mlp_ratio) };
}

function encodingActivations(model: ModelFiles, size: RunSize): number {
  if (size.prefixFrames === 0) return 0;
  const { pixels, block } = tileActivations(model, size);
  // The prefix as bytes and as numbers, a tile cut out of it and its patches; latents are a small part of that.
  return F32 * (block + 6 * pixels + 5 * size.prefixFrames * size.height * size.width);
}

function decodingActivations(model: ModelFiles, plan: SamplingPlan, height: number, width: number): number {
  const { config, vaeConfig: vae } = model;
  const { temporal_downsample_factor: perLatent } = config.runtime_config;
  const { pixels, patches, block } = tileActivations(model, { height, width });
  const last = patches * vae.embed_dim + pixels * (unpatchedChannels(vae) + 3);
  const frames = plan.options.chunkWidth * perLatent;
  // Tiles overlap by a quarter, and are held raw and mixed; then rows, slabs and the whole.
  const assembled = 5 * 3 * frames * height * width;
  return F32 * (Math.max(block, last) + assembled);
}

/**
 * 'all': the three networks stay loaded. 'staged': the text encoder is freed before the others are loaded, and loaded
 * again for the next prompt; taken where a memory budget asks for it, or OFFLOAD_T5_CACHE.
 */
export type Residency = 'all' | 'staged';

/**
 * Chooses what stays loaded within the device's memory.
 * @throws Magi1Error that says what would be needed and what to change, if neither fits
 */
export function chooseResidency(device: Device, model: ModelFiles, plan: SamplingPlan, size: RunSize): Residency {
  const need = estimateMemory(model, plan, size);
  const { memoryBudget: budget, limits } = device.info;
  const activations = Math.max(need.keyValueCache + Math.max(need.denoising, need.decoding, need.text), need.encoding);
  const heap = limits.heapBytes;
  if (heap !== undefined && activations > heap) {
    throw new Magi1Error(
      `memory: ${size.width}x${size.height} needs about ${formatNeed(activations)} for activations and the key-value cache, ` +
        `a wasm heap holds ${formatLimit(heap)}; choose a smaller height and width, or a WebGPU device`,
    );
  }
  const stages = model.environment.offloadT5Cache;
  if (!stages && need.total <= (budget ?? Infinity)) return 'all';
  if (budget === undefined || need.staged <= budget) return 'staged';
  const { weights } = need;
  const networks = `transformer ${formatBytes(weights.transformer)}, VAE ${formatBytes(weights.vae)}, text encoder ${formatBytes(weights.textEncoder)} (freed after the text)`;
  const staged = formatNeed(need.staged);
  // A smaller picture helps where it is the activations that do not fit.
  const helps = budget > Math.max(weights.transformer + weights.vae + need.loras, weights.textEncoder + need.text);
  const smaller = helps ? worded` a smaller ${option('height')} and ${option('width')} or` : '';
  throw new RequestError(
    worded`memory budget of ${formatLimit(budget)}: this run needs about ${staged} (${networks}, key-value cache ${formatBytes(need.keyValueCache)}, activations ${formatBytes(activations - need.keyValueCache)}); raise ${option('memoryBudget')} to ${staged} (${Math.ceil(need.staged)} bytes), or choose${smaller} a narrower ${option('dtype')} than the weights have`,
  );
}
