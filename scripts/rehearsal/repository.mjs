// A checkpoint of true size in the layout of the published repository: names and shapes by the networks' own declarations,
// values random and scaled as trained layers are, so that what comes out is finite and of order one.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { Params, parseT5Config, parseVaeConfig, t5Network, transformerNetwork, vaeNetwork } from '@magi1/core/model';
import { POCKET_MODEL } from '@magi1/core';
import { crc32Of, safetensorsFile, textFile, torchFile, MadeFile } from './files.mjs';
import { fixedBytes, randomBytes } from './values.mjs';

/** @typedef {import('./files.mjs').StoredTensor} StoredTensor */

/** What the public description of the encoder says. */
const T5 = {
  architectures: ['T5EncoderModel'],
  model_type: 't5',
  d_model: 4096,
  d_kv: 64,
  num_heads: 64,
  d_ff: 10240,
  num_layers: 24,
  vocab_size: 32128,
  feed_forward_proj: 'gated-gelu',
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  layer_norm_epsilon: 1e-6,
};
const VAE = {
  _class_name: 'ViTVAE',
  ddconfig: {
    conv_last_layer: true,
    depth: 24,
    double_z: true,
    embed_dim: 1024,
    in_chans: 3,
    ln_in_attn: true,
    mlp_ratio: 4,
    num_heads: 16,
    patch_length: 4,
    patch_size: 8,
    qkv_bias: true,
    video_length: 16,
    video_size: 256,
    with_cls_token: true,
    z_chans: 16,
  },
};
const TEXT_ENCODER = 'ckpt/t5/t5-v1_1-xxl';
const DTYPES = /** @type {const} */ ({
  'torch.bfloat16': 'bf16',
  'torch.float16': 'f16',
  'torch.float32': 'f32',
});

/**
 * Files by path.
 * @param {string} model as `4.5B_distill`
 * @param {import('@magi1/core').Magi1Config} config the published one
 * @param {{ layers?: number | undefined, crcOf?: (name: string, bytes: import('./values.mjs').Bytes) => number }} [options]
 * `layers`: depth of transformer and text encoder, in place of their own
 * @returns {Map<string, MadeFile>}
 */
export function repositoryFiles(model, config, { layers, crcOf = (_, bytes) => crc32Of(bytes) } = {}) {
  const { model_config, engine_config } = config;
  const depth = (/** @type {number} */ own) => Math.min(own, layers ?? own);
  const cut = { ...config, model_config: { ...model_config, num_layers: depth(model_config.num_layers) } };
  const t5 = { ...T5, num_layers: depth(T5.num_layers) };
  const kind = `inference_weight${engine_config.fp8_quant ? '.fp8' : ''}${engine_config.distill ? '.distill' : ''}`;
  const stored = DTYPES[model_config.params_dtype];
  const shards = model.endsWith('quant') ? (model.startsWith('24B') ? 3 : 1) : model.startsWith('24B') ? 6 : 2;
  const spiece = readFileSync(join(POCKET_MODEL, 't5', 't5-v1_1-xxl', 'spiece.model'));
  return new Map([
    ...sharded(tensorsOf(transformerNetwork(cut), stored), shards, {
      folder: `ckpt/magi/${model}/${kind}`,
      stem: 'model',
      ending: 'safetensors',
      write: (tensors) => safetensorsFile(tensors),
    }),
    [`${TEXT_ENCODER}/config.json`, textFile(t5)],
    [`${TEXT_ENCODER}/spiece.model`, new MadeFile([fixedBytes(spiece)])],
    [`${TEXT_ENCODER}/tokenizer_config.json`, textFile({ extra_ids: 100, model_max_length: 512 })],
    [
      `${TEXT_ENCODER}/special_tokens_map.json`,
      textFile({ eos_token: '</s>', unk_token: '<unk>', pad_token: '<pad>' }),
    ],
    ...sharded(tied(tensorsOf(t5Network(parseT5Config(t5, 't5')), 'f32')), 2, {
      folder: TEXT_ENCODER,
      stem: 'pytorch_model',
      ending: 'bin',
      write: (tensors, name) => torchFile(name.slice(0, -'.bin'.length), tensors, crcOf),
    }),
    ['ckpt/vae/config.json', textFile(VAE)],
    [
      'ckpt/vae/diffusion_pytorch_model.safetensors',
      safetensorsFile(tensorsOf(vaeNetwork(parseVaeConfig(VAE, 'vae')), 'f32')),
    ],
  ]);
}

/** Files hold the embedding of the text encoder under two names. @param {StoredTensor[]} tensors */
const tied = (tensors) =>
  tensors.map((tensor) =>
    tensor.name === 'shared.weight' ? { ...tensor, also: 'encoder.embed_tokens.weight' } : tensor,
  );

