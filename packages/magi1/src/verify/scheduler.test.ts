// The sampler's plain data against the golden traces: schedules, key ranges, guidance, sampling loop, special tokens.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { VerifyResult } from './json-difference.ts';
import { verifyScheduler } from './scheduler.ts';
import { verifySpecialTokens } from './special-tokens.ts';
import { conformanceRoots } from '../../../../tests/support/conformance.ts';
import { readSafetensors } from '../../../../tests/support/safetensors-lite.ts';

const dit = join(conformanceRoots().root, 'dit');
const readJson = (name: string): unknown => JSON.parse(readFileSync(join(dit, name), 'utf8'));

const failures = (results: readonly VerifyResult[]): string[] =>
  results.filter((r) => !r.pass).map((r) => `${r.what}: ${r.detail}`);

describe('scheduler.json', () => {
  const golden = readJson('scheduler.json') as {
    walk: Record<string, { steps: { forward: { kv_range_tokens: number[][] } }[] }>;
    init_t: Record<string, number[]>;
  };
  const results = verifyScheduler(golden);

  it('has every entry checked', () => {
    const count = (kind: string): number => results.filter((r) => r.what.startsWith(kind)).length;
    expect(count('init_t ')).toBe(Object.keys(golden.init_t).length);
    expect(count('walk ')).toBe(Object.keys(golden.walk).length);
    expect(count('walk ')).toBeGreaterThanOrEqual(24);
    expect(count('generate_sequences ')).toBeGreaterThan(0);
    expect(count('get_cfg_scale ')).toBeGreaterThan(0);
    expect(count('prefix_kvrange ')).toBeGreaterThan(0);
    expect(count('init_intervel ')).toBeGreaterThan(0);
  });

  it.each(results.map((r) => [r.what, r] as const))('%s', (_, result) => expect(result.detail).toBe('equal'));

  it('reports a wrong key range, a wrong time and an unknown section', () => {
    const wrong = structuredClone(golden);
    wrong.walk.t2v_5chunks_w4!.steps[9]!.forward.kv_range_tokens[1]![0]! += 96;
    wrong.init_t['8|8,16,16|sd3']![3]! += 1e-6;
    expect(failures(verifyScheduler(wrong)).map((line) => line.split(':')[0])).toEqual([
      'init_t 8|8,16,16|sd3',
      'walk t2v_5chunks_w4',
    ]);
    expect(verifyScheduler({ ...wrong, surprise: [] })).toMatchObject([
      { pass: false, detail: expect.stringContaining('surprise') as string },
    ]);
  });
});

describe('special_tokens.safetensors', () => {
  const tensors = readSafetensors(join(dit, 'special_tokens.safetensors'));
  const manifest = readJson('special_tokens.manifest.json') as {
    info: Record<string, { env: Record<string, string> }>;
  };
  const results = verifySpecialTokens(tensors, manifest);

  it('covers every case', () => expect(results).toHaveLength(Object.keys(manifest.info).length));

  it.each(results.map((r) => [r.what, r] as const))('%s', (_, result) => expect(result.detail).toBe('equal'));

  it('reports other switches and other values', () => {
    const wrong = structuredClone(manifest);
    wrong.info.case1!.env = { PAD_HQ: '1' };
    expect(failures(verifySpecialTokens(tensors, wrong))).toEqual([
      expect.stringContaining('special tokens case1: special_token_keys'),
    ]);
    const hq = tensors.get('token.HQ_TOKEN')!;
    const moved = new Map(tensors).set('token.HQ_TOKEN', {
      ...hq,
      data: (hq.data as Float32Array).map((v) => v + 1e-3),
    });
    expect(failures(verifySpecialTokens(moved, manifest))).toHaveLength(2);
  });
});
