// How strong a LoRA acts: settings of PEFT against PEFT itself, and settings and tensors that are refused.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { HostTensor } from '@magi1/tensor';
import type { Setting } from './read-lora.ts';
import { parseLora } from './lora-file.ts';

interface Case {
  readonly name: string;
  readonly config: Record<string, unknown>;
  readonly modules: Record<string, [rank: number, scale: number]>;
}
const FILE = join(import.meta.dirname, '../../../../tests/files/peft-scales.json');
const { cases } = JSON.parse(readFileSync(FILE, 'utf8')) as { cases: Case[] };

const setting = (value: unknown): Setting =>
  typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof Map)
    ? new Map(Object.entries(value).map(([key, item]) => [key, setting(item)]))
    : (value as Setting);

const factor = (rows: number, columns: number, value = 0.5): HostTensor => ({
  dtype: 'f32',
  shape: [rows, columns],
  data: new Float32Array(rows * columns).fill(value),
});

function parse(
  modules: Record<string, number>,
  config: Record<string, unknown> = {},
  more: [string, HostTensor][] = [],
) {
  const tensors = new Map<string, HostTensor>();
  for (const [module, rank] of Object.entries(modules)) {
    tensors.set(`${module}.lora_A.weight`, factor(rank, 8));
    tensors.set(`${module}.lora_B.weight`, factor(8, rank));
  }
  for (const [name, tensor] of more) tensors.set(name, tensor);
  return parseLora({
    name: 'a.safetensors',
    tensors,
    settings: setting(config) as ReadonlyMap<string, Setting>,
    settingsFrom: 'adapter_config.json',
  });
}

describe('strengths', () => {
  it.each(cases)('as PEFT: $name', ({ config, modules }) => {
    const ranks = Object.fromEntries(Object.entries(modules).map(([name, [rank]]) => [name, rank]));
    const found = Object.fromEntries(parse(ranks, config).modules.map(({ name, scale }) => [name, scale]));
    expect(found).toEqual(Object.fromEntries(Object.entries(modules).map(([name, [, scale]]) => [name, scale])));
  });

  it('keep the order of the file, and say where two keys match', () => {
    const pattern = new Map<string, Setting>([
      ['q', 4],
      ['.*q', 8],
    ]);
    const parsed = parse({ 'blocks.0.q': 2 }, { lora_alpha: 2, alpha_pattern: pattern });
    expect(parsed.modules[0]!.scale).toBe(2);
    expect(parsed.notes).toEqual([
      'strengths as adapter_config.json says',
      expect.stringMatching(/^two keys match one module, and PEFT sorts them .*blocks\.0\.q: "q" 4, "\.\*q" 8/),
    ]);
  });

  it('say where ranks are others than declared', () => {
    const parsed = parse({ 'blocks.0.q': 2, 'blocks.0.k': 4 }, { r: 4, lora_alpha: 4, rank_pattern: { q: 8 } });
    expect(parsed.modules.map(({ scale }) => scale)).toEqual([2, 1]);
    expect(parsed.notes[1]).toMatch(/other ranks than the settings say.*blocks\.0\.q 2 and not 8\)$/);
  });

  it('match names without what pipelines put in front', () => {
    const config = { 'transformer.lora_alpha': 2, 'transformer.alpha_pattern': { '^blocks.0.q': 8 } };
    expect(parse({ 'transformer.blocks.0.q': 2 }, config).modules[0]!.scale).toBe(4);
  });
});

describe('refused', () => {
  it.each(['pissa', 'pissa_niter_16', 'olora', 'OLoRA', 'corda', 'loftq', 'lora_ga'])(
    '%s, with the remedy',
    (start) => {
      expect(() => parse({ q: 2 }, { init_lora_weights: start })).toThrow(
        /adapter_config\.json: init_lora_weights is ".*": it changed the base weights.*convert the adapter to a plain LoRA/,
      );
    },
  );
  it('but not what leaves the base weights alone', () => {
    for (const start of [true, false, 'gaussian', 'eva', 'orthogonal', 'mica'])
      expect(parse({ q: 2 }, { init_lora_weights: start }).modules).toHaveLength(1);
  });

  it.each<[string, Record<string, unknown>, RegExp]>([
    [
      'a text in alpha_pattern',
      { alpha_pattern: { q: '32' } },
      /alpha_pattern "q": a finite number expected, got "32"/,
    ],
    ['no object', { rank_pattern: [1] }, /rank_pattern: an object expected, got a list/],
    ['an infinite alpha', { lora_alpha: Infinity }, /lora_alpha: a finite number expected, got Infinity/],
    ['an alpha that is a word', { lora_alpha: 'much' }, /lora_alpha: a finite number expected, got "much"/],
    ['a broken expression', { alpha_pattern: { '(q': 3 } }, /alpha_pattern "\(q": not a regular expression/],
    ['another method', { peft_type: 'LOHA' }, /peft_type is "LOHA", "LORA" expected/],
    ['DoRA', { use_dora: true }, /use_dora is set/],
    ['activated LoRA', { alora_invocation_tokens: [1, 2] }, /alora_invocation_tokens is set/],
  ])('%s', (_, config, message) => {
    expect(() => parse({ q: 2 }, config)).toThrow(message);
  });

  it.each([Number.NaN, Infinity])('tensors with %d, by name', (value) => {
    const alpha: HostTensor = { dtype: 'f32', shape: [], data: Float32Array.of(value) };
    expect(() => parse({ q: 2 }, {}, [['q.alpha', alpha]])).toThrow(/q: alpha (NaN|Infinity) is not a finite number/);
    const b = factor(8, 2);
    b.data[5] = value;
    expect(() => parse({ q: 2 }, {}, [['q.lora_B.weight', b]])).toThrow(/q\.lora_B\.weight is not finite.*at index 5/);
  });

  it('factors of rank 0', () => {
    expect(() => parse({ q: 0 })).toThrow(/q: factors of rank 0/);
  });
});
