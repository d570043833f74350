import { describe, expect, it, test } from 'vitest';
import { Device, MetaDevice, scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { testDevices } from '../../../../tests/support/devices.ts';
import { parseConfig } from '../config/index.ts';
import type { ModelConfig } from '../config/index.ts';
import { publishedConfig } from '../config/published.ts';
import { CheckedWeights, LayerNorm, Params } from '../nn/index.ts';
import type { BlockContext } from './block-context.ts';
import { TransformerBlock } from './block.ts';
import { KvCache } from './kv-cache.ts';
import { SMALL_MODEL, randomTransformer } from './testing.ts';
import { seededNoise } from '../sampler/noise.ts';
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
    readRange: () => expect.unreachable('nothing is read before all fits'),
  };
  expect(() => new CheckedWeights(source, { build: build(true) })).toThrow(
    /layers\.1\.self_attention\.linear_qkv\.q\.weight must be f8e4m3fn, got bf16/,
  );
});

test('a variant has its own blocks, recorded, planned and run like the published ones', async () => {
  const model = { ...SMALL_MODEL, num_layers: 2 };
  class NormedBlock extends TransformerBlock {
    readonly last: LayerNorm;
    constructor(p: Params, config: ModelConfig, index: number, quantized: boolean) {
      super(p, config, index, quantized);
      this.last = new LayerNorm(p.at('last'), config.hidden_size, { eps: 1e-6 });
    }
    override forward(h: Tensor, context: BlockContext): Tensor {
      return this.last.forward(super.forward(h, context));
    }
  }
  const config = { model_config: model, engine_config: { fp8_quant: false } };
  const plain = [...Params.record((p) => new VideoDiT(p, config)).keys()];
  const names = [...Params.record((p) => new VideoDiT(p, config, NormedBlock)).keys()];
  expect(names.filter((name) => !plain.includes(name))).toEqual(
    [0, 1].flatMap((i) => ['weight', 'bias'].map((name) => `videodit_blocks.layers.${i}.last.${name}`)),
  );

  await using device = await Device.open({ backend: 'reference' });
  const meta = MetaDevice.like(device);
  const peaks: number[] = [];
  for (const [on, params] of [
    [meta, Params.meta(meta, () => 'f32')],
    [device, Params.create(device, (_, { shape }) => device.zeros(shape, 'f32'))],
  ] as const) {
    const variant = new VideoDiT(params, config, NormedBlock);
    const latent = on.zeros([1, 4, 1, 4, 4], 'f32');
    const features = on.zeros([2, model.caption_channels], 'f32');
    const text = variant.readText(features);
    const chunk = { latent, t: 500, firstFrame: 0, keys: [0, 4], text } as const;
    on.resetPeak();
    const velocities = await variant.forward({ chunks: [chunk], condition: 'caption', dt: null });
    expect(velocities.map(({ shape }) => shape)).toEqual([latent.shape]);
    await on.sync();
    peaks.push(on.memory().peak);
    for (const tensor of [...velocities, latent, features, text]) tensor.dispose();
    variant.dispose();
  }
  expect(device.memory().tensors).toBe(0);
  expect(peaks[0]).toBe(peaks[1]);
});

describe('tiles of tokens', () => {
  const { tokensPerChunk, latents } = { tokensPerChunk: 64, latents: [1, 4, 4, 8, 8] as const };
  const cacheShape = { layers: 3, slots: 2, tokensPerChunk, groups: 1, headDim: 16, dtype: 'f32' } as const;

  /** Velocities of two steps, the second of which sees what the first has cached, and the peak on the device. */
  async function velocitiesOf(device: Device, model: VideoDiT, tileTokens: number | undefined) {
    const cache = new KvCache(device, cacheShape);
    const text = scope(() => model.readText(device.tensor(seededNoise(9, 3 * 8), [3, 8], 'f32')));
    const chunkOf = (chunk: number, keys: readonly [number, number]) => ({
      latent: device.tensor(seededNoise(chunk, 4 * 4 * 8 * 8), latents, 'f32'),
      t: 100 * chunk,
      firstFrame: 4 * chunk,
      keys,
      text,
    });
    const chunks = [0, 1, 2].map((chunk) => chunkOf(chunk, [0, (chunk + 1) * tokensPerChunk]));
    const common = { condition: 'caption', dt: null, cache, tileTokens } as const;
    device.resetPeak();
    const first = await model.forward({ ...common, chunks: [chunks[0]!], writes: [{ position: 0, chunk: 0 }] });
    const cached = { first: 0, end: 1 };
    const second = await model.forward({ ...common, chunks: chunks.slice(1), cached, firstOutput: 1 });
    await device.sync();
    const { peak } = device.memory();
    const dry = device instanceof MetaDevice;
    const values = dry ? [] : await Promise.all([...first, ...second].map((tensor) => tensor.toFloat32()));
    for (const tensor of [...first, ...second, text, ...chunks.map(({ latent }) => latent)]) tensor.dispose();
    cache.dispose();
    return { values, peak };
  }

  it.each(testDevices())('give the same bits as all tokens at once, in less memory: $name', async ({ open }) => {
    await using device = await open();
    const model = randomTransformer(device);
    const whole = await velocitiesOf(device, model, undefined);
    expect(whole.values.flatMap((values) => [...values]).every(Number.isFinite)).toBe(true);
    const meta = MetaDevice.like(device);
    const dry = new VideoDiT(
      Params.meta(meta, () => 'f32'),
      {
        model_config: SMALL_MODEL,
        engine_config: { fp8_quant: false },
      },
    );
    for (const tileTokens of [64, 48, 33, 17, 16]) {
      const { values, peak } = await velocitiesOf(device, model, tileTokens);
      meta.resetCounts();
      expect((await velocitiesOf(meta, dry, tileTokens)).peak).toBe(peak);
      const { ops } = await device.profile(() => velocitiesOf(device, model, tileTokens));
      expect(meta.counts).toMatchObject({ ops: ops.length, flops: ops.reduce((sum, { flops }) => sum + flops, 0) });
      expect(values).toEqual(whole.values);
      expect(peak).toBeLessThan(whole.peak);
    }
    model.dispose();
    expect(device.memory().tensors).toBe(0);
  });
});

test.each([0, NaN, 1.5, -1, '3', null, Infinity])('tiles of %j tokens are refused', async (tileTokens) => {
  const device = new MetaDevice({ as: 'wasm' });
  const small = { model_config: SMALL_MODEL, engine_config: { fp8_quant: false } };
  const dit = new VideoDiT(
    Params.meta(device, () => 'f32'),
    small,
  );
  const chunk = { latent: device.empty([1, 4, 1, 4, 4], 'f32'), t: 0, firstFrame: 0, keys: [0, 4] as const };
  const chunks = [{ ...chunk, text: dit.nullCaptionRows(1) }];
  const forward = dit.forward({ chunks, condition: 'caption', dt: null, tileTokens: tileTokens as number });
  await expect(forward).rejects.toThrow(/^VideoDiT: tileTokens: a whole number from 1 expected, got /);
});
