// LoRA on the transformer: run-time, fused and merged by hand agree; unfusing gives the checkpoint's bits back.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeSafetensors, writeSafetensors } from '@magi1/loaders';
import { Device, hostArray, toFloat32 } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { parseConfig } from '../packages/magi1/src/config/index.ts';
import { LoraSet } from '../packages/magi1/src/lora/index.ts';
import { seededNoise } from '../packages/magi1/src/sampler/index.ts';
import { openTransformer } from '../packages/magi1/src/transformer/load.ts';
import { VideoDiT } from '../packages/magi1/src/transformer/video-dit.ts';
import type { Weights } from '../packages/magi1/src/weights.ts';
import { readSafetensors } from './support/safetensors-lite.ts';
import { temporaryFolder } from './support/tiny-model.ts';

const TINY = join(import.meta.dirname, 'fixtures/dit/tiny-24b');
const config = parseConfig(JSON.parse(readFileSync(join(TINY, 'config.json'), 'utf8')), TINY);
const { model_config: model, engine_config: engine } = config;
const original = readSafetensors(join(TINY, 'model.safetensors'));

let device: Device;
beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

type Tensors = ReadonlyMap<string, HostTensor>;
const BLOCK = 'videodit_blocks.layers';
let seed = 1;

function random(scale: number, ...shape: number[]): HostTensor {
  const data = hostArray(
    'f32',
    shape.reduce((product, dim) => product * dim, 1),
  );
  data.set(seededNoise(seed++, data.length, 0).map((value) => value * scale));
  return { dtype: 'f32', shape, data };
}

interface Change {
  readonly weight: string;
  /** Rows of the weight that the factor's rows are. */
  readonly row?: (i: number) => number;
  readonly a: HostTensor;
  readonly b: HostTensor;
  readonly scale: number;
}

/** Factors whose product is a tenth as large as the weight that it changes. */
function factorSize(weight: string, rank: number): number {
  const { dtype, data } = original.get(weight)!;
  const norm = toFloat32(dtype, data).reduce((sum, value) => sum + value * value, 0);
  return Math.sqrt((0.1 * Math.sqrt(norm / data.length)) / Math.sqrt(rank));
}

/** A LoRA as files hold it, and the changes that it stands for, written down independently. */
function makeLora(): { tensors: Map<string, HostTensor>; changes: Change[] } {
  const tensors = new Map<string, HostTensor>();
  const changes: Change[] = [];
  const put = (
    module: string,
    weight: string,
    {
      rank = 2,
      alpha,
      down = 'lora_A',
      up = 'lora_B',
      parts = 1,
      row,
    }: {
      rank?: number;
      alpha?: number;
      down?: string;
      up?: string;
      parts?: number;
      row?: (i: number) => number;
    } = {},
  ) => {
    const [outputs, ...inputs] = original.get(`${weight}.weight`)!.shape as [number, ...number[]];
    const size = factorSize(`${weight}.weight`, rank);
    const a = random(size, rank, ...inputs);
    const b = random(size, outputs / parts, rank, ...inputs.slice(1).map(() => 1));
    tensors.set(`${module}.${down}.weight`, a);
    tensors.set(`${module}.${up}.weight`, b);
    if (alpha !== undefined) tensors.set(`${module}.alpha`, { dtype: 'f32', shape: [], data: Float32Array.of(alpha) });
    changes.push({ weight: `${weight}.weight`, ...(row ? { row } : {}), a, b, scale: (alpha ?? rank) / rank });
  };
  const { kv_channels: head } = model;
  // The original's names, PEFT's prefix
  put(`base_model.model.${BLOCK}.0.self_attention.linear_qkv.q`, `${BLOCK}.0.self_attention.linear_qkv.q`, {
    alpha: 4,
  });
  put(`transformer.${BLOCK}.0.self_attention.linear_proj`, `${BLOCK}.0.self_attention.linear_proj`, { rank: 3 });
  put('transformer.x_embedder', 'x_embedder');
  put('transformer.t_embedder.mlp.2', 't_embedder.mlp.2');
  put('transformer.y_embedder.y_proj_xattn.0', 'y_embedder.y_proj_xattn.0');
  put(`transformer.${BLOCK}.1.ada_modulate_layer.proj.0`, `${BLOCK}.1.ada_modulate_layer.proj.0`, { alpha: 1 });
  // The diffusers layout's, and the older spelling of the factors
  put('transformer.blocks.1.attn1.to_v', `${BLOCK}.1.self_attention.linear_qkv.v`, { rank: 5 });
  put('transformer.blocks.1.ffn.net.0.proj', `${BLOCK}.1.mlp.linear_fc1`, {
    down: 'lora.down',
    up: 'lora.up',
    alpha: 8,
  });
  for (const [i, name] of ['to_k', 'to_v'].entries())
    put(`transformer.blocks.0.attn2.${name}`, `${BLOCK}.0.self_attention.linear_kv_xattn`, {
      parts: 2,
      row: (r) => Math.floor(r / head) * 2 * head + i * head + (r % head),
    });
  put('proj_out', 'final_linear.linear');
  // The newer port's
  put('transformer.transformer_blocks.0.mlp.linear_fc2', `${BLOCK}.0.mlp.linear_fc2`, {
    down: 'lora_down',
    up: 'lora_up',
  });
  put('condition_embedder.y_embedder.y_proj_adaln.0', 'y_embedder.y_proj_adaln.0');
  return { tensors, changes };
}

