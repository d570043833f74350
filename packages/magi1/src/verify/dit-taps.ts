// What a transformer's modules compute, by the names that the goldens use.
import type { Tensor } from '@magi1/tensor';
import { observe } from '../nn/index.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';

const NETWORK: Readonly<Record<string, string>> = {
  x_embedder: 'pre.x',
  'context.text': 'pre.y_xattn_flat',
  'context.condition': 'pre.condition',
  'videodit_blocks.final_layernorm': 'blocks.out',
  'final_linear.linear': 'final_linear.out',
};
/** In a block. */
const BLOCK: Readonly<Record<string, string>> = {
  'ada_modulate_layer.proj.0': 'ada',
  ada_modulate_layer: 'gate',
  'self_attention.linear_qkv.layer_norm': 'qkv_ln',
  'self_attention.q': 'q',
  'self_attention.k': 'k',
  'self_attention.v': 'v',
  'self_attention.self': 'core_attn',
  'self_attention.qx': 'qx',
  'self_attention.kx': 'kx',
  'self_attention.vx': 'vx',
  'self_attention.cross': 'cross_attn',
  'self_attention.linear_proj': 'attn_proj',
  self_attn_post_norm: 'after_attn',
  mlp: 'mlp',
  mlp_post_norm: 'out',
};

/** Shows activations while `body` runs; a tensor is valid during the call only. */
export function tapDit<T>(
  model: VideoDiT,
  tap: (name: string, tensor: Tensor) => void,
  body: () => Promise<T>,
): Promise<T> {
  const seen = (path: string, tensor: Tensor) => {
    const [, layer, inside] = /^videodit_blocks\.layers\.(\d+)\.(.+)$/.exec(path) ?? [];
    const name = inside === undefined ? NETWORK[path] : BLOCK[inside];
    if (name !== undefined) tap(layer === undefined ? name : `layer${layer}.${name}`, tensor);
  };
  return observe(model.params, seen, body);
}
