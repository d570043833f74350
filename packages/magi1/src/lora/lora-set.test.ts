// LoRA on the transformer: run-time, fused and merged by hand agree; unfusing gives the checkpoint's bits back.
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { relativeL2 } from '../../../../tests/support/distance.ts';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { encodeSafetensors, writeSafetensors } from '@magi1/loaders';
import { Device, hostArray, scope, toFloat32 } from '@magi1/tensor';
import type { HostTensor, Tensor } from '@magi1/tensor';
import { parseConfig } from '../config/index.ts';
import { VAE_LAYOUTS, transformerLayouts } from '../layouts/index.ts';
import type { Layout } from '../layouts/index.ts';
import { loadNetwork } from '../verify/files.ts';
import { openNetwork } from '../layouts/testing-open-network.ts';
import { LoraSet, loraNotes } from './index.ts';
import { keepView, observe, Params } from '../nn/index.ts';
import type { NetworkDefinition } from '../nn/index.ts';
import { parseT5Config } from '../t5/config.ts';
import { t5Network } from '../t5/encoder.ts';
import type { T5Encoder } from '../t5/encoder.ts';
import { parseVaeConfig } from '../vae/config.ts';
import { vaeNetwork } from '../vae/vit-vae.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { seededNoise } from '../sampler/index.ts';
import { VideoDiT, transformerNetwork } from '../transformer/video-dit.ts';
import { TINY_MODEL } from '../../../../tests/support/cli.ts';
import { readSafetensors } from '../../../../tests/support/safetensors-lite.ts';
import { temporaryFolder } from '../../../../tests/support/tiny-model.ts';

const TINY = join(import.meta.dirname, '../../../../tests/fixtures/dit/tiny-24b');
const config = parseConfig(JSON.parse(readFileSync(join(TINY, 'config.json'), 'utf8')), TINY);
const { model_config: model } = config;
const original = readSafetensors(join(TINY, 'model.safetensors'));

let device: Device;
beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

/** Runs on the device that sums in float64: what is left is how a LoRA rounds, not how a backend sums. */
async function onReference<T>(body: () => Promise<T>): Promise<T> {
  const other = device;
  device = await Device.open({ backend: 'reference' });
  try {
    const result = await body();
    expect(device.memory().tensors).toBe(0);
    return result;
  } finally {
    await device.dispose();
    device = other;
  }
}

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

const loadDit = (folder: string, options: { dtype?: 'f32' } = {}): Promise<VideoDiT> =>
  loadNetwork(folder, transformerNetwork(config), device, options);

const restoreFrom =
  (folder: string, options: { dtype?: 'f32' } = {}) =>
  async (params: Params, names: readonly string[]): Promise<void> => {
    const checkpoint = await openNetwork(folder, transformerNetwork(config), options);
    await checkpoint.weights.restore(params, names);
    await checkpoint.close();
  };

