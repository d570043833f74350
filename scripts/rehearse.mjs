// npm run rehearse -- --model 4.5B|24B [options]: a full-size checkpoint of random values from download to mp4.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { prepare } from './magi1.mjs';
import { Stop, say } from './processes.mjs';
import { programOf } from './rehearsal/against.mjs';
import { Children } from './rehearsal/children.mjs';
import { comparison, overview, tableOf } from './rehearsal/table.mjs';

const USAGE = `npm run rehearse -- --model 4.5B|24B [options]
Makes a checkpoint of true names, shapes, types and sizes with random values, serves it from a hub on this machine,
downloads it, runs it to an mp4, and prints what each stage took beside what magi1 plan says. It is removed afterwards.
  --model NAME        4.5B and 24B are 4.5B_distill and 24B_distill; or any published name
  --layers N          only so many blocks of transformer and text encoder
  --bits LIST         16 (default), 8 or 4 of the weights
  --width, --height LIST   pixels; default 64
  --num-frames N      default 24, one chunk
  --num-steps N       default 8
  --offload, --cache-dtype LIST   as for magi1
  --memory-budget BYTES, --device NAME, --adapter NAME, --threads N   as for magi1
  --folder DIR        where the checkpoint is put; what is there of it is not fetched again
  --against DIR       also run magi1 generate from cold files, here and in another built clone, and compare
  --keep              leave checkpoint and video
  --json              as JSON
LIST: several, as in --bits 16,8,4, are run one after the other, each with each.`;

const NAMES = { '4.5B': '4.5B_distill', '24B': '24B_distill' };
/** Of which there may be several. */
const LISTS = ['bits', 'width', 'height', 'offload', 'cache-dtype'];
/** Passed on as they are, to plan and generate. */
const PASSED = ['memory-budget', 'device', 'adapter', 'threads'];
const SIGNALS = /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP']);

/** @param {readonly string[]} args */
export async function main(args) {
  const values = readArgs(args);
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const { model, layers, variants, against } = readOptions(values);
  await prepare();
  // Of a folder that was named, only one of our own in it is removed.
  const own = ['rehearsal', model, ...(layers === undefined ? [] : [`${layers}-layers`])].join('-');
  const folder =
    values.folder === undefined ? mkdtempSync(join(tmpdir(), 'magi1-rehearsal-')) : join(resolve(values.folder), own);
  const children = new Children();
  const remove = () => {
    children.end();
    if (!values.keep) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  const stop = (/** @type {NodeJS.Signals} */ signal) => {
    remove();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  for (const signal of SIGNALS) process.on(signal, stop);
  try {
    const { bringModel, compare, planAndRun } = await import('./rehearsal/stages.mjs');
    const place = { children, folder, model, layers };
    const brought = await bringModel(place, [
      ...new Set([...(against ? ['16'] : []), ...variants.map(({ bits }) => bits)]),
    ]);
    const runs = [];
    const print = (/** @type {string} */ text) => void (values.json || process.stdout.write(`${text}\n\n`));
    for (const variant of variants) {
      const run = await planAndRun(place, variant);
      run.stages = { ...brought[variant.bits], ...run.stages };
      print(tableOf(run));
      const compared = against && (await compare(place, variant, against));
      if (compared) print(comparison(compared, run.plan.time?.flops));
      runs.push({ ...run, compared });
    }
    if (runs.length > 1) print(overview(runs));
    if (values.json) process.stdout.write(`${JSON.stringify(runs, null, 2)}\n`);
    if (values.keep) say(`kept: ${folder}`);
    return 0;
  } finally {
    remove();
    for (const signal of SIGNALS) process.off(signal, stop);
  }
}

/** @typedef {Record<string, string | undefined> & { help: boolean, keep: boolean, json: boolean }} Values */

/** @param {readonly string[]} args @returns {Values} */
function readArgs(args) {
  const texts = ['model', 'layers', 'num-frames', 'num-steps', 'folder', 'against', ...LISTS, ...PASSED];
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        ...Object.fromEntries(texts.map((name) => [name, { type: /** @type {const} */ ('string') }])),
        ...Object.fromEntries(['help', 'keep', 'json'].map((name) => [name, { type: 'boolean', default: false }])),
      },
    });
    return /** @type {any} */ (values);
  } catch (error) {
    throw new Stop(`${/** @type {Error} */ (error).message}\n${USAGE}`);
  }
}

/** @param {Values} values */
function readOptions(values) {
  const { model, against } = values;
  if (model === undefined) throw new Stop(`--model is missing\n${USAGE}`);
  const whole = (/** @type {string} */ name, /** @type {string | undefined} */ given) => {
    if (given === undefined || !/^[1-9]\d*$/.test(given))
      throw new Stop(`--${name}: a whole number from 1 expected, got "${given}"`);
    return Number(given);
  };
  const list = (/** @type {string} */ name, /** @type {string | undefined} */ other) =>
    (values[name]?.split(',') ?? [other]).map((each) => each?.trim());
  const passed = /** @type {Record<string, string>} */ (
    Object.fromEntries(PASSED.filter((name) => values[name] !== undefined).map((name) => [name, values[name]]))
  );
  const frames = whole('num-frames', values['num-frames'] ?? '24');
  const steps = whole('num-steps', values['num-steps'] ?? '8');
  const sizes =
    values.height === undefined
      ? list('width', '64').map((width) => [width, width])
      : list('width', '64').flatMap((width) => list('height', undefined).map((height) => [width, height]));
  const variants = [];
  for (const bits of list('bits', '16')) {
    if (!['16', '8', '4'].includes(String(bits))) throw new Stop(`--bits: 16, 8 or 4 expected, got "${bits}"`);
    for (const [width, height] of sizes)
      for (const offload of list('offload', undefined))
        for (const cacheDType of list('cache-dtype', undefined))
          variants.push({
            ...{ bits: String(bits), width: whole('width', width), height: whole('height', height), frames, steps },
            options: {
              ...passed,
              ...(offload !== undefined && { offload }),
              ...(cacheDType !== undefined && { 'cache-dtype': cacheDType }),
            },
          });
  }
  return {
    model: Object.hasOwn(NAMES, model) ? NAMES[/** @type {keyof NAMES} */ (model)] : model,
    layers: values.layers === undefined ? undefined : whole('layers', values.layers),
    against: against === undefined ? undefined : programOf(resolve(against)),
    variants,
  };
}
