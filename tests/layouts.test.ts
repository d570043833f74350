// The same weights in every layout that is read: the same bits on the device, and errors that use the file's names.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSafetensors } from '@magi1/loaders';
import { Device, bytesPerElement, hostArray } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import type { CheckedCheckpoint } from '../packages/magi1/src/checkpoint.ts';
import { parseConfig } from '../packages/magi1/src/config/index.ts';
import { openTransformer } from '../packages/magi1/src/transformer/load.ts';
import { openVae } from '../packages/magi1/src/vae/load.ts';
import { parseVaeConfig } from '../packages/magi1/src/vae/config.ts';
import { readFileSync } from 'node:fs';
import { TINY_MODEL } from './support/cli.ts';
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

/** Rows of each part of a tensor whose rows were dealt out, `turn` at a time. */
function deal({ dtype, shape, data }: HostTensor, parts: number, turn: number): HostTensor[] {
  const [rows, ...rest] = shape as [number, ...number[]];
  const width = rest.reduce((product, dim) => product * dim, 1);
  const filled = new Array<number>(parts).fill(0);
  const out = filled.map(() => hostArray(dtype, data.length / parts));
  for (let row = 0; row < rows; row++) {
    const part = Math.floor(row / turn) % parts;
    out[part]!.set(data.subarray(row * width, (row + 1) * width), filled[part]! * width);
    filled[part]!++;
  }
  return out.map((piece) => ({ dtype, shape: [rows / parts, ...rest], data: piece }));
}

/** The names of spec lists of the two ports, applied one replacement after the other. */
function renamed(tensors: Tensors, replacements: readonly (readonly [RegExp, string])[]): Map<string, HostTensor> {
  return new Map(
    [...tensors].map(([name, tensor]) => [
      replacements.reduce((text, [pattern, by]) => text.replace(pattern, by), name),
      tensor,
    ]),
  );
}

function diffusersNames(tensors: Tensors): Map<string, HostTensor> {
  const out = renamed(tensors, [
    [/^x_embedder/, 'patch_embedding'],
    [/^t_embedder\.mlp\.0/, 'condition_embedder.time_embedder.linear_1'],
    [/^t_embedder\.mlp\.2/, 'condition_embedder.time_embedder.linear_2'],
    [/^y_embedder\.(y_proj_xattn\.0|null)/, 'condition_embedder.text_embedder.$1'],
    [/^y_embedder\.y_proj_adaln\.0/, 'condition_embedder.text_embedder.y_proj_adaln'],
    [/^videodit_blocks\.final_layernorm/, 'norm_out'],
    [/^final_linear\.linear/, 'proj_out'],
    [/^videodit_blocks\.layers/, 'blocks'],
    [/self_attention\.linear_qkv\.layer_norm/, 'norm1'],
    [/self_attention\.linear_qkv\.qx/, 'attn2.to_q'],
    [/self_attention\.linear_qkv\.([qkv])/, 'attn1.to_$1'],
    [/self_attention\.([qk])_layernorm_xattn/, 'attn2.norm_$1'],
    [/self_attention\.([qk])_layernorm/, 'attn1.norm_$1'],
    [/self_attention\.linear_proj/, 'attn_proj'],
    [/self_attn_post_norm/, 'norm2'],
    [/mlp\.layer_norm/, 'norm3'],
    [/mlp_post_norm/, 'norm4'],
    [/mlp\.linear_fc1/, 'ffn.net.0.proj'],
    [/mlp\.linear_fc2/, 'ffn.net.2'],
    [/ada_modulate_layer\.proj\.0/, 'ada_modulate_layer.1'],
  ]);
  for (const [name, tensor] of [...out].filter(([key]) => key.includes('linear_kv_xattn'))) {
    out.delete(name);
    const [k, v] = deal(tensor, 2, model.kv_channels);
    out.set(name.replace('self_attention.linear_kv_xattn', 'attn2.to_k'), k!);
    out.set(name.replace('self_attention.linear_kv_xattn', 'attn2.to_v'), v!);
  }
  return out;
}

