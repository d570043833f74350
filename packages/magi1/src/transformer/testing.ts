// A small transformer with random weights, for tests of what is built on one.
import { elementCount } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import { publishedConfig } from '../config/published.ts';
import type { ModelConfig } from '../config/index.ts';
import { seededNoise } from '../sampler/noise.ts';
import { Params } from '../nn/index.ts';
import { VideoDiT } from './video-dit.ts';

/** Latents of 4 x 4 are the smallest that it takes. */
export const SMALL_MODEL: ModelConfig = {
  ...(publishedConfig().model_config as ModelConfig),
  num_layers: 3,
  hidden_size: 32,
  ffn_hidden_size: 32,
  num_attention_heads: 2,
  num_query_groups: 1,
  kv_channels: 16,
  in_channels: 4,
  out_channels: 4,
  caption_channels: 8,
  caption_max_length: 4,
};

/** Weights are small normals; norms multiply by 1 and little more. The caller disposes it. */
export function randomTransformer(device: Device, model: ModelConfig = SMALL_MODEL): VideoDiT {
  let seed = 1;
  const params = Params.create(device, (_, { shape }) => {
    const values = seededNoise(seed++, elementCount(shape)).map((value) => value / 4);
    return device.tensor(values, shape, 'f32');
  });
  return new VideoDiT(params, { model_config: model, engine_config: { fp8_quant: false } });
}
