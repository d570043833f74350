// A network's weights as the ports of MAGI-1 name them, from the original's names: written apart from the tables that
// read them, so that the two check each other.
import { hostArray } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';

export type Tensors = ReadonlyMap<string, HostTensor>;

/** Rows of each part of a tensor whose rows were dealt out, `turn` at a time. */
function deal({ dtype, shape, data }: HostTensor, parts: number, turn: number): HostTensor[] {
  const [rows, ...rest] = shape as [number, ...number[]];
  const width = rest.reduce((product, dim) => product * dim, 1);
  const filled = new Array<number>(parts).fill(0);
  const out = filled.map(() => hostArray(dtype, data.length / parts));
  for (let row = 0; row < rows; row++) {
    const part = Math.floor(row / turn) % parts;
    out[part]!.set(data.subarray(row * width, (row + 1) * width), filled[part]! * width);
    filled[part]!++;
  }
  return out.map((piece) => ({ dtype, shape: [rows / parts, ...rest], data: piece }));
}

/** The names of spec lists of the two ports, applied one replacement after the other. */
function renamed(tensors: Tensors, replacements: readonly (readonly [RegExp, string])[]): Map<string, HostTensor> {
  return new Map(
    [...tensors].map(([name, tensor]) => [
      replacements.reduce((text, [pattern, by]) => text.replace(pattern, by), name),
      tensor,
    ]),
  );
}

/** The diffusers port's transformer. */
export function diffusersTransformer(tensors: Tensors, headDim: number): Map<string, HostTensor> {
  const out = renamed(tensors, [
    [/^x_embedder/, 'patch_embedding'],
    [/^t_embedder\.mlp\.0/, 'condition_embedder.time_embedder.linear_1'],
    [/^t_embedder\.mlp\.2/, 'condition_embedder.time_embedder.linear_2'],
    [/^y_embedder\.(y_proj_xattn\.0|null)/, 'condition_embedder.text_embedder.$1'],
    [/^y_embedder\.y_proj_adaln\.0/, 'condition_embedder.text_embedder.y_proj_adaln'],
    [/^videodit_blocks\.final_layernorm/, 'norm_out'],
    [/^final_linear\.linear/, 'proj_out'],
    [/^videodit_blocks\.layers/, 'blocks'],
    [/self_attention\.linear_qkv\.layer_norm/, 'norm1'],
    [/self_attention\.linear_qkv\.qx/, 'attn2.to_q'],
    [/self_attention\.linear_qkv\.([qkv])/, 'attn1.to_$1'],
    [/self_attention\.([qk])_layernorm_xattn/, 'attn2.norm_$1'],
    [/self_attention\.([qk])_layernorm/, 'attn1.norm_$1'],
    [/self_attention\.linear_proj/, 'attn_proj'],
    [/self_attn_post_norm/, 'norm2'],
    [/mlp\.layer_norm/, 'norm3'],
    [/mlp_post_norm/, 'norm4'],
    [/mlp\.linear_fc1/, 'ffn.net.0.proj'],
    [/mlp\.linear_fc2/, 'ffn.net.2'],
    [/ada_modulate_layer\.proj\.0/, 'ada_modulate_layer.1'],
  ]);
  for (const [name, tensor] of [...out].filter(([key]) => key.includes('linear_kv_xattn'))) {
    out.delete(name);
    const [k, v] = deal(tensor, 2, headDim);
    out.set(name.replace('self_attention.linear_kv_xattn', 'attn2.to_k'), k!);
    out.set(name.replace('self_attention.linear_kv_xattn', 'attn2.to_v'), v!);
  }
  return out;
}

const NEWER: readonly (readonly [RegExp, string])[] = [
  [/^videodit_blocks\.layers/, 'transformer_blocks'],
  [/^([ty]_embedder)/, 'condition_embedder.$1'],
];

/** The newer port's transformer; `all`: also what only some of its converters change. */
export function newerTransformer(tensors: Tensors, all = true): Map<string, HostTensor> {
  if (!all) return renamed(tensors, NEWER);
  const out = renamed(tensors, [
    ...NEWER,
    [/^videodit_blocks\.final_layernorm/, 'final_layernorm'],
    [/^final_linear\.linear/, 'final_linear'],
  ]);
  for (const [name, tensor] of [...out].filter(([key]) => key.includes('linear_kv_xattn'))) {
    out.delete(name);
    for (const [i, part] of deal(tensor, 8, tensor.shape[0]! / 8).entries())
      out.set(name.replace('.weight', `.projections.${i}.weight`), part);
  }
  return out;
}

/** The diffusers port's VAE. */
export function diffusersVae(tensors: Tensors): Map<string, HostTensor> {
  const out = renamed(tensors, [
    [/^encoder\.patch_embed\.proj/, 'encoder.patch_embedding'],
    [/^encoder\.last_layer/, 'encoder.linear_out'],
    [/^decoder\.last_layer/, 'decoder.conv_out'],
    [/^(encoder|decoder)\.norm\./, '$1.norm_out.'],
    [/attn\.proj/, 'attn.to_out.0'],
    [/norm2/, 'norm'],
    [/mlp\.fc1/, 'proj_out.net.0.proj'],
    [/mlp\.fc2/, 'proj_out.net.2'],
  ]);
  for (const [name, tensor] of [...out].filter(([key]) => key.includes('.qkv.'))) {
    out.delete(name);
    for (const [i, part] of deal(tensor, 3, tensor.shape[0]! / 3).entries())
      out.set(name.replace('.qkv.', `.to_${'qkv'[i]!}.`), part);
  }
  return out;
}

/** The newer port's VAE. */
export function newerVae(tensors: Tensors): Map<string, HostTensor> {
  return renamed(tensors, [[/^(encoder|decoder)\.(cls_token|pos_embed)/, '$1.position_embedding.$2']]);
}