const NEWER: readonly (readonly [RegExp, string])[] = [
  [/^videodit_blocks\.layers/, 'transformer_blocks'],
  [/^([ty]_embedder)/, 'condition_embedder.$1'],
];

function newerNames(tensors: Tensors): Map<string, HostTensor> {
  const out = renamed(tensors, [
    ...NEWER,
    [/^videodit_blocks\.final_layernorm/, 'final_layernorm'],
    [/^final_linear\.linear/, 'final_linear'],
  ]);
  for (const [name, tensor] of [...out].filter(([key]) => key.includes('linear_kv_xattn'))) {
    out.delete(name);
    for (const [i, part] of deal(tensor, 8, tensor.shape[0]! / 8).entries())
      out.set(name.replace('.weight', `.projections.${i}.weight`), part);
  }
  return out;
}

async function writeOne(tensors: Tensors, file = 'model.safetensors'): Promise<string> {
  const folder = temporaryFolder();
  await writeSafetensors(join(folder, file), tensors);
  return folder;
}

async function writeShards(tensors: Tensors, count: number, stem: string): Promise<string> {
  const folder = temporaryFolder();
  mkdirSync(folder, { recursive: true });
  const names = [...tensors.keys()];
  const weight_map: Record<string, string> = {};
  for (let i = 0; i < count; i++) {
    const file = `${stem}-0000${i + 1}-of-0000${count}.safetensors`;
    const mine = names.filter((_, n) => n % count === i); // parts of a weight land in different shards
    for (const name of mine) weight_map[name] = file;
    await writeSafetensors(join(folder, file), new Map(mine.map((name) => [name, tensors.get(name)!])));
  }
  writeFileSync(join(folder, `${stem}.safetensors.index.json`), JSON.stringify({ metadata: {}, weight_map }));
  return folder;
}

/** Every weight's bits as they lie on the device. */
async function bitsOf(opened: Promise<CheckedCheckpoint>): Promise<Map<string, string>> {
  const checkpoint = await opened;
  const weights = await checkpoint.load(device);
  const bits = new Map<string, string>();
  for (const name of checkpoint.entries.keys()) {
    const tensor = weights.get(name);
    const data = await tensor.read();
    const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
    expect(data.length * bytesPerElement(tensor.dtype)).toBe(data.byteLength);
    bits.set(name, `${tensor.dtype}[${tensor.shape.join(',')}] ${text}`);
  }
  weights.dispose();
  await checkpoint.close();
  return bits;
}

const transformerBits = (folder: string, dtype?: 'f32') =>
  bitsOf(openTransformer(folder, model, engine, dtype ? { dtype } : {}));

describe("the transformer's layouts give the same bits", () => {
  let expected: Map<string, string>;
  beforeAll(async () => {
    expected = await transformerBits(TINY);
    expect(expected.size).toBe(original.size);
  });

  it.each([
    ['the original, sharded', () => writeShards(original, 3, 'model')],
    ['diffusers', () => writeOne(diffusersNames(original), 'diffusion_pytorch_model.safetensors')],
    ['diffusers, sharded', () => writeShards(diffusersNames(original), 2, 'diffusion_pytorch_model')],
    ['the newer port', () => writeOne(newerNames(original))],
    ['the newer port, names only', () => writeOne(renamed(original, NEWER))],
  ])('%s', async (_, write) => {
    expect(await transformerBits(await write())).toEqual(expected);
  });

  it('also where matrices are converted on the way', async () => {
    const folder = await writeOne(diffusersNames(original));
    expect(await transformerBits(folder, 'f32')).toEqual(await transformerBits(TINY, 'f32'));
  });
});

