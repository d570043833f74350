// npm run -s eval: what the pocket model can do, column by column; goes on where an earlier run stopped.
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import {
  Device,
  Magi1Error,
  Magi1ImageToVideoPipeline,
  Magi1Pipeline,
  Magi1VideoToVideoPipeline,
  POCKET_MODEL,
} from '@magi1/core';
import { COLUMNS, fromPrompt, prompts } from './columns.ts';
import type { Column, Models, Values } from './columns.ts';
import { provenanceText, revision, watchRun } from '../benchmarks/provenance.ts';
import { ROOT } from '../benchmarks/root.ts';
import { differences, pairedLine } from './paired.ts';
import { judge, line, markdown, show } from './table.ts';
import type { ColumnResult, Goal } from './table.ts';

const USAGE = `npm run -s eval [-- options]
  --model DIR       a model of the pocket kind: config.json is the distilled one, config.base.json the base one;
                    default the pocket model
  --quick           40 clips of the distilled model only; exit status 1 if a goal is missed
  --device NAME     auto (default), webgpu, wasm or reference
  --column TEXT     only columns with this in their name
  --clips N         at most N clips of each column
  --dtype NAME      only what weights in q8 or q4 change: as stored and quantised, the same prompts and seeds, 960 clips each
  --cache-dtype NAME  the same of keys and values kept in f16, bf16 or q8; with --dtype, of both together
  --fresh           forget the clips that earlier runs have measured
Results are kept in evaluation/results, those of --quick too; a complete run writes docs/evaluation.md.`;

class UsageError extends Error {}

const GOALS: readonly Goal[] = [
  { column: 'distilled, 8 steps', value: 'colour', least: 0.98 },
  { column: 'distilled, 8 steps', value: 'shape', least: 0.9 },
  { column: 'distilled, 8 steps', value: 'direction', least: 0.9 },
  { column: 'VAE', value: 'PSNR', least: 30 },
  { column: '8 chunks', value: 'colour at last', least: 0.95 },
  { column: '8 chunks', value: 'shape at last', least: 0.9 },
];
const RESULTS = join(ROOT, 'evaluation', 'results');

async function main(): Promise<number> {
  const { values } = parseArgs({
    options: {
      model: { type: 'string' },
      quick: { type: 'boolean', default: false },
      device: { type: 'string', default: 'auto' },
      column: { type: 'string' },
      clips: { type: 'string' },
      dtype: { type: 'string' },
      'cache-dtype': { type: 'string' },
      fresh: { type: 'boolean', default: false },
      help: { type: 'boolean', default: false },
    },
  });
  if (values.help) {
    console.log(USAGE);
    return 0;
  }
  const most = values.clips === undefined ? Infinity : Number(values.clips);
  if (!(most >= 1)) throw new UsageError(`--clips: a number from 1 up expected, got ${values.clips}`);
  const model = values.model === undefined ? POCKET_MODEL : resolve(process.env['INIT_CWD'] ?? '.', values.model);
  const size = forgetOthers(model, values.fresh);
  if (values.dtype !== undefined || values['cache-dtype'] !== undefined)
    return compareTypes(model, values.device, values, Math.min(most, PAIRED_CLIPS));
  const provenance = watchRun();
  const device = await Device.open({ backend: values.device as 'auto' });
  const models = openModels(model, device);
  try {
    const chosen = COLUMNS.filter(
      ({ name, quick }) => (!values.quick || quick !== undefined) && name.includes(values.column ?? ''),
    );
    const results: ColumnResult[] = [];
    for (const column of chosen) {
      const count = Math.min(most, values.quick ? column.quick! : column.clips);
      const clips = await measure(column, count, models);
      results.push({ name: column.name, what: column.what, clips });
      console.log(line(results.at(-1)!));
    }
    const measured = new Set(results.map(({ name }) => name));
    console.log(`model: ${(size / 1e6).toFixed(2)} MB on disk`);
    const verdicts = judge(GOALS, results).filter(({ column }) => measured.has(column));
    for (const { column, value, least, reached, met } of verdicts)
      console.log(
        `${met ? 'met   ' : 'MISSED'}  ${column}, ${value}: ${show(value, reached ?? 0)}, goal ${show(value, least)}`,
      );
    if (!values.quick && values.column === undefined && most === Infinity) {
      const about = `The model takes ${(size / 1e6).toFixed(2)} MB on disk.\n\n${device.info.name}; ${provenanceText(provenance())}`;
      writeFileSync(join(ROOT, 'docs', 'evaluation.md'), markdown(results, verdicts, about));
      console.log('written: docs/evaluation.md');
    }
    return verdicts.every(({ met }) => met) ? 0 : 1;
  } finally {
    await models.dispose();
    await device.dispose();
  }
}