const { tensors: loraTensors, changes } = makeLora();

/** The checkpoint in f32, with `strength` times the changes added in float64. */
function merged(all: readonly Change[], strength: number): Map<string, HostTensor> {
  const out = new Map<string, HostTensor>();
  for (const [name, { dtype, shape, data }] of original)
    out.set(name, { dtype: 'f32', shape, data: Float32Array.from(toFloat32(dtype, data)) });
  for (const { weight, row = (i: number) => i, a, b, scale } of all) {
    const target = out.get(weight)!.data as Float32Array;
    const rank = a.shape[0]!;
    const columns = a.data.length / rank;
    for (let i = 0; i < b.shape[0]!; i++)
      for (let j = 0; j < columns; j++) {
        let sum = 0;
        for (let r = 0; r < rank; r++) sum += b.data[i * rank + r]! * a.data[r * columns + j]!;
        target[row(i) * columns + j]! += strength * scale * sum;
      }
  }
  return out;
}

const f32 = { dtype: 'f32' } as const;

async function loadDit(folder: string, options: { dtype?: 'f32' } = {}): Promise<VideoDiT> {
  const checkpoint = await openTransformer(folder, model, engine, options);
  try {
    return new VideoDiT(model, await checkpoint.load(device));
  } finally {
    await checkpoint.close();
  }
}

const restoreFrom =
  (folder: string, options: { dtype?: 'f32' } = {}) =>
  async (weights: Weights, names: readonly string[]): Promise<void> => {
    const checkpoint = await openTransformer(folder, model, engine, options);
    await checkpoint.restore(weights, names);
    await checkpoint.close();
  };

/** Two chunks, the second seeing the first. */
async function forward(dit: VideoDiT): Promise<Float32Array> {
  const channels = model.in_channels / 2;
  const shape = [1, channels, 2, 8, 8];
  const tokens = 2 * 4 * 4;
  const text = dit.readText(dit.nullCaptionRows(7));
  const chunks = [0, 1].map((i) => ({
    latent: device.tensor(seededNoise(77 + i, channels * 128, 0), shape, 'f32'),
    t: 0.2 + 0.3 * i,
    firstFrame: 2 * i,
    keys: [0, (i + 1) * tokens] as const,
    text,
  }));
  const out = await dit.forward({ chunks, condition: 'null', dt: null });
  const values: number[] = [];
  for (const tensor of out) {
    values.push(...(await tensor.toFloat32()));
    tensor.dispose();
  }
  for (const { latent } of chunks) latent.dispose();
  text.dispose();
  return Float32Array.from(values);
}

function relativeL2(actual: Float32Array, expected: Float32Array): number {
  let [difference, norm] = [0, 0];
  for (const [i, value] of expected.entries()) {
    difference += (actual[i]! - value) ** 2;
    norm += value ** 2;
  }
  return Math.sqrt(difference / norm);
}

async function bits(dit: VideoDiT): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  for (const name of original.keys()) {
    const data = await dit.weights.get(name).read();
    out.set(name, Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64'));
  }
  return out;
}

async function forwardOf(tensors: Tensors): Promise<Float32Array> {
  const folder = temporaryFolder();
  await writeSafetensors(join(folder, 'model.safetensors'), tensors);
  const dit = await loadDit(folder);
  const out = await forward(dit);
  dit.dispose();
  return out;
}

const newSet = () => new LoraSet(model, engine);

