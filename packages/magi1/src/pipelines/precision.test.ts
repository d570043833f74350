// The islands of f32 that docs/precision.md names, against every op of a run: operands and results are f32, and nothing is
// rounded but what that document says.
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { MetaDevice, fromFloat32, isWeight, toFloat32 } from '@magi1/tensor';
import type { TensorSpec } from '@magi1/tensor';
import { beforeAll, describe, expect, it } from 'vitest';
import type { PublishedModel } from '../config/published.ts';
import { POCKET_MODEL } from '../pocket.ts';
import { modelShapes, plannedRun } from './inspect.ts';
import { plannedSize } from './memory.ts';
import { readModelFolder } from './model-files.ts';
import { Magi1Pipeline } from './pipeline.ts';
import { publishedFolder } from './plan.ts';
import { countWork } from './work.ts';
import type { OpWork } from './work.ts';

const ISLANDS = readFileSync(new URL('../../../../docs/precision.md', import.meta.url), 'utf8')
  .split('\n')
  .flatMap((row) => {
    const [, stage, island, op] = /^\| (text|encoding|denoising|decoding) +\| (.+?) +\| `(\w+)`/.exec(row) ?? [];
    return stage === undefined ? [] : [{ stage, island: island!, op: op! }];
  });

/** Operands that may be narrower: they are decoded exactly. */
const STORED = new Set(['weight', 'table', 'cachedK', 'cachedV']);

async function runOf(model: PublishedModel, cacheDType: 'bf16' | 'q8') {
  const folder = await readModelFolder(publishedFolder(model));
  const { shapes } = await modelShapes(folder, undefined);
  // Two tiles of the VAE.
  const request = { height: 320, width: 64, numFrames: 48, numInferenceSteps: 16, prefixFrames: 24, cacheDType };
  const run = plannedSize(plannedRun(folder, { mode: 'v2v', request }));
  const work = await countWork(shapes, run, new MetaDevice({ as: 'wasm' }));
  const { prefix, steps } = run.plan;
  const writes = (prefix?.keys.length ?? 0) + steps.filter(({ hasCleanChunk }) => hasCleanChunk).length;
  const layers = folder.config.model_config.num_layers;
  return { work: [...work.values()], rounded: 2 * layers * writes, layers };
}

const narrow = ({ largest: { inputs, y } }: OpWork): string[] => {
  const given = Object.entries(inputs).filter(([name]) => !STORED.has(name));
  const all: [string, TensorSpec][] = [...given, ['y', y]];
  return all.flatMap(([name, { dtype }]) => (isWeight(dtype) && dtype !== 'f32' ? [`${name} ${dtype}`] : []));
};

describe.each([
  ['4.5B_base', 'bf16'],
  ['4.5B_base', 'q8'],
] as const)('%s with a cache of %s', (model, cacheDType) => {
  let run: Awaited<ReturnType<typeof runOf>>;
  beforeAll(async () => {
    run = await runOf(model, cacheDType);
  });

  it('has the table', () => expect(ISLANDS.length).toBeGreaterThan(20));

  it.each(ISLANDS)('$stage: $island', ({ stage, op }) => {
    const calls = run.work.filter((work) => work.stage === stage && work.op.name === op);
    expect(calls.length).toBeGreaterThan(0);
    expect(calls.flatMap(narrow)).toEqual([]);
  });

  it('rounds what is cached and the latents of the clip, and nothing else', () => {
    const rounding = run.work.filter((work) => narrow(work).length > 0);
    const found = rounding.map(({ stage, op, calls }) => `${stage} ${op.name} ${calls}`);
    expect(found.sort()).toEqual([`denoising cast ${run.rounded}`, 'encoding cast 2']);
  });
});

it('an fp8 checkpoint also rounds the inputs of its quantised layers', async () => {
  const { work } = await runOf('4.5B_distill_quant', 'bf16');
  const kinds = new Set(work.filter((each) => narrow(each).length > 0).map(({ stage, op }) => `${stage} ${op.name}`));
  expect([...kinds].sort()).toEqual(['denoising cast', 'denoising quantize', 'encoding cast']);
});

it("latents of a picture or clip are rounded to the model's type", async () => {
  const dir = mkdtempSync(join(tmpdir(), 'magi1-precision-'));
  const config = JSON.parse(readFileSync(join(POCKET_MODEL, 'config.json'), 'utf8')) as {
    model_config: { params_dtype: string };
    runtime_config: Record<string, string>;
  };
  config.model_config.params_dtype = 'torch.bfloat16';
  for (const key of ['load', 't5_pretrained', 'vae_pretrained'])
    config.runtime_config[key] = join(POCKET_MODEL, config.runtime_config[key]!);
  writeFileSync(join(dir, 'config.json'), JSON.stringify(config));
  const frameCount = 4;
  const data = Uint8Array.from({ length: frameCount * 64 * 64 * 3 }, (_, i) => (i * 37) % 256);
  const encoded = async (model: string) => {
    const pipe = await Magi1Pipeline.fromPretrained(model, { device: { backend: 'wasm' } });
    const { values } = await pipe.encodeFrames({ data, frameCount, width: 64, height: 64 });
    await pipe.dispose();
    return values;
  };
  const [exact, rounded] = [await encoded(POCKET_MODEL), await encoded(dir)];
  expect(rounded).toEqual(toFloat32('bf16', fromFloat32('bf16', exact)));
  expect(rounded).not.toEqual(exact);
  rmSync(dir, { recursive: true });
});
