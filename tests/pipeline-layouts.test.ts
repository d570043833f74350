// A whole model in the diffusers layout, and LoRAs, through the pipeline.
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Magi1Pipeline, readModelFolder } from '@magi1/core';
import { seededNoise } from '@magi1/core/model';
import { encodeSafetensors, openCheckpoint, writeSafetensors } from '@magi1/loaders';
import { Device, hostArray } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { TINY_MODEL } from './support/cli.ts';
import { diffusersTransformer, diffusersVae, newerTransformer, newerVae } from './support/port-layouts.ts';
import { readSafetensors } from './support/safetensors-lite.ts';
import { TRANSFORMER_FILE, temporaryFolder } from './support/tiny-model.ts';

interface OriginalConfig {
  readonly model_config: Readonly<Record<string, number | boolean>>;
  readonly engine_config: { readonly distill: boolean };
}
const config = JSON.parse(readFileSync(join(TINY_MODEL, 'config.json'), 'utf8')) as OriginalConfig;
const model = config.model_config;
const transformer = readSafetensors(join(TINY_MODEL, TRANSFORMER_FILE));
const vae = readSafetensors(join(TINY_MODEL, 'vae/diffusion_pytorch_model.safetensors'));
const REQUEST = { prompt: 'a cat', height: 32, width: 32, numFrames: 24, numInferenceSteps: 8, seed: 5 } as const;

let device: Device;
beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

interface Port {
  readonly index: string;
  readonly transformer: Map<string, HostTensor>;
  readonly vae: Map<string, HostTensor>;
  readonly transformerConfig: object;
  readonly vaeConfig: object;
}

async function writePort({ index, ...port }: Port): Promise<string> {
  const folder = temporaryFolder();
  const t5 = join(TINY_MODEL, 't5/t5-v1_1-xxl');
  for (const name of ['transformer', 'vae', 'text_encoder', 'tokenizer', 'scheduler']) mkdirSync(join(folder, name));
  const json = (file: string, value: object) => writeFileSync(join(folder, file), JSON.stringify(value));
  json(index, { _class_name: 'Magi1Pipeline' });
  json('scheduler/scheduler_config.json', { shift: 3 });
  json('transformer/config.json', port.transformerConfig);
  json('vae/config.json', port.vaeConfig);
  await writeSafetensors(join(folder, 'transformer/diffusion_pytorch_model.safetensors'), port.transformer);
  await writeSafetensors(join(folder, 'vae/diffusion_pytorch_model.safetensors'), port.vae);
  const checkpoint = await openCheckpoint(t5);
  const encoder = new Map<string, HostTensor>();
  for (const name of checkpoint.names()) encoder.set(name, await checkpoint.read(name));
  await checkpoint.close();
  await writeSafetensors(join(folder, 'text_encoder/model.safetensors'), encoder);
  cpSync(join(t5, 'config.json'), join(folder, 'text_encoder/config.json'));
  for (const file of ['spiece.model', 'tokenizer_config.json']) cpSync(join(t5, file), join(folder, 'tokenizer', file));
  return folder;
}

const ports: Readonly<Record<string, () => Port>> = {
  diffusers: () => ({
    index: 'model_index.json',
    transformer: diffusersTransformer(transformer, model.kv_channels as number),
    vae: diffusersVae(vae),
    transformerConfig: {
      _class_name: 'Magi1Transformer3DModel',
      num_layers: model.num_layers,
      num_attention_heads: model.num_attention_heads,
      num_kv_heads: model.num_query_groups,
      attention_head_dim: model.kv_channels,
      ffn_dim: model.ffn_hidden_size,
      cross_attention_dim: model.caption_channels,
      in_channels: 16,
      out_channels: 16,
      patch_size: [1, 2, 2],
      eps: 1e-6,
    },
    vaeConfig: {
      _class_name: 'AutoencoderKLMagi1',
      patch_size: [4, 8, 8],
      num_attention_heads: 4,
      attention_head_dim: 64,
      z_dim: 16,
      height: 32,
      width: 32,
      num_frames: 8,
      ffn_dim: 384,
      num_layers: 1,
    },
  }),
  'the newer port': () => ({
    index: 'modular_model_index.json',
    transformer: newerTransformer(transformer),
    vae: newerVae(vae),
    transformerConfig: {
      num_layers: model.num_layers,
      num_attention_heads: model.num_attention_heads,
      num_key_value_heads: model.num_query_groups,
      attention_head_dim: model.kv_channels,
      ffn_dim: model.ffn_hidden_size,
      condition_dim: (model.hidden_size as number) / 4,
      caption_channels: model.caption_channels,
      caption_max_length: model.caption_max_length,
      in_channels: 16,
      out_channels: 16,
      patch_size: [1, 2, 2],
      norm_eps: 1e-6,
      zero_centered_gamma: true,
      x_rescale_factor: 1,
      duplicate_channels: false,
      distilled: false,
    },
    vaeConfig: {
      in_channels: 3,
      latent_channels: 16,
      embed_dim: 256,
      num_layers: 1,
      num_attention_heads: 4,
      mlp_ratio: 1.5,
      patch_size: 8,
      patch_length: 4,
      sample_size: 32,
      sample_frames: 8,
    },
  }),
};