describe('a LoRA', () => {
  let file: string;
  beforeAll(async () => {
    file = join(temporaryFolder(), 'pytorch_lora_weights.safetensors');
    await writeSafetensors(file, loraTensors);
  });

  it('acts alike at run time, fused, and merged by hand; unfusing gives the exact bits back', async () => {
    const dit = await loadDit(TINY, f32);
    const restore = restoreFrom(TINY, f32);
    const [plain, before] = [await forward(dit), await bits(dit)];
    const byHand = await forwardOf(merged(changes, 0.7));
    expect(relativeL2(plain, byHand)).toBeGreaterThan(0.05); // it does something

    const loras = newSet();
    const info = await loras.load(file, { name: 'style', weight: 0.7 });
    expect(info).toEqual({ name: 'style', weight: 0.7, fused: false, layers: changes.length, rank: 5 });
    await loras.attach(dit, restore);
    expect(relativeL2(await forward(dit), byHand)).toBeLessThan(1e-6);
    expect(await bits(dit)).toEqual(before);

    loras.fuse();
    await loras.attach(dit, restore);
    expect(relativeL2(await forward(dit), byHand)).toBeLessThan(1e-6);
    expect(loras.list()).toMatchObject([{ name: 'style', fused: true }]);
    expect(await bits(dit)).not.toEqual(before);

    loras.unfuse();
    loras.unload('style');
    await loras.attach(dit, restore);
    expect(await bits(dit)).toEqual(before);
    expect(await forward(dit)).toEqual(plain);
    dit.dispose();
  });

  it('unfuses exactly where the weights are in 16 bits and in another layout, and fuses again after a reload', async () => {
    const dit = await loadDit(TINY);
    const restore = restoreFrom(TINY);
    const before = await bits(dit);
    const loras = newSet();
    await loras.load(file);
    loras.fuse({ scale: 2 });
    await loras.attach(dit, restore);
    const fused = await bits(dit);
    expect(fused.get('x_embedder.weight')).not.toBe(before.get('x_embedder.weight'));
    const again = await loadDit(TINY);
    await loras.attach(again, restore);
    expect(await bits(again)).toEqual(fused);
    again.dispose();
    loras.unfuse();
    await loras.attach(dit, restore);
    expect(await bits(dit)).toEqual(before);
    dit.dispose();
  });

  it('acts together with others, each with its weight, and all with the scale of a run', async () => {
    const dit = await loadDit(TINY, f32);
    const restore = restoreFrom(TINY, f32);
    const loras = newSet();
    const half = new Map([...loraTensors].filter(([name]) => name.includes('blocks.1')));
    await loras.load(await encodeSafetensors(loraTensors), { name: 'all' });
    await loras.load(await encodeSafetensors(half), { name: 'half', weight: -0.5 });
    await loras.attach(dit, restore, { scale: 0.6 });
    const some = changes.filter(({ weight }) => /layers\.1\.(self_attention\.linear_qkv\.v|mlp)/.test(weight));
    const both = await forwardOf(
      merged([...changes, ...some.map((each) => ({ ...each, scale: -0.5 * each.scale }))], 0.6),
    );
    expect(relativeL2(await forward(dit), both)).toBeLessThan(1e-6);

    loras.set({ all: 0.3 }); // the other no longer acts
    await loras.attach(dit, restore);
    expect(relativeL2(await forward(dit), await forwardOf(merged(changes, 0.3)))).toBeLessThan(1e-6);

    loras.fuse({ names: ['all'] });
    await loras.attach(dit, restore);
    loras.set({ half: 1 });
    await loras.attach(dit, restore);
    const mixed = [...changes.map((each) => ({ ...each, scale: 0.3 * each.scale })), ...some];
    expect(relativeL2(await forward(dit), await forwardOf(merged(mixed, 1)))).toBeLessThan(1e-6);

    loras.unfuse();
    loras.unload();
    await loras.attach(dit, restore);
    expect(loras.list()).toEqual([]);
    const untouched = await loadDit(TINY, f32);
    expect(await forward(dit)).toEqual(await forward(untouched));
    untouched.dispose();
    dit.dispose();
  });

  it('does nothing at weight 0', async () => {
    const dit = await loadDit(TINY);
    const plain = await forward(dit);
    const loras = newSet();
    await loras.load(file, { weight: 0 });
    await loras.attach(dit, restoreFrom(TINY));
    expect(await forward(dit)).toEqual(plain);
    dit.dispose();
  });
});