describe("the VAE's layouts give the same bits", () => {
  const folder = join(TINY_MODEL, 'vae');
  const vae = parseVaeConfig(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')), folder);
  const tensors = readSafetensors(join(folder, 'diffusion_pytorch_model.safetensors'));

  function diffusersVae(): Map<string, HostTensor> {
    const out = renamed(tensors, [
      [/^encoder\.patch_embed\.proj/, 'encoder.patch_embedding'],
      [/^encoder\.last_layer/, 'encoder.linear_out'],
      [/^decoder\.last_layer/, 'decoder.conv_out'],
      [/^(encoder|decoder)\.norm\./, '$1.norm_out.'],
      [/attn\.proj/, 'attn.to_out.0'],
      [/norm2/, 'norm'],
      [/mlp\.fc1/, 'proj_out.net.0.proj'],
      [/mlp\.fc2/, 'proj_out.net.2'],
    ]);
    for (const [name, tensor] of [...out].filter(([key]) => key.includes('.qkv.'))) {
      out.delete(name);
      for (const [i, part] of deal(tensor, 3, tensor.shape[0]! / 3).entries())
        out.set(name.replace('.qkv.', `.to_${'qkv'[i]!}.`), part);
    }
    return out;
  }

  it.each([
    ['diffusers', diffusersVae],
    [
      'the newer port',
      () => renamed(tensors, [[/^(encoder|decoder)\.(cls_token|pos_embed)/, '$1.position_embedding.$2']]),
    ],
  ])('%s', async (_, names) => {
    const written = await writeOne(names(), 'diffusion_pytorch_model.safetensors');
    expect(await bitsOf(openVae(written, vae))).toEqual(await bitsOf(openVae(folder, vae)));
  });
});

describe('files that do not fit', () => {
  const open = async (tensors: Tensors) => openTransformer(await writeOne(tensors), model, engine);

  it("names what is missing in the file's own words, and what is left over", async () => {
    const tensors = diffusersNames(original);
    const tensor = tensors.get('blocks.1.attn1.to_q.weight')!;
    tensors.delete('blocks.1.attn1.to_q.weight');
    tensors.set('blocks.1.attn1.to_query.weight', tensor);
    await expect(open(tensors)).rejects.toThrow(
      /videodit_blocks\.layers\.1\.self_attention\.linear_qkv\.q\.weight \(blocks\.1\.attn1\.to_q\.weight\) is missing; blocks\.1\.attn1\.to_query\.weight is not a weight of this model/,
    );
  });

  it('names the half of a merged weight that is there', async () => {
    const tensors = diffusersNames(original);
    tensors.delete('blocks.0.attn2.to_v.weight');
    await expect(open(tensors)).rejects.toThrow(
      /of the 2 parts of videodit_blocks\.layers\.0\.self_attention\.linear_kv_xattn\.weight only blocks\.0\.attn2\.to_k\.weight are there/,
    );
  });

  it('refuses halves of different widths, and a weight under two names', async () => {
    const uneven = diffusersNames(original);
    const { dtype, data } = uneven.get('blocks.0.attn2.to_v.weight')!;
    uneven.set('blocks.0.attn2.to_v.weight', { dtype, shape: [1, data.length], data });
    await expect(open(uneven)).rejects.toThrow(/to_k\.weight and blocks\.0\.attn2\.to_v\.weight must be of one shape/);
    const twice = diffusersNames(original);
    twice.set('rotary_emb.bands', original.get('rope.bands')!);
    await expect(open(twice)).rejects.toThrow(/rotary_emb\.bands.* the same weight|rope\.bands.* the same weight/);
  });

  it('checks shapes under every layout', async () => {
    const tensors = newerNames(original);
    const bands = tensors.get('rope.bands')!;
    tensors.set('rope.bands', { ...bands, shape: [1, 1] });
    await expect(open(tensors)).rejects.toThrow(/rope\.bands must be \[1\], got \[1,1\]/);
  });
});
