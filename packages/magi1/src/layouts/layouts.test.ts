// The same weights in every layout that is read: the same bits on the device, and errors that use the file's names.
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writeSafetensors } from '@magi1/loaders';
import { Device, bytesOf } from '@magi1/tensor';
import type { DType } from '@magi1/tensor';
import { parseConfig } from '../config/index.ts';
import { openNetwork } from './testing-open-network.ts';
import type { OpenNetwork } from './testing-open-network.ts';
import type { Params } from '../nn/index.ts';
import { transformerNetwork } from '../transformer/video-dit.ts';
import { vaeNetwork } from '../vae/vit-vae.ts';
import { parseVaeConfig } from '../vae/config.ts';
import { readFileSync } from 'node:fs';
import { TINY_MODEL } from '../../../../tests/support/cli.ts';
import {
  diffusersTransformer,
  diffusersVae,
  newerTransformer,
  newerVae,
} from '../../../../tests/support/port-layouts.ts';
import type { Tensors } from '../../../../tests/support/port-layouts.ts';
import { readSafetensors } from '../../../../tests/support/safetensors-lite.ts';
import { temporaryFolder } from '../../../../tests/support/tiny-model.ts';

const TINY = join(import.meta.dirname, '../../../../tests/fixtures/dit/tiny-24b');
const config = parseConfig(JSON.parse(readFileSync(join(TINY, 'config.json'), 'utf8')), TINY);
const { model_config: model } = config;
const openTransformer = (folder: string, options?: { readonly dtype?: DType }) =>
  openNetwork(folder, transformerNetwork(config), options);
const original = readSafetensors(join(TINY, 'model.safetensors'));

let device: Device;
beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

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
async function bitsOf(opened: Promise<OpenNetwork<{ readonly params: Params }>>): Promise<Map<string, string>> {
  const checkpoint = await opened;
  const { params } = await checkpoint.weights.load(device);
  const bits = new Map<string, string>();
  for (const name of checkpoint.weights.entries.keys()) {
    const tensor = params.get(name);
    const data = await tensor.read();
    const text = Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('base64');
    expect(bytesOf(tensor.dtype, data.length)).toBe(data.byteLength);
    bits.set(name, `${tensor.dtype}[${tensor.shape.join(',')}] ${text}`);
  }
  params.dispose();
  await checkpoint.close();
  return bits;
}

const transformerBits = (folder: string, dtype?: 'f32') => bitsOf(openTransformer(folder, dtype ? { dtype } : {}));

describe("the transformer's layouts give the same bits", () => {
  let expected: Map<string, string>;
  beforeAll(async () => {
    expected = await transformerBits(TINY);
    expect(expected.size).toBe(original.size);
  });

  it.each([
    ['the original, sharded', () => writeShards(original, 3, 'model')],
    [
      'diffusers',
      () => writeOne(diffusersTransformer(original, model.kv_channels), 'diffusion_pytorch_model.safetensors'),
    ],
    [
      'diffusers, sharded',
      () => writeShards(diffusersTransformer(original, model.kv_channels), 2, 'diffusion_pytorch_model'),
    ],
    ['the newer port', () => writeOne(newerTransformer(original))],
    ['the newer port, names only', () => writeOne(newerTransformer(original, false))],
  ])('%s', async (_, write) => {
    expect(await transformerBits(await write())).toEqual(expected);
  });

  it('also where matrices are converted on the way', async () => {
    const folder = await writeOne(diffusersTransformer(original, model.kv_channels));
    expect(await transformerBits(folder, 'f32')).toEqual(await transformerBits(TINY, 'f32'));
  });
});

describe("the VAE's layouts give the same bits", () => {
  const folder = join(TINY_MODEL, 'vae');
  const vae = parseVaeConfig(JSON.parse(readFileSync(join(folder, 'config.json'), 'utf8')), folder);
  const tensors = readSafetensors(join(folder, 'diffusion_pytorch_model.safetensors'));

  it.each([
    ['diffusers', () => diffusersVae(tensors)],
    ['the newer port', () => newerVae(tensors)],
  ])('%s', async (_, names) => {
    const written = await writeOne(names(), 'diffusion_pytorch_model.safetensors');
    expect(await bitsOf(openNetwork(written, vaeNetwork(vae)))).toEqual(
      await bitsOf(openNetwork(folder, vaeNetwork(vae))),
    );
  });
});

describe('files that do not fit', () => {
  const open = async (tensors: Tensors) => openTransformer(await writeOne(tensors));

  it("names what is missing in the file's own words, and what is left over", async () => {
    const tensors = diffusersTransformer(original, model.kv_channels);
    const tensor = tensors.get('blocks.1.attn1.to_q.weight')!;
    tensors.delete('blocks.1.attn1.to_q.weight');
    tensors.set('blocks.1.attn1.to_query.weight', tensor);
    await expect(open(tensors)).rejects.toThrow(
      /videodit_blocks\.layers\.1\.self_attention\.linear_qkv\.q\.weight \(blocks\.1\.attn1\.to_q\.weight\) is missing; blocks\.1\.attn1\.to_query\.weight is not a weight of this model/,
    );
  });

  it('names the half of a merged weight that is there', async () => {
    const tensors = diffusersTransformer(original, model.kv_channels);
    tensors.delete('blocks.0.attn2.to_v.weight');
    await expect(open(tensors)).rejects.toThrow(
      /of the 2 parts of videodit_blocks\.layers\.0\.self_attention\.linear_kv_xattn\.weight only blocks\.0\.attn2\.to_k\.weight are there/,
    );
  });

  it('refuses halves of different widths, and a weight under two names', async () => {
    const uneven = diffusersTransformer(original, model.kv_channels);
    const { dtype, data } = uneven.get('blocks.0.attn2.to_v.weight')!;
    uneven.set('blocks.0.attn2.to_v.weight', { dtype, shape: [1, data.length], data });
    await expect(open(uneven)).rejects.toThrow(/to_k\.weight and blocks\.0\.attn2\.to_v\.weight must be of one shape/);
    const twice = diffusersTransformer(original, model.kv_channels);
    twice.set('rotary_emb.bands', original.get('rope.bands')!);
    await expect(open(twice)).rejects.toThrow(/rotary_emb\.bands.* the same weight|rope\.bands.* the same weight/);
  });

  it('checks shapes under every layout', async () => {
    const tensors = newerTransformer(original);
    const bands = tensors.get('rope.bands')!;
    tensors.set('rope.bands', { ...bands, shape: [1, 1] });
    await expect(open(tensors)).rejects.toThrow(/rope\.bands must be \[1\], got \[1,1\]/);
  });
});