/** 240 prompts with four seeds each. */
const PAIRED_CLIPS = 960;

/** Clips as stored with keys and values in f32, then the same in other types. */
async function compareTypes(
  model: string,
  backend: string,
  { dtype, 'cache-dtype': cacheDType }: { dtype?: string | undefined; 'cache-dtype'?: string | undefined },
  count: number,
): Promise<number> {
  const kinds = [
    { name: 'paired as stored', options: {}, request: { cacheDType: 'f32' } },
    {
      name: `paired weights ${dtype ?? 'as stored'} cache ${cacheDType ?? 'f32'}`,
      options: dtype === undefined ? {} : { dtype },
      request: { cacheDType: cacheDType ?? 'f32' },
    },
  ];
  const [before, after] = [[] as Values[], [] as Values[]];
  for (const [i, { name, options, request }] of kinds.entries()) {
    const device = await Device.open({ backend: backend as 'auto' });
    // Unknown types are refused by the pipeline, in its own words.
    const pipe = await Magi1Pipeline.fromPretrained(model, { device, ...(options as { dtype: 'q8' }) });
    try {
      const run = (_: Models, index: number) => fromPrompt(pipe, index, request as { cacheDType: 'q8' });
      const clips = await measure({ name, what: '', clips: count, run }, count, NO_MODELS);
      [before, after][i]!.push(...clips);
    } finally {
      await pipe.dispose();
      await device.dispose();
    }
  }
  console.log(`${kinds[1]!.name}, ${count} clips: as stored with a cache of f32, so, and the difference`);
  for (const each of differences(before, after, prompts.length)) console.log(pairedLine(each));
  return 0;
}

/** A comparison opens its own. */
const NO_MODELS = {} as Models;

/** Clips of other weights, or of other code, say nothing of these. Returns the bytes of the model's files. */
function forgetOthers(model: string, fresh: boolean): number {
  let size = 0;
  const hash = createHash('sha256').update(revision());
  const files = existsSync(model) ? readdirSync(model, { recursive: true, encoding: 'utf8' }).sort() : [];
  for (const path of files.map((name) => join(model, name))) {
    if (!statSync(path).isFile() || path.endsWith('.md')) continue;
    const bytes = readFileSync(path);
    hash.update(bytes);
    size += bytes.length;
  }
  const mark = join(RESULTS, 'model.sha256');
  const print = hash.digest('hex');
  if (fresh || !existsSync(mark) || readFileSync(mark, 'utf8') !== print)
    rmSync(RESULTS, { recursive: true, force: true });
  mkdirSync(RESULTS, { recursive: true });
  writeFileSync(mark, print);
  return size;
}

/** One JSON line per clip, so that a run that is interrupted loses one clip at most. */
async function measure(column: Column, count: number, models: Models): Promise<Values[]> {
  const file = join(RESULTS, `${column.name.replace(/\W+/g, '-')}.jsonl`);
  const known = existsSync(file) ? readFileSync(file, 'utf8').trim().split('\n') : [];
  const clips = known.filter((text) => text !== '').map((text) => JSON.parse(text) as Values);
  const started = performance.now();
  for (let i = clips.length; i < count; i++) {
    const values = await column.run(models, i);
    clips.push(values);
    appendFileSync(file, `${JSON.stringify(values)}\n`);
    const seconds = ((performance.now() - started) / 1000).toFixed(0);
    process.stderr.write(`\r${column.name}: ${i + 1} of ${count} clips, ${seconds} s `);
  }
  process.stderr.write('\n');
  return clips.slice(0, count);
}

function openModels(model: string, device: Device): Models & { dispose(): Promise<void> } {
  const open: { dispose(): Promise<void> }[] = [];
  const once = <T extends { dispose(): Promise<void> }>(make: () => Promise<T>): (() => Promise<T>) => {
    let made: Promise<T> | undefined;
    return () =>
      (made ??= make().then((pipe) => {
        open.push(pipe);
        return pipe;
      }));
  };
  return {
    distilled: once(() => Magi1Pipeline.fromPretrained(model, { device })),
    alone: once(() => Magi1Pipeline.fromPretrained(model, { device: { backend: device.backend } })),
    base: once(() => Magi1Pipeline.fromConfigFile(join(model, 'config.base.json'), { device })),
    imageToVideo: once(() => Magi1ImageToVideoPipeline.fromPretrained(model, { device })),
    videoToVideo: once(() => Magi1VideoToVideoPipeline.fromPretrained(model, { device })),
    dispose: async () => {
      for (const pipe of open) await pipe.dispose();
    },
  };
}

try {
  process.exitCode = await main();
} catch (error) {
  if (!(error instanceof UsageError || error instanceof Magi1Error)) throw error;
  console.error(error.message);
  process.exitCode = 1;
}
