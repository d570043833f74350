// LoRAs that are refused, each with a message that names what is wrong.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { encodeSafetensors } from '@magi1/loaders';
import { hostArray } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { parseConfig } from '../packages/magi1/src/config/index.ts';
import { LoraSet } from '../packages/magi1/src/lora/index.ts';

const FILE = join(import.meta.dirname, 'fixtures/dit/tiny-24b/config.json');
const { model_config: model, engine_config: engine } = parseConfig(JSON.parse(readFileSync(FILE, 'utf8')), FILE);
const BLOCK = 'videodit_blocks.layers';

/** Its values do not matter here. */
function factor(...shape: number[]): HostTensor {
  const data = hostArray(
    'f32',
    shape.reduce((product, dim) => product * dim, 1),
  );
  return { dtype: 'f32', shape, data: data.fill(0.5) };
}

const newSet = () => new LoraSet(model, engine);

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
      /text_encoder\.q is no linear layer.*transformer\.blocks\.0\.attn3\.to_q is no linear layer/,
      {
        'transformer.blocks.0.attn3.to_q.lora_A.weight': factor(2, 192),
        'transformer.blocks.0.attn3.to_q.lora_B.weight': factor(192, 2),
        'text_encoder.q.lora_A.weight': factor(2, 192),
        'text_encoder.q.lora_B.weight': factor(192, 2),
      },
    ],
    [
      'a block that the model has not',
      /transformer\.blocks\.99\.attn1\.to_q is no linear layer/,
      {
        'transformer.blocks.99.attn1.to_q.lora_A.weight': factor(2, 192),
        'transformer.blocks.99.attn1.to_q.lora_B.weight': factor(192, 2),
      },
    ],
    [
      'a norm',
      /final_layernorm is no linear layer/,
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
    ['other tensors', /dora_scale \[192,1\] is no factor of a LoRA/, { [`${q}.dora_scale`]: factor(192, 1) }],
    ['a checkpoint', /x_embedder\.weight \[192\] is no factor/, { 'x_embedder.weight': factor(192) }],
  ])('%s', async (_, message, tensors) => {
    await expect(load(new Map([...good, ...Object.entries(tensors)]))).rejects.toThrow(message);
  });

  it('files that hold nothing, are missing or broken', async () => {
    await expect(newSet().load(await encodeSafetensors(new Map()))).rejects.toThrow(/no LoRA in it/);
    await expect(newSet().load('/nowhere/lora.safetensors')).rejects.toThrow(/\/nowhere\/lora\.safetensors/);
    await expect(newSet().load(Uint8Array.of(1, 2, 3))).rejects.toThrow(/bytes\.safetensors/);
    const bytes = await encodeSafetensors(good, { lora_adapter_metadata: '{' });
    await expect(newSet().load(bytes)).rejects.toThrow(/lora_adapter_metadata: is not valid JSON/);
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

  it('fusing into quantised layers', async () => {
    const loras = new LoraSet({ ...model, num_layers: 3 }, { fp8_quant: true });
    const layer = `${BLOCK}.1.mlp.linear_fc2`;
    const tensors = new Map([
      [`${layer}.lora_A.weight`, factor(2, 224)],
      [`${layer}.lora_B.weight`, factor(192, 2)],
    ]);
    await loras.load(await encodeSafetensors(tensors));
    expect(() => loras.fuse()).toThrow(/layers\.1\.mlp\.linear_fc2 is quantised/);
  });
});