/**
 * @param {import('@magi1/core/model').NetworkDefinition<unknown>} network
 * @param {import('@magi1/tensor').DType} dtype
 * @returns {StoredTensor[]}
 */
function tensorsOf(network, dtype) {
  return [...Params.record((p) => network.build(p))].map(([name, { shape, role }]) => {
    const own = role === 'quantized' ? 'f8e4m3fn' : name.endsWith('_scale') ? 'f32' : dtype;
    const bytes =
      name === 'rope.bands' ? ropeBands(shape[0], own) : randomBytes(name, shape, own, spreadOf(name, shape, role));
    return { name, shape, dtype: own, bytes };
  });
}

/** Geometric, as they are before training. @param {number} count @param {import('@magi1/tensor').DType} dtype */
function ropeBands(count, dtype) {
  const values = Float32Array.from({ length: count }, (_, i) => 10000 ** (-i / count));
  const bytes =
    dtype === 'f32' ? values.buffer : Uint16Array.from(new Uint32Array(values.buffer), (bits) => bits >>> 16).buffer;
  return fixedBytes(new Uint8Array(bytes));
}

/** Of weights and inputs of 8 bits alike. */
const FP8_SCALE = 0.02;

/** How values are spread: the first pattern that fits a name. `gain`: over the square root of what a row reads. */
const SPREADS = /** @type {[RegExp, { mean?: number, deviation?: number, gain?: number }][]} */ ([
  [/_scale$/, { mean: FP8_SCALE, deviation: 0 }],
  // Text encoder: attention is not scaled, so its queries are small.
  [/^shared\.weight$/, { deviation: 1 }],
  [/SelfAttention\.q\.weight$/, { gain: 1 / 8 }],
  [/relative_attention_bias/, { deviation: 1 }],
  // Norms whose weight is one more than what is stored; those behind a branch keep it small.
  [/(self_attn|mlp)_post_norm\.weight$/, { mean: -0.6, deviation: 0.1 }],
  [/(q|k)_layernorm(_xattn)?\.weight$/, { mean: 0.1, deviation: 0.1 }],
  [/final_layernorm\.weight$/, { deviation: 0.1 }],
  [/norm\d?\.weight$/, { mean: 1, deviation: 0.1 }],
  [/ada_modulate_layer\.proj\.0\.bias$/, { mean: 0.9, deviation: 0.1 }],
  [/null_caption_embedding$/, { deviation: 1 }],
  [/(pos_embed|cls_token)$/, { deviation: 0.05 }],
  [/bias$/, { deviation: 0.02 }],
  [/decoder\.last_layer\.weight$/, { gain: 0.4 }],
  [/weight$/, { gain: 1 }],
]);

/** @param {string} name @param {readonly number[]} shape @param {string} role */
function spreadOf(name, shape, role) {
  const found = SPREADS.find(([pattern]) => pattern.test(name));
  if (found === undefined) throw new Error(`${name}: nothing says how its values are spread`);
  const { mean = 0, deviation, gain = 1 } = found[1];
  const axes = shape.length > 2 && shape[0] === 1 ? shape.slice(2) : shape.slice(1);
  const inputs = axes.reduce((product, extent) => product * extent, 1);
  return { mean, deviation: deviation ?? gain / Math.sqrt(inputs) / (role === 'quantized' ? FP8_SCALE : 1) };
}

/**
 * Shards of about one size in the order of the network, and their index.
 * @param {readonly StoredTensor[]} tensors @param {number} count
 * @param {{ folder: string, stem: string, ending: string, write: (tensors: StoredTensor[], name: string) => MadeFile }} layout
 * @returns {[string, MadeFile][]}
 */
function sharded(tensors, count, { folder, stem, ending, write }) {
  if (count === 1) return [[`${folder}/${stem}.${ending}`, write([...tensors], `${stem}.${ending}`)]];
  const total = tensors.reduce((sum, { bytes }) => sum + bytes.length, 0);
  const names = Array.from(
    { length: count },
    (_, i) => `${stem}-${String(i + 1).padStart(5, '0')}-of-${String(count).padStart(5, '0')}.${ending}`,
  );
  /** @type {StoredTensor[][]} */
  const shards = names.map(() => []);
  /** @type {Record<string, string>} */
  const weight_map = {};
  let at = 0;
  for (const tensor of tensors) {
    const shard = Math.min(count - 1, Math.floor((at / total) * count));
    shards[shard].push(tensor);
    for (const name of 'also' in tensor ? [tensor.name, tensor.also] : [tensor.name]) weight_map[name] = names[shard];
    at += tensor.bytes.length;
  }
  return [
    [`${folder}/${stem}.${ending}.index.json`, textFile({ metadata: { total_size: total }, weight_map })],
    ...names.map((name, i) => /** @type {[string, MadeFile]} */ ([`${folder}/${name}`, write(shards[i], name)])),
  ];
}