describe('alpha', () => {
  const module = `transformer.${BLOCK}.0.mlp.linear_fc2`;
  const weight = `${BLOCK}.0.mlp.linear_fc2`;
  const [a, b] = [random(0.05, 4, 224), random(0.05, 192, 4)];
  const factors = new Map([
    [`${module}.lora_A.weight`, a],
    [`${module}.lora_B.weight`, b],
  ]);

  async function forwardWith(source: string | Uint8Array): Promise<Float32Array> {
    const dit = await loadDit(TINY, f32);
    const loras = newSet();
    await loras.load(source);
    await loras.attach(dit, restoreFrom(TINY, f32));
    const out = await forward(dit);
    dit.dispose();
    return out;
  }
  const expectScale = async (source: string | Uint8Array, scale: number) => {
    const byHand = await forwardOf(merged([{ weight: `${weight}.weight`, a, b, scale }], 1));
    expect(relativeL2(await forwardWith(source), byHand)).toBeLessThan(1e-6);
  };

  it('comes from the metadata', async () => {
    const peft = JSON.stringify({ 'transformer.lora_alpha': 8, 'transformer.r': 4 });
    await expectScale(await encodeSafetensors(factors, { lora_adapter_metadata: peft }), 2);
    await expectScale(await encodeSafetensors(factors, { ss_network_alpha: '1' }), 0.25);
  });

  it("comes from a folder's adapter_config.json, its pattern first", async () => {
    const folder = join(temporaryFolder(), 'adapter');
    mkdirSync(folder);
    await writeSafetensors(join(folder, 'adapter_model.safetensors'), factors);
    const settings = { lora_alpha: 16, alpha_pattern: { 'mlp.linear_fc2': 6 } };
    writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify(settings));
    await expectScale(folder, 1.5);
    writeFileSync(join(folder, 'adapter_config.json'), JSON.stringify({ lora_alpha: 4, use_rslora: true }));
    await expectScale(folder, 2);
  });

  it('is the rank where nothing is said', async () => {
    await expectScale(await encodeSafetensors(factors), 1);
  });
});

describe('refused, with what is wrong', () => {
  const good = new Map([...loraTensors].slice(0, 2));
  const load = async (tensors: Tensors) => newSet().load(await encodeSafetensors(tensors));
  const q = `transformer.${BLOCK}.0.self_attention.linear_qkv.q`;

  it.each<[string, RegExp, Record<string, HostTensor>]>([
    [
      'modules that match nothing',
      /text_encoder\.q is no linear layer.*transformer\.blocks\.0\.attn3\.to_q is no linear layer/,
      {
        'transformer.blocks.0.attn3.to_q.lora_A.weight': random(1, 2, 192),
        'transformer.blocks.0.attn3.to_q.lora_B.weight': random(1, 192, 2),
        'text_encoder.q.lora_A.weight': random(1, 2, 192),
        'text_encoder.q.lora_B.weight': random(1, 192, 2),
      },
    ],
    [
      'a block that the model has not',
      /transformer\.blocks\.99\.attn1\.to_q is no linear layer/,
      {
        'transformer.blocks.99.attn1.to_q.lora_A.weight': random(1, 2, 192),
        'transformer.blocks.99.attn1.to_q.lora_B.weight': random(1, 192, 2),
      },
    ],
    [
      'a norm',
      /final_layernorm is no linear layer/,
      {
        'videodit_blocks.final_layernorm.lora_A.weight': random(1, 2, 192),
        'videodit_blocks.final_layernorm.lora_B.weight': random(1, 192, 2),
      },
    ],
    [
      'the wrong width in',
      /linear_qkv\.q: lora_A takes 128 features, the layer 192/,
      { [`${q}.lora_A.weight`]: random(1, 2, 128), [`${q}.lora_B.weight`]: random(1, 192, 2) },
    ],
    [
      'the wrong width out',
      /linear_qkv\.q: lora_B gives 200 features, the layer 192/,
      { [`${q}.lora_A.weight`]: random(1, 2, 192), [`${q}.lora_B.weight`]: random(1, 200, 2) },
    ],
    [
      'ranks that differ',
      /linear_qkv\.q: lora_A is of rank 2, lora_B of rank 3/,
      { [`${q}.lora_A.weight`]: random(1, 2, 192), [`${q}.lora_B.weight`]: random(1, 192, 3) },
    ],
    ['half of a pair', /linear_qkv\.q has only lora_B/, { [`${q}.lora_B.weight`]: random(1, 192, 2) }],
    ['other tensors', /dora_scale \[192,1\] is no factor of a LoRA/, { [`${q}.dora_scale`]: random(1, 192, 1) }],
    ['a checkpoint', /x_embedder\.weight \[192\] is no factor/, { 'x_embedder.weight': random(1, 192) }],
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
      [`${layer}.lora_A.weight`, random(1, 2, 224)],
      [`${layer}.lora_B.weight`, random(1, 192, 2)],
    ]);
    await loras.load(await encodeSafetensors(tensors));
    expect(() => loras.fuse()).toThrow(/layers\.1\.mlp\.linear_fc2 is quantised/);
  });
});