/** Two chunks, the second seeing the first. */
async function forward(dit: VideoDiT): Promise<Float32Array> {
  const channels = model.in_channels / 2;
  const shape = [1, channels, 2, 8, 8];
  const tokens = 2 * 4 * 4;
  const text = scope(() => dit.readText(dit.nullCaptionRows(7)));
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

async function bits(dit: VideoDiT): Promise<Map<string, string>> {
  const out = new Map<string, string>();
  for (const name of original.keys()) {
    const data = await dit.params.get(name).read();
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

const newSet = () =>
  new LoraSet(
    Params.record((p) => new VideoDiT(p, config)),
    transformerLayouts(model),
  );

describe('a LoRA', () => {
  let file: string;
  beforeAll(async () => {
    file = join(temporaryFolder(), 'pytorch_lora_weights.safetensors');
    await writeSafetensors(file, loraTensors);
  });

  /** Forwards without it, with it at run time and fused. */
  async function forwards() {
    const dit = await loadDit(TINY, f32);
    const restore = restoreFrom(TINY, f32);
    const loras = newSet();
    const plain = await forward(dit);
    await loras.load(file, { weight: 0.7 });
    await loras.attach(dit, restore);
    const atRunTime = await forward(dit);
    loras.fuse();
    await loras.attach(dit, restore);
    const fused = await forward(dit);
    dit.dispose();
    return { plain, atRunTime, fused, byHand: await forwardOf(merged(changes, 0.7)) };
  }

  it('acts alike at run time, fused, and merged by hand', async () => {
    const exact = await onReference(forwards);
    expect(relativeL2(exact.plain, exact.byHand)).toBeGreaterThan(0.05); // it does something
    expect(relativeL2(exact.atRunTime, exact.byHand)).toBeLessThan(1e-6);
    expect(relativeL2(exact.fused, exact.byHand)).toBeLessThan(1e-6);
    // A backend that sums in f32 is as far from that with the LoRA as it is with plain weights.
    const wasm = await forwards();
    const noise = relativeL2(wasm.byHand, exact.byHand);
    expect(noise).toBeLessThan(2e-6);
    expect(relativeL2(wasm.atRunTime, exact.byHand)).toBeLessThan(1.2 * noise);
    expect(relativeL2(wasm.fused, exact.byHand)).toBeLessThan(1.2 * noise);
  });

  it('leaves the weights alone at run time, and gives their exact bits back when unfused', async () => {
    const dit = await loadDit(TINY, f32);
    const restore = restoreFrom(TINY, f32);
    const [plain, before] = [await forward(dit), await bits(dit)];
    const loras = newSet();
    const info = await loras.load(file, { name: 'style', weight: 0.7 });
    expect(info).toEqual({
      ...{ name: 'style', source: file, weight: 0.7, fused: false, layers: changes.length, rank: 5, notes: [] },
    });
    await loras.attach(dit, restore);
    expect(await bits(dit)).toEqual(before);
    loras.fuse();
    await loras.attach(dit, restore);
    expect(loras.list()).toMatchObject([{ name: 'style', fused: true }]);
    expect(await bits(dit)).not.toEqual(before);
    loras.unfuse();
    loras.unload('style');
    await loras.attach(dit, restore);
    expect(await bits(dit)).toEqual(before);
    expect(await forward(dit)).toEqual(plain);
    dit.dispose();
  });

  it('is not fused into what is held as q8 or q4', async () => {
    const { weights, close } = await openNetwork(TINY, transformerNetwork(config), { dtype: 'q4' });
    const loras = new LoraSet(weights.specs, transformerLayouts(model), (name) => weights.dtypeOf(name));
    await loras.load(file);
    expect(() => {
      loras.fuse();
    }).toThrow(/is quantised to q4 and would lose the change; use the LoRA without fusing it/);
    expect(loras.list()).toMatchObject([{ fused: false }]);
    await close();
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
    expect(fused.get('t_embedder.mlp.2.weight')).not.toBe(before.get('t_embedder.mlp.2.weight'));
    const again = await loadDit(TINY);
    await loras.attach(again, restore);
    expect(await bits(again)).toEqual(fused);
    again.dispose();
    loras.unfuse();
    await loras.attach(dit, restore);
    expect(await bits(dit)).toEqual(before);
    dit.dispose();
  });

  it('acts together with others, each with its weight, and all with the scale of a run', () =>
    onReference(async () => {
      const dit = await loadDit(TINY, f32);
      const restore = restoreFrom(TINY, f32);
      const loras = newSet();
      const half = new Map([...loraTensors].filter(([name]) => name.includes('blocks.1')));
      await loras.load(await encodeSafetensors(loraTensors), { name: 'all' });
      await loras.load(await encodeSafetensors(half), { name: 'half', weight: -0.5 });
      await loras.attach(dit, restore, loras.choose(0.6));
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
    }));

  // By itself and at its own output: what f32 rounds there, this network of random weights makes ten times as large.
  it('acts on the patch embedding, a convolution', async () => {
    const size = factorSize('x_embedder.weight', 2);
    const change = {
      weight: 'x_embedder.weight',
      a: random(size, 2, 32, 1, 2, 2),
      b: random(size, 192, 2, 1, 1, 1),
      scale: 1,
    };
    const tokensOf = async (dit: VideoDiT) => {
      let tokens: Tensor | undefined;
      const seen = (path: string, tensor: Tensor) => {
        if (path === 'x_embedder') tokens = keepView(tensor);
      };
      await observe(dit.params, seen, () => forward(dit));
      const values = await tokens!.toFloat32();
      tokens!.dispose();
      return values;
    };
    const folder = temporaryFolder();
    await writeSafetensors(join(folder, 'model.safetensors'), merged([change], 1));
    const byHand = await loadDit(folder);
    const expected = await tokensOf(byHand);
    byHand.dispose();
    const dit = await loadDit(TINY, f32);
    const loras = newSet();
    const tensors = new Map([
      ['transformer.patch_embedding.lora_A.weight', change.a],
      ['transformer.patch_embedding.lora_B.weight', change.b],
    ]);
    await loras.load(await encodeSafetensors(tensors));
    expect(relativeL2(await tokensOf(dit), expected)).toBeGreaterThan(0.05);
    await loras.attach(dit, restoreFrom(TINY, f32));
    expect(relativeL2(await tokensOf(dit), expected)).toBeLessThan(1e-6);
    loras.fuse();
    await loras.attach(dit, restoreFrom(TINY, f32));
    expect(relativeL2(await tokensOf(dit), expected)).toBeLessThan(1e-6);
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

describe('on the other networks', () => {
  const read = (path: string): unknown => JSON.parse(readFileSync(join(TINY_MODEL, path, 'config.json'), 'utf8'));

  /** Plain, at run time and fused; what `module` names is [outputs, inputs]. */
  async function forwards<N extends { readonly params: Params; dispose(): void }>(
    folder: string,
    definition: NetworkDefinition<N>,
    layouts: readonly Layout[],
    [module, outputs, inputs]: readonly [string, number, number],
    run: (network: N) => Promise<Tensor>,
  ): Promise<Float32Array[]> {
    const network = await loadNetwork(folder, definition, device, f32);
    const restore = () => Promise.reject(new Error('nothing was fused'));
    const loras = new LoraSet(
      Params.record((p) => definition.build(p)),
      layouts,
    );
    const tensors = new Map([
      [`${module}.lora_A.weight`, random(0.2, 2, inputs)],
      [`${module}.lora_B.weight`, random(0.2, outputs, 2)],
    ]);
    const results: Float32Array[] = [];
    const step = async () => {
      await loras.attach(network, restore);
      using out = await run(network);
      results.push(await out.toFloat32());
    };
    await step();
    await loras.load(await encodeSafetensors(tensors));
    await step();
    loras.fuse();
    await step();
    network.dispose();
    return results;
  }

  const expectAlike = ([plain, atRunTime, fused]: readonly Float32Array[]) => {
    expect(relativeL2(atRunTime!, plain!)).toBeGreaterThan(1e-3);
    expect(relativeL2(fused!, atRunTime!)).toBeLessThan(1e-5);
  };

  it.each([
    ['decoder.blocks.0.attn.qkv', 3],
    ['decoder.blocks.0.attn.to_k', 1],
  ])('the VAE: %s', async (module, parts) => {
    const vae = parseVaeConfig(read('vae'), 'vae');
    const latent = device.tensor(seededNoise(3, vae.z_chans * 2 * 4 * 4, 0), [1, vae.z_chans, 2, 4, 4], 'f32');
    const layer = [module, parts * vae.embed_dim, vae.embed_dim] as const;
    const decode = (network: ViTVae) => network.decode(latent);
    expectAlike(await forwards(join(TINY_MODEL, 'vae'), vaeNetwork(vae), VAE_LAYOUTS, layer, decode));
    latent.dispose();
  });

  it('the text encoder', async () => {
    const folder = 't5/t5-v1_1-xxl';
    const t5 = parseT5Config(read(folder), 't5');
    const name = 'encoder';
    const layer = [`${name}.block.1.layer.1.DenseReluDense.wo`, t5.d_model, t5.d_ff] as const;
    const ids = Int32Array.of(3, 1, 4, 1, 5);
    const encode = (network: T5Encoder) => network.encode(ids, new Int32Array(5).fill(1));
    const layouts = [{ name, rows: [[name, name]] }] as const;
    expectAlike(await forwards(join(TINY_MODEL, folder), t5Network(t5), layouts, layer, encode));
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

  it('comes from the adapter_config.json beside a file that is named, and that is said', async () => {
    const folder = join(temporaryFolder(), 'beside');
    mkdirSync(folder);
    const named = join(folder, 'adapter_model.safetensors');
    await writeSafetensors(named, factors);
    const config = join(folder, 'adapter_config.json');
    writeFileSync(config, JSON.stringify({ lora_alpha: 8, r: 4 }));
    await expectScale(named, 2);
    const loras = newSet();
    expect((await loras.load(named, { name: 'style' })).notes).toEqual([`strengths as ${config} says`]);
    expect(loraNotes(loras.list())).toEqual([`LoRA style: strengths as ${config} says`]);
    // A file that says it itself needs no other.
    const own = join(folder, 'other.safetensors');
    await writeSafetensors(own, factors, { lora_adapter_metadata: JSON.stringify({ 'transformer.lora_alpha': 12 }) });
    await expectScale(own, 3);
  });

  it('is the rank where nothing is said', async () => {
    await expectScale(await encodeSafetensors(factors), 1);
  });
});