function without(record: object, ...names: readonly string[]): Record<string, unknown> {
  return Object.fromEntries(Object.entries(record).filter(([name]) => !names.includes(name)));
}

async function framesOf(folder: string): Promise<Uint8Array> {
  const pipe = await Magi1Pipeline.fromPretrained(folder, { device });
  const { frames } = await pipe(REQUEST);
  await pipe.dispose();
  return frames;
}

describe('a model folder of a port', () => {
  let expected: Uint8Array;
  beforeAll(async () => {
    expected = await framesOf(TINY_MODEL);
  });

  it.each(Object.keys(ports))('%s gives the frames that the original gives', async (name) => {
    const folder = await writePort(ports[name]!());
    const { config: located } = await readModelFolder(folder);
    const settings = without(model, 'model_name', 'params_dtype');
    expect(located.model_config).toMatchObject(settings);
    expect(await framesOf(folder)).toEqual(expected);
  });

  it('is refused where the settings of a network are missing', async () => {
    const port = ports.diffusers!();
    const rest = without(port.transformerConfig, 'num_layers', 'ffn_dim');
    const folder = await writePort({ ...port, transformerConfig: rest });
    await expect(readModelFolder(folder)).rejects.toThrow(/transformer\/config\.json.*num_layers, ffn_dim missing/);
  });
});

describe('LoRAs of a pipeline', () => {
  it('act from the next run on, are scaled, fused, and leave no trace', async () => {
    const pipe = await Magi1Pipeline.fromPretrained(TINY_MODEL, { device });
    const noise = (seed: number, ...shape: number[]): HostTensor => {
      const data = hostArray('f32', shape[0]! * shape[1]!);
      data.set(seededNoise(seed, data.length, 0).map((value) => value / 4));
      return { dtype: 'f32', shape, data };
    };
    const bytes = await encodeSafetensors(
      new Map([
        ['transformer.blocks.1.attn1.to_q.lora_A.weight', noise(1, 4, 256)],
        ['transformer.blocks.1.attn1.to_q.lora_B.weight', noise(2, 256, 4)],
        ['transformer.blocks.2.ffn.net.2.lora_A.weight', noise(3, 4, 192)],
        ['transformer.blocks.2.ffn.net.2.lora_B.weight', noise(4, 256, 4)],
      ]),
    );
    const run = async (scale?: number) =>
      (await pipe(scale === undefined ? REQUEST : { ...REQUEST, attentionKwargs: { scale } })).frames;
    const plain = await run();
    const held = device.memory().tensors;
    expect(await pipe.loadLora(bytes, { name: 'style' })).toMatchObject({ layers: 2, rank: 4 });
    const styled = await run();
    expect(styled).not.toEqual(plain);
    expect(await run(0)).toEqual(plain);
    pipe.setLoras({ style: 0.5 });
    const half = await run();
    expect(half).not.toEqual(styled);
    pipe.setLoras({ style: 1 });
    expect(await run(0.5)).toEqual(half);
    pipe.fuseLora();
    const fused = await run();
    const differences = fused.map((value, i) => Math.abs(value - styled[i]!));
    expect(Math.max(...differences)).toBeLessThanOrEqual(1);
    pipe.unfuseLora();
    expect(await run()).toEqual(styled);
    pipe.unloadLora('style');
    expect(pipe.loras).toEqual([]);
    expect(await run()).toEqual(plain);
    expect(device.memory().tensors).toBe(held);
    expect(() => pipe.plan({ ...REQUEST, attentionKwargs: { scale: Number.NaN } })).toThrow(/attentionKwargs/);
    await pipe.dispose();
  });
});
