import { expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { publishedConfig } from '../config/published.ts';
import { checkWeights } from '../weights.ts';
import type { WeightEntry } from '../weights.ts';
import { ditWeightSpecs } from './weights.ts';

const { model_config: model } = parseConfig(publishedConfig(), 'test');

function shapesOf(layer: number, fp8_quant: boolean, part: string): Record<string, readonly number[]> {
  const prefix = `videodit_blocks.layers.${layer}.${part}.`;
  const specs = [...ditWeightSpecs(model, { fp8_quant })].filter(([name]) => name.startsWith(prefix));
  return Object.fromEntries(specs.map(([name, { shape }]) => [name.slice(prefix.length), shape]));
}

test('all blocks but the first and the last are quantised', () => {
  for (let layer = 0; layer < model.num_layers; layer++) {
    const quantized = layer > 0 && layer < model.num_layers - 1;
    expect('weight_scale' in shapesOf(layer, true, 'self_attention.linear_qkv.q')).toBe(quantized);
  }
  expect(shapesOf(1, false, 'self_attention.linear_qkv.q')).toEqual({ weight: [3072, 3072] });
});

test('quantised layers have scales per tensor or per channel, the others stay', () => {
  for (const name of ['self_attention.linear_qkv.k', 'self_attention.linear_qkv.v']) {
    expect(shapesOf(1, true, name)).toEqual({ weight: [1, 1024, 3072], weight_scale: [1], input_scale: [3072] });
  }
  expect(shapesOf(1, true, 'mlp.linear_fc1')).toEqual({
    weight: [1, 12288, 3072],
    weight_scale: [1],
    input_scale: [3072],
  });
  expect(shapesOf(1, true, 'mlp.linear_fc2')).toEqual({
    weight: [1, 3072, 12288],
    weight_scale: [1],
    input_scale: [1],
    smooth_scale: [1, 12288],
  });
  expect(shapesOf(1, true, 'self_attention.linear_proj')).toMatchObject({ smooth_scale: [1, 6144] });
  expect(shapesOf(1, true, 'self_attention.linear_kv_xattn')).toEqual({ weight: [2048, 3072] });
  expect(Object.keys(shapesOf(1, true, 'ada_modulate_layer.proj.0'))).toEqual(['weight', 'bias']);
});

test('a quantised layer whose weight is stored in another type is refused', () => {
  const specs = ditWeightSpecs(model, { fp8_quant: true });
  const entries = new Map(
    [...specs].map(([name, { shape }]): [string, WeightEntry] => [name, { shape, dtype: 'bf16' }]),
  );
  expect(() => {
    checkWeights('model', entries, specs);
  }).toThrow(/layers\.1\.self_attention\.linear_qkv\.q\.weight must be f8e4m3fn, got bf16/);
});
