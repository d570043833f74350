import { expect, test } from 'vitest';
import { parseConfig } from '../config/index.ts';
import { publishedConfig } from '../config/published.ts';
import { CheckedWeights, Params } from '../nn/index.ts';
import { VideoDiT } from './video-dit.ts';

const { model_config: model } = parseConfig(publishedConfig(), 'test');

const build = (fp8_quant: boolean) => (p: Params) =>
  new VideoDiT(p, { model_config: model, engine_config: { fp8_quant } });

function shapesOf(layer: number, fp8_quant: boolean, part: string): Record<string, readonly number[]> {
  const prefix = `videodit_blocks.layers.${layer}.${part}.`;
  const specs = [...Params.record(build(fp8_quant))].filter(([name]) => name.startsWith(prefix));
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
  const specs = Params.record(build(true));
  const source = {
    name: 'model',
    names: () => specs.keys(),
    entry: (name: string) => ({ shape: specs.get(name)!.shape, dtype: 'bf16' }),
    stream: () => expect.unreachable('nothing is read before all fits'),
  };
  expect(() => new CheckedWeights(source, { build: build(true) })).toThrow(
    /layers\.1\.self_attention\.linear_qkv\.q\.weight must be f8e4m3fn, got bf16/,
  );
});
