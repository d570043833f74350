// The published models against lists of every tensor's name and shape (files/shapes), and against their parameter counts.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { ModelConfig } from '../config/index.ts';
import { FileNames, VAE_LAYOUTS, transformerLayouts } from './index.ts';
import { parseT5Config } from '../t5/config.ts';
import { Params } from '../nn/index.ts';
import type { ParamSpecs } from '../nn/index.ts';
import { T5Encoder } from '../t5/encoder.ts';
import { VideoDiT } from '../transformer/video-dit.ts';
import { parseVaeConfig } from '../vae/config.ts';
import { ViTVae } from '../vae/vit-vae.ts';

interface ShapeList {
  readonly config: unknown;
  readonly blocks: number;
  /** Name, `*` for the number of a block, -> dimensions. */
  readonly tensors: Readonly<Record<string, string>>;
  /** What holds instead, or besides, for all blocks but the first and the last. */
  readonly quantized?: Readonly<Record<string, string>>;
}

function readShapes(name: string): ShapeList {
  return JSON.parse(
    readFileSync(join(import.meta.dirname, '../../../../tests/files/shapes', `${name}.json`), 'utf8'),
  ) as ShapeList;
}

function expand({ blocks, tensors, quantized = {} }: ShapeList): Map<string, string> {
  const out = new Map<string, string>();
  const put = (list: Readonly<Record<string, string>>, first: number, end: number) => {
    for (const [name, dims] of Object.entries(list)) {
      if (!name.includes('*')) out.set(name, dims);
      else for (let i = first; i < end; i++) out.set(name.replace('*', String(i)), dims);
    }
  };
  put(tensors, 0, blocks);
  put(quantized, 1, blocks - 1);
  return out;
}

const product = (dims: string) => dims.split('x').reduce((count, dim) => count * Number(dim), 1);
const parameters = (list: ReadonlyMap<string, string>) =>
  [...list.values()].reduce((sum, dims) => sum + product(dims), 0);
const shapesOf = (specs: ParamSpecs) => new Map([...specs].map(([name, { shape }]) => [name, shape.join('x')]));

function transformer(name: string, fp8_quant: boolean) {
  const list = readShapes(name);
  const model = list.config as ModelConfig;
  const specs = Params.record((p) => new VideoDiT(p, { model_config: model, engine_config: { fp8_quant } }));
  return { list: expand(list), model, specs };
}

const vaeSpecs = ({ config }: ShapeList) => Params.record((p) => new ViTVae(p, parseVaeConfig(config, 'vae')));

describe('the published models', () => {
  it.each([
    ['transformer-4.5B', 4_459_898_128, 898],
    ['transformer-24B', 23_899_281_936, 1262],
  ])('%s', (name, count, tensors) => {
    const { list, specs } = transformer(name, false);
    expect(list.size).toBe(tensors);
    expect(parameters(list)).toBe(count);
    expect(shapesOf(specs)).toEqual(list);
  });

  it.each(['4.5B', '24B'])('transformer %s, quantised: the same weights and their scales', (size) => {
    const { list, specs } = transformer(`transformer-${size}-fp8`, true);
    expect(shapesOf(specs)).toEqual(list);
    const scales = new Map([...list].filter(([name]) => name.endsWith('_scale')));
    expect(parameters(list) - parameters(scales)).toBe(parameters(transformer(`transformer-${size}`, false).list));
  });

  it('vae', () => {
    const shapes = readShapes('vae');
    const list = expand(shapes);
    expect(list.size).toBe(496);
    expect(parameters(list)).toBe(613_755_239);
    expect(shapesOf(vaeSpecs(shapes))).toEqual(list);
  });

  it('t5-v1_1-xxl-encoder', () => {
    const shapes = readShapes('t5-v1_1-xxl-encoder');
    const list = expand(shapes);
    expect(list.size).toBe(219);
    expect(parameters(list)).toBe(4_762_310_656);
    expect(shapesOf(Params.record((p) => new T5Encoder(p, parseT5Config(shapes.config, 't5'))))).toEqual(list);
  });

  // Sizes that the model's public description gives, written by hand: 4.5B and 24B.
  it.each([
    ['x_embedder.weight', '3072x16x1x2x2', '6144x32x1x2x2'],
    ['t_embedder.mlp.0.weight', '768x256', '1536x256'],
    ['videodit_blocks.layers.0.ada_modulate_layer.proj.0.weight', '6144x768', '12288x1536'],
    ['videodit_blocks.layers.0.self_attention.linear_qkv.qx.weight', '3072x3072', '6144x6144'],
    ['videodit_blocks.layers.0.self_attention.linear_qkv.k.weight', '1024x3072', '1024x6144'],
    ['videodit_blocks.layers.0.self_attention.linear_kv_xattn.weight', '2048x3072', '2048x6144'],
    ['videodit_blocks.layers.0.self_attention.linear_proj.weight', '3072x6144', '6144x12288'],
    ['videodit_blocks.layers.0.mlp.linear_fc1.weight', '12288x3072', '32768x6144'],
    ['videodit_blocks.layers.0.mlp.linear_fc2.weight', '3072x12288', '6144x16384'],
    ['final_linear.linear.weight', '64x3072', '128x6144'],
    ['rope.bands', '16', '16'],
  ])('%s', (name, small, large) => {
    expect(expand(readShapes('transformer-4.5B')).get(name)).toBe(small);
    expect(expand(readShapes('transformer-24B')).get(name)).toBe(large);
  });
});

describe('layout tables', () => {
  it.each(['transformer-4.5B', 'transformer-24B-fp8'])('spell every weight of %s, each in its own words', (name) => {
    const { specs, model } = transformer(name, name.endsWith('fp8'));
    for (const layout of transformerLayouts(model)) expectComplete(new FileNames(layout, specs), specs);
  });

  it('spell every weight of the VAE', () => {
    const specs = vaeSpecs(readShapes('vae'));
    for (const layout of VAE_LAYOUTS) expectComplete(new FileNames(layout, specs), specs);
  });

  /** Every weight has a spelling, and no spelling was taken from another weight. */
  function expectComplete(names: FileNames, specs: ParamSpecs): void {
    const reached = new Set<string>();
    for (const [, target] of names) reached.add(typeof target === 'string' ? target : target.weight);
    expect(reached).toEqual(new Set(specs.keys()));
    for (const name of specs.keys()) {
      for (const { parts } of names.spellings(name)) {
        for (const part of parts) {
          const target = names.target(part);
          expect(typeof target === 'string' ? target : target?.weight).toBe(name);
        }
      }
    }
  }
});

it('layers and depths far beyond any model are refused before lists are made of them', () => {
  const t5 = { ...(readShapes('t5-v1_1-xxl-encoder').config as object), num_layers: 1e9 };
  expect(() => parseT5Config(t5, 't5')).toThrow(/num_layers must be a positive integer up to 512, got 1000000000/);
  const { ddconfig, ...vae } = readShapes('vae').config as { ddconfig: object };
  expect(() => parseVaeConfig({ ...vae, ddconfig: { ...ddconfig, depth: 1e9 } }, 'vae')).toThrow(
    /ddconfig\.depth must be a positive number up to 512, got 1000000000/,
  );
});
