// How files spell the transformer's weights: the original, the diffusers port, and the newer port.
import type { ModelConfig } from '../config/index.ts';
import type { Layout, LayoutRow } from './layout.ts';

const BLOCK = 'videodit_blocks.layers.*';

/** Layouts of a transformer with these settings; the first is the original's. */
export function transformerLayouts(model: Pick<ModelConfig, 'kv_channels'>): readonly Layout[] {
  return [ORIGINAL, diffusersLayout(model), NEWER_PORT];
}

const ORIGINAL: Layout = {
  name: 'original',
  rows: ['x_embedder', 't_embedder', 'y_embedder', 'rope', 'videodit_blocks', 'final_linear'].map((name): LayoutRow => [
    name,
    name,
  ]),
};

/** Converters of this port differ in a few names: the later spellings are theirs. */
function diffusersLayout({ kv_channels }: Pick<ModelConfig, 'kv_channels'>): Layout {
  const text = 'condition_embedder.text_embedder';
  const nullCaption = 'null_caption_embedding';
  return {
    name: 'diffusers',
    rows: [
      ['x_embedder', 'patch_embedding'],
      ['t_embedder.mlp.0', 'condition_embedder.time_embedder.linear_1'],
      ['t_embedder.mlp.2', 'condition_embedder.time_embedder.linear_2'],
      ['y_embedder.y_proj_xattn.0', `${text}.y_proj_xattn.0`, `${text}.y_proj_xattn`, `${text}.linear_2`],
      ['y_embedder.y_proj_adaln.0', `${text}.y_proj_adaln`, `${text}.y_proj_adaln.0`, `${text}.linear_1`],
      [`y_embedder.${nullCaption}`, `${text}.${nullCaption}`, nullCaption, `y_embedder.${nullCaption}`],
      ['rope.bands', 'rope.bands', 'rotary_emb.bands'],
      ...blockRows('blocks.*', [
        ['ada_modulate_layer.proj.0', 'ada_modulate_layer.1'],
        ['self_attention.linear_qkv.layer_norm', 'norm1'],
        ['self_attention.linear_qkv.q', 'attn1.to_q'],
        ['self_attention.linear_qkv.k', 'attn1.to_k'],
        ['self_attention.linear_qkv.v', 'attn1.to_v'],
        ['self_attention.linear_qkv.qx', 'attn2.to_q'],
        ['self_attention.q_layernorm', 'attn1.norm_q'],
        ['self_attention.k_layernorm', 'attn1.norm_k'],
        ['self_attention.q_layernorm_xattn', 'attn2.norm_q'],
        ['self_attention.k_layernorm_xattn', 'attn2.norm_k'],
        ['self_attention.linear_proj', 'attn_proj'],
        ['self_attn_post_norm', 'norm2', 'self_attn_post_norm'],
        ['mlp.layer_norm', 'norm3'],
        ['mlp.linear_fc1', 'ffn.net.0.proj'],
        ['mlp.linear_fc2', 'ffn.net.2'],
        ['mlp_post_norm', 'norm4', 'mlp_post_norm'],
      ]),
      // Rows lie per group as [k_g | v_g].
      [
        `${BLOCK}.self_attention.linear_kv_xattn.weight`,
        { parts: ['blocks.*.attn2.to_k.weight', 'blocks.*.attn2.to_v.weight'], rows: kv_channels },
      ],
      ['videodit_blocks.final_layernorm', 'norm_out'],
      ['final_linear.linear', 'proj_out'],
    ],
  };
}

function blockRows(theirs: string, rows: readonly (readonly string[])[]): LayoutRow[] {
  return rows.map(([ours, ...spelled]) => [`${BLOCK}.${ours!}`, ...spelled.map((name) => `${theirs}.${name}`)]);
}

/** Its cross-attention projection may be cut into this many pieces. */
const PIECES = 8;

const NEWER_PORT: Layout = {
  name: 'newer port',
  rows: [
    ['x_embedder', 'x_embedder'],
    ['t_embedder', 'condition_embedder.t_embedder'],
    ['y_embedder', 'condition_embedder.y_embedder'],
    ['rope', 'rope'],
    [BLOCK, 'transformer_blocks.*'],
    [
      `${BLOCK}.self_attention.linear_kv_xattn.weight`,
      'transformer_blocks.*.self_attention.linear_kv_xattn.weight',
      {
        parts: Array.from(
          { length: PIECES },
          (_, i) => `transformer_blocks.*.self_attention.linear_kv_xattn.projections.${i}.weight`,
        ),
      },
    ],
    ['videodit_blocks.final_layernorm', 'videodit_blocks.final_layernorm', 'final_layernorm'],
    ['final_linear.linear', 'final_linear.linear', 'final_linear'],
  ],
};
