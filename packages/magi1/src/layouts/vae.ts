// How files spell the VAE's weights: the original, the diffusers port, and the newer port.
import type { Layout, LayoutRow } from './layout.ts';

const SIDES = ['encoder', 'decoder'] as const;

const ORIGINAL: Layout = { name: 'original', rows: SIDES.map((side): LayoutRow => [side, side]) };

const DIFFUSERS: Layout = {
  name: 'diffusers',
  rows: [
    ...SIDES.flatMap((side): LayoutRow[] => {
      const block = `${side}.blocks.*`;
      const qkv = (parameter: string): LayoutRow => [
        `${block}.attn.qkv.${parameter}`,
        { parts: ['q', 'k', 'v'].map((name) => `${block}.attn.to_${name}.${parameter}`) },
      ];
      return [
        [side, side],
        qkv('weight'),
        qkv('bias'),
        [`${block}.attn.proj`, `${block}.attn.to_out.0`],
        [`${block}.norm2`, `${block}.norm`, `${block}.norm2`],
        [`${block}.mlp.fc1`, `${block}.proj_out.net.0.proj`],
        [`${block}.mlp.fc2`, `${block}.proj_out.net.2`],
        [`${side}.norm`, `${side}.norm_out`],
      ];
    }),
    ['encoder.patch_embed.proj', 'encoder.patch_embedding'],
    ['encoder.last_layer', 'encoder.linear_out'],
    ['decoder.last_layer', 'decoder.conv_out'],
  ],
};

const NEWER_PORT: Layout = {
  name: 'newer port',
  rows: SIDES.flatMap((side): LayoutRow[] => [
    [side, side],
    [`${side}.cls_token`, `${side}.position_embedding.cls_token`],
    [`${side}.pos_embed`, `${side}.position_embedding.pos_embed`],
  ]),
};

/** Layouts of a VAE; the first is the original's. */
export const VAE_LAYOUTS: readonly Layout[] = [ORIGINAL, DIFFUSERS, NEWER_PORT];
