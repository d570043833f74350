// npm run rehearse -- --model 4.5B|24B [options]: a full-size checkpoint of random values from download to mp4.
import { fork, spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { prepare, CLI } from './magi1.mjs';
import { compareGenerate, programOf } from './rehearsal/against.mjs';
import { Stop, say } from './processes.mjs';
import { gib, seconds, tableOf } from './rehearsal/table.mjs';

const USAGE = `npm run rehearse -- --model 4.5B|24B [options]
Makes a checkpoint of true names, shapes, types and sizes with random values, serves it from a hub on this machine,
downloads it, runs it to an mp4, and prints what each stage took beside what magi1 plan says. It is removed afterwards.
  --model NAME        4.5B and 24B are 4.5B_distill and 24B_distill; or any published name
  --layers N          only so many blocks of transformer and text encoder
  --bits 16|8|4       of the weights; default 16
  --width, --height   pixels; default 64
  --num-frames N      default 24, one chunk
  --num-steps N       default 8
  --offload MODE, --cache-dtype DTYPE, --memory-budget BYTES, --device NAME, --adapter NAME, --threads N   as for magi1
  --folder DIR        where the checkpoint is put; what is there of it is not fetched again
  --against DIR       also run magi1 generate from cold files, here and in another built clone, and compare
  --keep              leave checkpoint and video
  --json              as JSON`;

const PROMPT = 'a red circle moves to the right';
/** The prompt is cut to so many, and the plan is of so many. */
const TOKENS = 8;
const NAMES = { '4.5B': '4.5B_distill', '24B': '24B_distill' };
/** Passed on as they are, to plan and generate. */
const PASSED = ['offload', 'cache-dtype', 'memory-budget', 'device', 'adapter', 'threads'];

/** @typedef {import('./rehearsal/meter.mjs').Taken & { peakDeviceBytes?: number }} Stage */

/** @param {readonly string[]} args */
export async function main(args) {
  const text = /** @type {const} */ ({ type: 'string' });
  let values;
  try {
    ({ values } = parseArgs({
      args: [...args],
      options: {
        ...{ model: text, layers: text, bits: text, folder: text, against: text },
        ...{ width: text, height: text, 'num-frames': text, 'num-steps': text },
        ...Object.fromEntries(PASSED.map((name) => [name, text])),
        ...{ keep: { type: 'boolean', default: false }, json: { type: 'boolean', default: false } },
        help: { type: 'boolean', default: false },
      },
    }));
  } catch (error) {
    throw new Stop(`${/** @type {Error} */ (error).message}\n${USAGE}`);
  }
  if (values.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  const wanted = readOptions(/** @type {Record<string, string | undefined>} */ (values));
  await prepare();
  const given = /** @type {string | undefined} */ (values.folder);
  // Of a folder that was named, only one of our own in it is removed.
  const own = ['rehearsal', wanted.model, ...(wanted.layers === undefined ? [] : [`${wanted.layers}-layers`])].join(
    '-',
  );
  const folder = given === undefined ? mkdtempSync(join(tmpdir(), 'magi1-rehearsal-')) : join(resolve(given), own);
  const children = new Children();
  const remove = () => {
    children.end();
    if (!values.keep) rmSync(folder, { recursive: true, force: true, maxRetries: 10 });
  };
  const stop = (/** @type {NodeJS.Signals} */ signal) => {
    remove();
    process.exit(signal === 'SIGINT' ? 130 : 143);
  };
  for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.on(signal, stop);
  try {
    const found = await rehearse(wanted, folder, children);
    process.stdout.write(values.json ? `${JSON.stringify(found, null, 2)}\n` : `${tableOf(found)}\n`);
    if (values.keep) say(`kept: ${folder}`);
    return 0;
  } finally {
    remove();
    for (const signal of /** @type {const} */ (['SIGINT', 'SIGTERM', 'SIGHUP'])) process.off(signal, stop);
  }
}

/** @param {Record<string, string | undefined>} values */
function readOptions(values) {
  const whole = (/** @type {string} */ name, /** @type {number | undefined} */ other) => {
    const given = values[name];
    if (given === undefined) return other;
    if (!/^[1-9]\d*$/.test(given)) throw new Stop(`--${name}: a whole number from 1 expected, got "${given}"`);
    return Number(given);
  };
  if (values.model === undefined) throw new Stop(`--model is missing\n${USAGE}`);
  const { bits = '16' } = values;
  if (!['16', '8', '4'].includes(bits)) throw new Stop(`--bits: 16, 8 or 4 expected, got "${bits}"`);
  return {
    model: Object.hasOwn(NAMES, values.model) ? NAMES[/** @type {keyof NAMES} */ (values.model)] : values.model,
    bits: Number(bits),
    layers: whole('layers', undefined),
    width: /** @type {number} */ (whole('width', 64)),
    height: /** @type {number} */ (whole('height', 64)),
    frames: /** @type {number} */ (whole('num-frames', 24)),
    steps: /** @type {number} */ (whole('num-steps', 8)),
    against: values.against === undefined ? undefined : programOf(resolve(values.against)),
    passed: PASSED.filter((name) => values[name] !== undefined).flatMap((name) => [`--${name}`, String(values[name])]),
    values,
  };
}

/** Child processes that end when this one does. */
class Children {
  /** @type {Set<import('node:child_process').ChildProcess>} */
  #running = new Set();

  /** @template {import('node:child_process').ChildProcess} Child @param {Child} child */
  add(child) {
    this.#running.add(child);
    child.once('exit', () => this.#running.delete(child));
    return child;
  }

  end() {
    for (const child of this.#running) child.kill('SIGKILL');
  }

  /**
   * Runs a program of Node to its end. @param {string} what for messages
   * @param {readonly string[]} args @param {NodeJS.ProcessEnv} [env]
   * @returns {Promise<string>} what it has printed
   */
  async run(what, args, env = {}) {
    const options = { env: { ...process.env, ...env } };
    const child = this.add(spawn(process.execPath, [...args], { ...options, stdio: ['ignore', 'pipe', 'inherit'] }));
    let printed = '';
    child.stdout.setEncoding('utf8').on('data', (/** @type {string} */ piece) => (printed += piece));
    const status = await new Promise((done, fail) => {
      child.once('error', fail);
      child.once('close', (code, signal) => done(code ?? signal));
    });
    if (status !== 0 && !(what === 'plan' && status === 3)) throw new Stop(`${what} ended with status ${status}`);
    return printed;
  }
}

/** @param {ReturnType<typeof readOptions>} wanted @param {string} folder @param {Children} children */
async function rehearse(wanted, folder, children) {
  const { model, layers, bits, width, height, frames, steps, against, passed } = wanted;
  const { publishedConfig, PUBLISHED_MODELS } = await import('../packages/magi1/dist/config/published.js');
  const { repositoryFiles } = await import('./rehearsal/repository.mjs');
  if (!PUBLISHED_MODELS.includes(model))
    throw new Stop(`--model: one of ${PUBLISHED_MODELS.join(', ')} expected, got "${model}"`);
  mkdirSync(folder, { recursive: true });
  const files = repositoryFiles(model, publishedConfig(model), { layers, crcOf: () => 0 });
  requireRoom(folder, files);
  /** @type {Record<string, Stage>} */
  const stages = {};

  const start = performance.now();
  const hub = children.add(
    fork(join(import.meta.dirname, 'rehearsal', 'hub.mjs'), [model, ...(layers === undefined ? [] : [String(layers)])]),
  );
  say('checksums of what the hub serves: about a minute the first time');
  const endpoint = await new Promise((done, fail) => {
    hub.once('message', (/** @type {{ endpoint: string }} */ message) => done(message.endpoint));
    hub.once('exit', () => fail(new Stop('the hub has ended')));
  });
  say(`the hub serves ${model} (${gib(bytesOf(files))}), after ${seconds((performance.now() - start) / 1000)}`);

  const checkpoint = join(folder, 'checkpoint');
  const facts = join(folder, 'facts.json');
  const measured = (/** @type {string[]} */ ...args) => [
    '--import',
    join(import.meta.dirname, 'rehearsal', 'measure.mjs'),
    ...args,
  ];
  const env = { HF_ENDPOINT: endpoint, HF_TOKEN: '', MAGI1_REHEARSAL_FACTS: facts };
  const download = ['download', 'sand-ai/MAGI-1', '--model', model, '--local-dir', checkpoint];
  await children.run('download', measured(CLI, ...download), env);
  stages.download = JSON.parse(readFileSync(facts, 'utf8'));
  hub.kill();
  if (layers !== undefined) cutConfig(join(checkpoint, 'config.json'), layers);

  const sizes = { width, height, 'num-frames': frames, steps, 'max-sequence-length': TOKENS };
  const size = Object.entries(sizes).flatMap(([name, value]) => [`--${name}`, String(value)]);
  const weights = ['--dtype', /** @type {Record<number, string>} */ ({ 16: 'bf16', 8: 'q8', 4: 'q4' })[bits]];
  const plan = JSON.parse(
    await children.run('plan', [CLI, 'plan', '--model', checkpoint, ...size, ...weights, ...passed, '--json']),
  );
  const output = join(folder, 'rehearsal.mp4');
  const { values } = wanted;
  const task = {
    ...{ model: checkpoint, output, facts },
    device: Object.fromEntries(['device', 'adapter', 'threads', 'memory-budget'].map((name) => [name, values[name]])),
    options: { dtype: weights[1], ...(values.offload && { offload: values.offload }) },
    request: {
      ...{ prompt: PROMPT, width, height, numFrames: frames, numInferenceSteps: steps, maxSequenceLength: TOKENS },
      ...(values['cache-dtype'] && { cacheDType: values['cache-dtype'] }),
    },
  };
  await children.run('generate', [join(import.meta.dirname, 'rehearsal', 'generate.mjs'), JSON.stringify(task)]);
  const made = JSON.parse(readFileSync(facts, 'utf8'));
  Object.assign(stages, made.stages);
  const common = ['--prompt', PROMPT, '--output', output, ...size];
  const device = ['device', 'adapter', 'threads'].filter((name) => values[name] !== undefined);
  const compared =
    against &&
    (await compareGenerate((what, args, more) => children.run(what, args, more), checkpoint, facts, [
      { build: 'this build', program: CLI, args: [...common, ...weights, ...passed] },
      {
        ...{ build: 'the other build, in bf16', program: against },
        args: [...common, '--dtype', 'bf16', ...device.flatMap((name) => [`--${name}`, String(values[name])])],
      },
    ]));
  return {
    ...{ model, layers, bits, width, height, frames: made.frames, steps, passed },
    stages,
    plan,
    facts: made.facts,
    compared,
  };
}

/** @param {ReadonlyMap<string, { size: number }>} files */
const bytesOf = (files) => [...files.values()].reduce((sum, { size }) => sum + size, 0);

/** @param {string} folder @param {ReadonlyMap<string, { size: number }>} files */
function requireRoom(folder, files) {
  const { bavail, bsize } = statfsSync(folder);
  const there = existsSync(join(folder, 'checkpoint')) ? bytesOf(files) : 0;
  const needed = bytesOf(files) + SPARE - there;
  if (needed > bavail * bsize)
    throw new Stop(
      `${folder}: ${gib(needed)} are needed, and the disk has ${gib(bavail * bsize)} left; choose another disk by --folder, or cut the model by --layers`,
    );
}

/** For the video, and for whoever else uses the disk. */
const SPARE = 2 ** 30;

/** @param {string} path @param {number} layers */
function cutConfig(path, layers) {
  const config = JSON.parse(readFileSync(path, 'utf8'));
  config.model_config.num_layers = Math.min(config.model_config.num_layers, layers);
  writeFileSync(path, JSON.stringify(config, null, 2));
}
