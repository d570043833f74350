// One block of each network with random weights on a device, and what float64.mjs makes of the same inputs and weights.
import { parseConfig } from '@magi1/core';
import {
  Params,
  T5Encoder,
  TransformerBlock,
  VideoDiT,
  ViTVae,
  deviceDType,
  parseT5Config,
  parseVaeConfig,
  publishedConfig,
  seededNoise,
} from '@magi1/core/model';
import { affine } from '@magi1/kernels';
import { elementCount, fromFloat32, keep, scope, toFloat32 } from '@magi1/tensor';
import { product, t5Block, transformerBlock, vaeBlock } from './float64.mjs';

/** Uniform numbers with a mean of 0 and a variance of 1: many of them, quickly. */
function noise(seed, count) {
  const values = new Float32Array(count);
  let state = (Math.imul(seed + 1, 0x9e3779b1) ^ 0x5bd1e995) | 1;
  for (let i = 0; i < count; i++) {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    values[i] = state * (Math.sqrt(3) / 2 ** 31);
  }
  return values;
}

function seedOf(name) {
  let seed = 7;
  for (const char of name) seed = (Math.imul(seed, 31) + char.codePointAt(0)) | 0;
  return seed;
}

/** Random weights as they are held in a type: made anew whenever they are asked for, so that none is there twice. */
export class RandomWeights {
  #dtype;
  #specs = new Map();

  constructor(dtype) {
    this.#dtype = dtype;
  }

