// What a model's weights will be, by its config alone: for planning before there are any files.
import { byteLengthOf, elementCount } from '@magi1/tensor';
import type { DType } from '@magi1/tensor';
import type { Magi1Config } from '../config/index.ts';
import { Params, deviceDType } from '../nn/index.ts';
import type { NetworkDefinition } from '../nn/index.ts';
import type { T5Config } from '../t5/config.ts';
import type { VaeConfig } from '../vae/config.ts';
import type { WeightTypes } from './memory-plan.ts';

/** The text encoder that goes with the published models: T5 v1.1 XXL. Shipped as f32. */
export const PUBLISHED_T5: T5Config = {
  d_model: 4096,
  d_kv: 64,
  num_heads: 64,
  d_ff: 10240,
  num_layers: 24,
  vocab_size: 32128,
  relative_attention_num_buckets: 32,
  relative_attention_max_distance: 128,
  layer_norm_epsilon: 1e-6,
};

/** The VAE of the published models. Shipped as f32. */
export const PUBLISHED_VAE: VaeConfig = {
  video_size: 256,
  video_length: 16,
  patch_size: 8,
  patch_length: 4,
  embed_dim: 1024,
  depth: 24,
  num_heads: 16,
  mlp_ratio: 4,
  z_chans: 16,
  in_chans: 3,
  double_z: true,
  qkv_bias: true,
  ln_in_attn: true,
  with_cls_token: true,
  norm_code: false,
  use_final_proj: false,
  conv_last_layer: true,
};

/** In which type a transformer's matrices are shipped. */
export function paramsDType({ model_config: { params_dtype } }: Magi1Config): DType {
  return ({ 'torch.bfloat16': 'bf16', 'torch.float16': 'f16', 'torch.float32': 'f32' } as const)[params_dtype];
}

/** A network's weights by what its constructor asks for. */
export interface RecordedWeights extends WeightTypes {
  readonly parameters: number;
}

/** @param stored type of matrices in the files, `wanted` on the device where that is another one */
export function recordedWeights(network: NetworkDefinition<unknown>, stored: DType, wanted?: DType): RecordedWeights {
  const specs = Params.record((p) => network.build(p));
  const dtypeOf: WeightTypes['dtypeOf'] = (_, spec) =>
    deviceDType(spec, spec.role === 'quantized' ? 'f8e4m3fn' : stored, wanted);
  let [parameters, deviceBytes] = [0, 0];
  for (const [name, spec] of specs) {
    parameters += elementCount(spec.shape);
    deviceBytes += byteLengthOf({ shape: spec.shape, dtype: dtypeOf(name, spec) });
  }
  return { specs, parameters, deviceBytes, dtypeOf };
}
