// LoRAs that are refused, each with a message that names what is wrong.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeSafetensors, writeSafetensors } from '@magi1/loaders';
import { hostArray } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { parseConfig } from '../config/index.ts';
import { transformerLayouts } from '../layouts/index.ts';
import { LoraSet } from './index.ts';
import { Params } from '../nn/index.ts';
import { VideoDiT } from '../transformer/video-dit.ts';
import type { DitConfig } from '../transformer/video-dit.ts';

const FILE = join(import.meta.dirname, '../../../../tests/fixtures/dit/tiny-24b/config.json');
const config = parseConfig(JSON.parse(readFileSync(FILE, 'utf8')), FILE);
const BLOCK = 'videodit_blocks.layers';

/** Its values do not matter here. */
function factor(...shape: number[]): HostTensor {
  const data = hostArray(
    'f32',
    shape.reduce((product, dim) => product * dim, 1),
  );
  return { dtype: 'f32', shape, data: data.fill(0.5) };
}

const newSet = (dit: DitConfig = config) =>
  new LoraSet(
    Params.record((p) => new VideoDiT(p, dit)),
    transformerLayouts(dit.model_config),
  );

describe('refused, with what is wrong', () => {
  const load = async (tensors: ReadonlyMap<string, HostTensor>) => newSet().load(await encodeSafetensors(tensors));
  const q = `transformer.${BLOCK}.0.self_attention.linear_qkv.q`;
  const good = new Map([
    ['t_embedder.mlp.2.lora_A.weight', factor(2, 48)],
    ['t_embedder.mlp.2.lora_B.weight', factor(48, 2)],
  ]);

  it.each<[string, RegExp, Record<string, HostTensor>]>([
    [
      'modules that match nothing',
      /text_encoder\.q is not a linear layer.*transformer\.blocks\.0\.attn3\.to_q is not a linear layer/,
      {
        'transformer.blocks.0.attn3.to_q.lora_A.weight': factor(2, 192),
        'transformer.blocks.0.attn3.to_q.lora_B.weight': factor(192, 2),
        'text_encoder.q.lora_A.weight': factor(2, 192),
        'text_encoder.q.lora_B.weight': factor(192, 2),
      },
    ],
    [
      'a block that the model has not',
      /transformer\.blocks\.99\.attn1\.to_q is not a linear layer/,
      {
        'transformer.blocks.99.attn1.to_q.lora_A.weight': factor(2, 192),
        'transformer.blocks.99.attn1.to_q.lora_B.weight': factor(192, 2),
      },
    ],
    [
      'a norm',
      /final_layernorm is not a linear layer/,
      {
        'videodit_blocks.final_layernorm.lora_A.weight': factor(2, 192),
        'videodit_blocks.final_layernorm.lora_B.weight': factor(192, 2),
      },
    ],
    [
      'the wrong width in',
      /linear_qkv\.q: lora_A takes 128 features, the layer 192/,
      { [`${q}.lora_A.weight`]: factor(2, 128), [`${q}.lora_B.weight`]: factor(192, 2) },
    ],
    [
      'the wrong width out',
      /linear_qkv\.q: lora_B gives 200 features, the layer 192/,
      { [`${q}.lora_A.weight`]: factor(2, 192), [`${q}.lora_B.weight`]: factor(200, 2) },
    ],
    [
      'ranks that differ',
      /linear_qkv\.q: lora_A is of rank 2, lora_B of rank 3/,
      { [`${q}.lora_A.weight`]: factor(2, 192), [`${q}.lora_B.weight`]: factor(192, 3) },
    ],
    ['half of a pair', /linear_qkv\.q has only lora_B/, { [`${q}.lora_B.weight`]: factor(192, 2) }],
    ['other tensors', /dora_scale \[192,1\] is not a LoRA factor/, { [`${q}.dora_scale`]: factor(192, 1) }],
    ['a checkpoint', /x_embedder\.weight \[192\] is not a LoRA factor/, { 'x_embedder.weight': factor(192) }],
  ])('%s', async (_, message, tensors) => {
    await expect(load(new Map([...good, ...Object.entries(tensors)]))).rejects.toThrow(message);
  });

  it('files that hold nothing, are missing or broken', async () => {
    await expect(newSet().load(await encodeSafetensors(new Map()))).rejects.toThrow(/no LoRA in it/);
    await expect(newSet().load('/nowhere/lora.safetensors')).rejects.toThrow(/\/nowhere\/lora\.safetensors/);
    await expect(newSet().load(Uint8Array.of(1, 2, 3))).rejects.toThrow(/bytes\.safetensors/);
    const bytes = await encodeSafetensors(good, { lora_adapter_metadata: '{' });
    await expect(newSet().load(bytes)).rejects.toThrow(/lora_adapter_metadata: invalid JSON/);
  });

  it('names and numbers that do not fit', async () => {
    const loras = newSet();
    const bytes = await encodeSafetensors(good);
    await expect(loras.load(bytes, { weight: Number.NaN })).rejects.toThrow(/weight must be a finite number, got NaN/);
    await expect(loras.load(bytes, { name: '' })).rejects.toThrow(/name must be a text/);
    expect(() => loras.fuse()).toThrow(/no LoRA is loaded that acts/);
    await loras.load(bytes, { name: 'one' });
    await expect(loras.load(bytes, { name: 'one' })).rejects.toThrow(/a LoRA called one is loaded/);
    expect(() => loras.set({ two: 1 })).toThrow(/no LoRA is called "two"; loaded: one/);
    expect(() => loras.unload('two')).toThrow(/no LoRA is called "two"/);
    expect(() => loras.unfuse()).toThrow(/no LoRA is fused/);
    loras.fuse();
    expect(() => loras.fuse()).toThrow(/LoRA one is fused; call unfuseLora first/);
    expect(() => loras.set({ one: 1 })).toThrow(/LoRA one is fused/);
    expect(() => loras.unload()).toThrow(/LoRA one is fused/);
  });

  it('strengths beyond 32 bits, by the layer', async () => {
    const loras = newSet();
    const bytes = await encodeSafetensors(good, { ss_network_alpha: '1e30' });
    await expect(loras.load(bytes, { weight: 1e30 })).rejects.toThrow(
      /weight 1e\+30 times .* of t_embedder\.mlp\.2 is/,
    );
    await loras.load(bytes, { name: 'one' });
    expect(() => loras.set({ one: 1e30 })).toThrow(/setLoras: LoRA one: weight 1e\+30/);
    expect(() => loras.fuse({ scale: 1e30 })).toThrow(/beyond 32 bits/);
    expect(loras.list()).toMatchObject([{ weight: 1, fused: false }]);
  });

  it('nothing on account of its name', async () => {
    const loras = newSet();
    const bytes = await encodeSafetensors(good);
    for (const name of ['constructor', '__proto__', 'toString']) await loras.load(bytes, { name });
    loras.set({});
    expect(loras.list().map(({ weight }) => weight)).toEqual([0, 0, 0]);
    loras.set({ constructor: 0.5 });
    expect(loras.list().map(({ weight }) => weight)).toEqual([0.5, 0, 0]);
    expect(() => loras.fuse()).not.toThrow();
  });

  it('pipes, devices and settings without end', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'magi1-lora-'));
    const pipe = join(folder, 'pipe.safetensors');
    execFileSync('mkfifo', [pipe]);
    await expect(newSet().load(pipe)).rejects.toThrow(/pipe\.safetensors: expected a file, found a special file/);
    const inFolder = join(folder, 'adapter');
    mkdirSync(inFolder);
    await writeSafetensors(join(inFolder, 'adapter_model.safetensors'), good);
    execFileSync('mkfifo', [join(inFolder, 'adapter_config.json')]);
    await expect(newSet().load(inFolder)).rejects.toThrow(/adapter_config\.json: expected a file, found a special/);
    rmSync(join(inFolder, 'adapter_config.json'));
    writeFileSync(join(inFolder, 'adapter_config.json'), ' '.repeat((4 << 20) + 1));
    await expect(newSet().load(inFolder)).rejects.toThrow(
      /adapter_config\.json: a file of 4194305 bytes, at most 4194304/,
    );
    rmSync(folder, { recursive: true });
  });

  it('more tensors than any LoRA has', async () => {
    const many = new Map(Array.from({ length: 20_001 }, (_, i) => [`a.${i}`, factor(1)]));
    await expect(load(many)).rejects.toThrow(/20001 tensors, at most 20000 expected/);
  });

  it('fusing into quantised layers', async () => {
    const loras = newSet({
      model_config: { ...config.model_config, num_layers: 3 },
      engine_config: { fp8_quant: true },
    });
    const layer = `${BLOCK}.1.mlp.linear_fc2`;
    const tensors = new Map([
      [`${layer}.lora_A.weight`, factor(2, 224)],
      [`${layer}.lora_B.weight`, factor(192, 2)],
    ]);
    await loras.load(await encodeSafetensors(tensors));
    expect(() => loras.fuse()).toThrow(/layers\.1\.mlp\.linear_fc2 is quantised/);
  });
});