  #make(name, { shape, role }) {
    const count = elementCount(shape);
    const values = noise(seedOf(name), count);
    // Inputs of about 1 fill the range of f8e4m3fn; all numbers of an input_scale are the same.
    if (name.endsWith('smooth_scale')) return values.map((value) => 0.0125 * (1 + 0.1 * Math.abs(value)));
    if (name.endsWith('_scale')) return values.fill(name.endsWith('input_scale') ? 0.0125 : 0.001);
    const isNorm = role === 'vector' && /norm2?\.weight$/.test(name);
    const matrix = role === 'quantized' ? 16 : Math.sqrt(shape[0] / count);
    const [scale, offset] = role === 'vector' ? [0.1, isNorm ? 1 : 0] : [matrix, 0];
    for (let i = 0; i < count; i++) values[i] = offset + scale * values[i];
    return values;
  }

  #typeOf(spec) {
    return spec.role === 'quantized' ? 'f8e4m3fn' : deviceDType(spec, 'f32', this.#dtype);
  }

  params(device) {
    return Params.create(device, (name, spec) => {
      this.#specs.set(name, spec);
      const dtype = this.#typeOf(spec);
      return device.tensor(fromFloat32(dtype, this.#make(name, spec)), spec.shape, dtype, { weight: true, name });
    });
  }

  /** As held, widened. */
  values(name) {
    const spec = this.#specs.get(name);
    if (spec === undefined) throw new Error(`no weight is called ${name}`);
    const dtype = this.#typeOf(spec);
    const values = this.#make(name, spec);
    return dtype === 'f32' ? values : toFloat32(dtype, fromFloat32(dtype, values));
  }
}

/** 16 tokens from the first to the last. */
const sampled = (total) =>
  Array.from({ length: Math.min(16, total) }, (_, i) =>
    Math.round((i * (total - 1)) / Math.max(Math.min(16, total) - 1, 1)),
  );

/** How far sampled rows are off: by the size of what the block adds to its input. */
function errorOf(got, want, before, width) {
  let [worst, errors, squares] = [0, 0, 0];
  for (let row = 0; row < want.length; row += width) {
    let [error, change] = [0, 0];
    for (let i = row; i < row + width; i++) {
      error += (got[i] - want[i]) ** 2;
      change += (want[i] - before[i]) ** 2;
    }
    // Not a number counts as wrong.
    worst = Math.max(worst, Number.isFinite(error) ? Math.sqrt(error / change) : Infinity);
    errors += error;
    squares += change;
  }
  return { worst, relativeL2: Math.sqrt(errors / squares) };
}

async function rowsOf(tensor, width, tokens) {
  const out = new Float64Array(tokens.length * width);
  for (const [i, token] of tokens.entries()) {
    const row = tensor.slice(token, token + 1);
    out.set(await row.toFloat32(), i * width);
    row.dispose();
  }
  return out;
}

/** Sides of a grid of so many patches, as nearly square as they come. */
function gridOf(tokens) {
  const frames = [6, 4, 2, 1].find((count) => tokens % count === 0);
  const area = tokens / frames;
  let height = Math.floor(Math.sqrt(area));
  while (area % height !== 0) height--;
  return [frames, height, area / height];
}

/** Runs a block's forward and keeps copies of what went in and came out, which others may overwrite or free. */
function watched(block, seen) {
  const forward = block.forward.bind(block);
  const copy = (tensor) => keep(scope(() => affine(tensor, { scale: 1, shift: 0 })));
  block.forward = (h, context) => {
    const before = copy(h);
    const kept = {};
    for (const name of ['cos', 'sin', 'text', 'condition', 'relativeBias'])
      if (context[name] !== undefined) kept[name] = copy(context[name]);
    const start = performance.now();
    const y = forward(h, context);
    seen.push({ before, after: copy(y), ...kept, start });
    return y;
  };
}

async function host(tensor) {
  const values = await tensor.toFloat32();
  tensor.dispose();
  return values;
}

/** @param compareWith what the comparison takes the configuration to be: in a test, another one */
export async function checkTransformer(device, { config, tokens, dtype, textRows = 120, compareWith = config }) {
  const fp8 = dtype === 'f8e4m3fn';
  class Block extends TransformerBlock {
    constructor(p, model, index) {
      super(p, model, index, fp8);
    }
  }
  const weights = new RandomWeights(fp8 ? 'bf16' : dtype);
  const dit = new VideoDiT(weights.params(device), config, Block);
  const { model_config: model } = config;
  const width = model.hidden_size;
  const seen = [];
  watched(dit.layers[0], seen);
  const [frames, height, columns] = gridOf(tokens);
  const channels = model.half_channel_vae ? model.in_channels / 2 : model.in_channels;
  const shape = [1, channels, frames * model.t_patch_size, height * model.patch_size, columns * model.patch_size];
  const latent = device.tensor(seededNoise(5, elementCount(shape), 0), shape, 'f32');
  const features = device.tensor(
    noise(6, textRows * model.caption_channels),
    [textRows, model.caption_channels],
    'f32',
  );
  const text = dit.readText(features);
  const start = performance.now();
  const out = await dit.forward({
    chunks: [{ latent, t: 0.4, firstFrame: 0, keys: [0, tokens], text }],
    condition: 'caption',
    dt: null,
  });
  await device.sync();
  const seconds = (performance.now() - start) / 1e3;
  for (const tensor of [latent, features, text, ...out]) tensor.dispose();
  const [{ before, after, cos, sin, text: reading, condition }] = seen;
  const list = sampled(tokens);
  const got = await rowsOf(after, width, list);
  after.dispose();
  const inputs = {
    h: await host(before),
    cos: await host(cos),
    sin: await host(sin),
    text: await host(reading),
    condition: Float64Array.from(await host(condition)),
  };
  dit.dispose();
  const weight = (name) => weights.values(`videodit_blocks.layers.0.${name}`);
  const want = transformerBlock({
    model: compareWith.model_config,
    tokens: list,
    weight,
    ...inputs,
    ...(fp8 && { fp8: fp8Linears(weight) }),
  });
  const own = list.flatMap((token) => [...inputs.h.subarray(token * width, (token + 1) * width)]);
  return { ...errorOf(got, want, own, width), seconds };
}

/** The layers that round their input to f8e4m3fn: x over its scale, to bf16, to 8 bits. */
function fp8Linears(weight) {
  const names = ['q', 'qx', 'k', 'v'].map((name) => `self_attention.linear_qkv.${name}`);
  const all = [
    ...names.map((name) => [name, false]),
    ['self_attention.linear_proj', true],
    ['mlp.linear_fc1', false],
    ['mlp.linear_fc2', true],
  ];
  return new Map(
    all.map(([name, smooth]) => [
      name,
      (x, depth) => {
        const scales = weight(`${name}.${smooth ? 'smooth_scale' : 'input_scale'}`);
        const limited = Float32Array.from(x, (value, i) =>
          Math.max(-448, Math.min(448, Math.fround(value) / scales[i % scales.length])),
        );
        const coded = toFloat32('f8e4m3fn', fromFloat32('f8e4m3fn', toFloat32('bf16', fromFloat32('bf16', limited))));
        const factor = weight(`${name}.input_scale`)[0] * weight(`${name}.weight_scale`)[0];
        return product(coded, depth, weight(`${name}.weight`)).map((value) => value * factor);
      },
    ]),
  );
}

export async function checkT5(device, { config, tokens, dtype }) {
  const weights = new RandomWeights(dtype);
  const encoder = new T5Encoder(weights.params(device), config);
  const seen = [];
  watched(encoder.block[0], seen);
  const ids = Int32Array.from({ length: tokens }, (_, i) => (i * 7) % config.vocab_size);
  const start = performance.now();
  const out = await encoder.encode(ids, new Int32Array(tokens).fill(1));
  await device.sync();
  const seconds = (performance.now() - start) / 1e3;
  out.dispose();
  const [{ before, after, relativeBias }] = seen;
  const width = config.d_model;
  const list = sampled(tokens);
  const got = await rowsOf(after, width, list);
  after.dispose();
  const h = await host(before);
  const bias = await host(relativeBias);
  encoder.dispose();
  const weight = (name) => weights.values(`encoder.block.0.${name}`);
  const want = t5Block({ config, h, relativeBias: bias, tokens: list, weight });
  const own = list.flatMap((token) => [...h.subarray(token * width, (token + 1) * width)]);
  return { ...errorOf(got, want, own, width), seconds };
}

/** All blocks of the decoder run; the first, middle and last are compared. */
export async function checkVae(device, { config, grid, dtype }) {
  const weights = new RandomWeights(dtype);
  const vae = new ViTVae(weights.params(device), config);
  const width = config.embed_dim;
  const layers = [...new Set([0, config.depth >> 1, config.depth - 1])];
  const seen = [];
  for (const layer of layers) watched(vae.decoder.blocks[layer], seen);
  const shape = [1, config.z_chans, ...grid];
  const latents = device.tensor(seededNoise(8, elementCount(shape), 0), shape, 'f32');
  const start = performance.now();
  const video = await vae.decode(latents);
  await device.sync();
  const seconds = (performance.now() - start) / 1e3;
  for (const tensor of [latents, video]) tensor.dispose();
  let result = { worst: 0, relativeL2: 0 };
  const captured = [];
  for (const { before, after } of seen) {
    const list = sampled(before.shape[0]);
    captured.push({ list, got: await rowsOf(after, width, list), h: await host(before) });
    after.dispose();
  }
  vae.dispose();
  for (const [i, { list, got, h }] of captured.entries()) {
    const weight = (name) => weights.values(`decoder.blocks.${layers[i]}.${name}`);
    const want = vaeBlock({ config, h, tokens: list, weight });
    const own = list.flatMap((token) => [...h.subarray(token * width, (token + 1) * width)]);
    const error = errorOf(got, want, own, width);
    if (!(error.worst < result.worst)) result = error;
  }
  return { ...result, seconds };
}

/** One block of a published transformer, or of a narrow one like it. */
export function ditConfig(model, more = {}) {
  const config = publishedConfig(`${model}_base`);
  return parseConfig({ ...config, model_config: { ...config.model_config, num_layers: 1, ...more } }, model);
}

/** One block of T5-XXL, with few words. */
export const t5Config = (more = {}) =>
  parseT5Config(
    {
      ...{ model_type: 't5', d_model: 4096, d_kv: 64, num_heads: 64, d_ff: 10240, num_layers: 1, vocab_size: 64 },
      ...{ relative_attention_num_buckets: 32, relative_attention_max_distance: 128, layer_norm_epsilon: 1e-6 },
      feed_forward_proj: 'gated-gelu',
      ...more,
    },
    'T5',
  );

/** The published VAE. */
export const vaeConfig = (more = {}) => {
  const ddconfig = {
    ...{ video_size: 256, video_length: 16, patch_size: 8, patch_length: 4, embed_dim: 1024, depth: 24, num_heads: 16 },
    ...{ mlp_ratio: 4, z_chans: 16, in_chans: 3, double_z: true, qkv_bias: true, ln_in_attn: true },
    ...{ with_cls_token: true, norm_code: false, use_final_proj: false, conv_last_layer: true },
    ...more,
  };
  return parseVaeConfig({ _class_name: 'ViTVAE', model_type: 'vit', ddconfig }, 'VAE');
};
