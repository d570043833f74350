// The stages of a rehearsal: the hub, the download, the plan, and the run from files to mp4.
import { fork } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, statfsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { CLI } from '../magi1.mjs';
import { Stop, say } from '../processes.mjs';
import { compareGenerate } from './against.mjs';
import { repositoryFiles } from './repository.mjs';
import { gib, seconds } from './table.mjs';

const PROMPT = 'a red circle moves to the right';
/** The prompt is cut to so many, and the plan is of so many. */
const TOKENS = 8;
/** The text encoder is published in 32 bits, what is quantised in what it takes. @param {string} bits */
const dtypeOf = (bits) => (bits === '16' ? { dtype: 'bf16' } : {});
const MEASURE = join(import.meta.dirname, 'measure.mjs');

/** @typedef {import('./meter.mjs').Taken & { peakDeviceBytes?: number }} Stage */

/**
 * One run of a model.
 * @typedef {object} Variant
 * @property {string} bits
 * @property {number} width
 * @property {number} height
 * @property {number} frames
 * @property {number} steps
 * @property {Record<string, string>} options of plan and generate, as on the command line
 */

/**
 * @typedef {object} Place
 * @property {import('./children.mjs').Children} children
 * @property {string} folder
 * @property {string} model
 * @property {number | undefined} layers
 */

/** Starts the hub. @param {Place} place @param {ReadonlyMap<string, { size: number }>} files */
async function startModelHub({ children, model, layers }, files) {
  const start = performance.now();
  const cut = layers === undefined ? [] : [String(layers)];
  const hub = children.add(fork(join(import.meta.dirname, 'hub.mjs'), [model, ...cut]));
  say('checksums of what the hub serves: about a minute the first time');
  const endpoint = await new Promise((done, fail) => {
    hub.once('message', (/** @type {{ endpoint: string }} */ message) => done(message.endpoint));
    hub.once('exit', () => fail(new Stop('the hub has ended')));
  });
  say(`the hub serves ${model} (${gib(bytesOf(files))}), after ${seconds((performance.now() - start) / 1000)}`);
  return { endpoint: /** @type {string} */ (endpoint), stop: () => void hub.kill() };
}

/**
 * Checks the disk, then brings the model in all the widths that are asked for. Without 16 bits among them it is quantised
 * while it is downloaded, and never on the disk in full; else out of what has been downloaded.
 * @param {Place} place @param {readonly string[]} widths
 * @returns {Promise<Record<string, Record<string, Stage>>>} what took what, by width
 */
export async function bringModel(place, widths) {
  const { folder, model, layers } = place;
  const { publishedConfig, PUBLISHED_MODELS } = await import('../../packages/magi1/dist/config/published.js');
  if (!PUBLISHED_MODELS.includes(model))
    throw new Stop(`--model: one of ${PUBLISHED_MODELS.join(', ')} expected, got "${model}"`);
  mkdirSync(folder, { recursive: true });
  const files = repositoryFiles(model, publishedConfig(model), { layers, crcOf: () => 0 });
  // The hub has the config of the whole model only: what is cut is quantised after it.
  const plain = checkpointOf(folder, '16');
  const inFull = layers !== undefined || widths.includes('16') || existsSync(join(plain, 'config.json'));
  requireRoom(folder, files, inFull ? [...new Set(['16', ...widths])] : widths);
  /** @type {Record<string, Record<string, Stage>>} */
  const taken = {};
  const hub = await startModelHub(place, files);
  const download = (/** @type {string} */ bits) =>
    measured(place, 'download', ['sand-ai/MAGI-1', '--model', model, '--local-dir', checkpointOf(folder, bits)], {
      env: { HF_ENDPOINT: hub.endpoint, HF_TOKEN: '' },
      more: bits === '16' ? [] : ['--bits', bits],
    });
  if (inFull) {
    taken['16'] = { download: await download('16') };
    if (layers !== undefined) cutConfig(join(plain, 'config.json'), layers);
  }
  for (const bits of widths.filter((each) => each !== '16')) {
    const narrow = checkpointOf(folder, bits);
    taken[bits] = existsSync(join(narrow, 'config.json'))
      ? {}
      : inFull
        ? { quantising: await measured(place, 'quantize', [plain, narrow, '--bits', bits]) }
        : { download: await download(bits) };
  }
  hub.stop();
  return taken;
}

/**
 * A command of the program, and what it took.
 * @param {Place} place @param {string} command @param {readonly string[]} args
 * @param {{ env?: NodeJS.ProcessEnv, more?: readonly string[] }} [options]
 * @returns {Promise<Stage>}
 */
async function measured({ children, folder }, command, args, { env = {}, more = [] } = {}) {
  const all = ['--import', MEASURE, CLI, command, ...args, ...more];
  await children.run(command, all, { env: { ...env, MAGI1_REHEARSAL_FACTS: factsOf(folder) } });
  return readFacts(folder);
}

/** @param {ReadonlyMap<string, { size: number }>} files */
const bytesOf = (files) => [...files.values()].reduce((sum, { size }) => sum + size, 0);

/** For the video, and for whoever else uses the disk. */
const SPARE = 2 ** 30;

/** Bits of an element and its share of a scale. */
const QUANTIZED = /** @type {Record<string, number>} */ ({ 8: 8.5, 4: 4.5 });

/** @param {string} folder @param {ReadonlyMap<string, { size: number }>} files @param {readonly string[]} widths */
function requireRoom(folder, files, widths) {
  const { bavail, bsize } = statfsSync(folder);
  let needed = SPARE;
  for (const bits of widths) {
    if (existsSync(join(checkpointOf(folder, bits), 'config.json'))) continue;
    for (const [path, { size }] of files) {
      const stored = path.startsWith('ckpt/magi/') ? 16 : 32;
      // An embedding table stays as it is.
      needed += bits === '16' ? size : 1.1 * size * (QUANTIZED[bits] / stored);
    }
  }
  if (needed > bavail * bsize)
    throw new Stop(
      `${folder}: ${gib(needed)} are needed, and the disk has ${gib(bavail * bsize)} left; choose another disk by --folder, or cut the model by --layers`,
    );
}

/** @param {string} folder @param {string} bits */
const checkpointOf = (folder, bits) => join(folder, `checkpoint-${bits}`);
/** @param {string} folder */
const factsOf = (folder) => join(folder, 'facts.json');
/** @param {string} folder */
const readFacts = (folder) => JSON.parse(readFileSync(factsOf(folder), 'utf8'));

/** @param {string} path @param {number} layers */
function cutConfig(path, layers) {
  const config = JSON.parse(readFileSync(path, 'utf8'));
  config.model_config.num_layers = Math.min(config.model_config.num_layers, layers);
  writeFileSync(path, JSON.stringify(config, null, 2));
}

/** @param {Record<string, string>} options */
const flags = (options) => Object.entries(options).flatMap(([name, value]) => [`--${name}`, value]);

/** @param {Variant} variant @returns {Record<string, string>} */
const sizesOf = ({ width, height, frames, steps }) => ({
  ...{ width: String(width), height: String(height), 'num-frames': String(frames), steps: String(steps) },
  'max-sequence-length': String(TOKENS),
});

/** Plans a run, does it, and says what both came to. @param {Place} place @param {Variant} variant */
export async function planAndRun({ children, folder, model, layers }, variant) {
  const { bits, width, height, frames, steps, options } = variant;
  const checkpoint = checkpointOf(folder, bits);
  const dtype = dtypeOf(bits);
  const planArgs = ['--model', checkpoint, ...flags({ ...sizesOf(variant), ...dtype, ...options }), '--json'];
  const plan = JSON.parse(await children.run('plan', [CLI, 'plan', ...planArgs], { statuses: [0, 3] }));
  const { offload, 'cache-dtype': cacheDType, ...device } = options;
  const task = {
    ...{ model: checkpoint, output: outputOf(folder), facts: factsOf(folder), device },
    options: { ...dtype, ...(offload !== undefined && { offload }) },
    request: {
      ...{ prompt: PROMPT, width, height, numFrames: frames, numInferenceSteps: steps, maxSequenceLength: TOKENS },
      ...(cacheDType !== undefined && { cacheDType }),
    },
  };
  await children.run('generate', [join(import.meta.dirname, 'generate.mjs'), JSON.stringify(task)]);
  const { stages, facts } = readFacts(folder);
  return { model, layers, ...variant, stages: /** @type {Record<string, Stage>} */ (stages), plan, facts };
}

/** @param {string} folder */
const outputOf = (folder) => join(folder, 'rehearsal.mp4');

/** `magi1 generate` of this build beside that of another one. @param {Place} place @param {Variant} variant @param {string} program */
export function compare({ children, folder }, variant, program) {
  const { bits, options } = variant;
  const common = flags({ prompt: PROMPT, output: outputOf(folder), ...sizesOf(variant) });
  const known = Object.entries(options).filter(([name]) => ['device', 'adapter', 'threads'].includes(name));
  return compareGenerate((what, args, env) => children.run(what, args, { env }), factsOf(folder), [
    {
      ...{ build: 'this build', program: CLI, checkpoint: checkpointOf(folder, bits) },
      args: [...common, ...flags({ ...dtypeOf(bits), ...options })],
    },
    {
      ...{ build: 'the other build, in bf16', program, checkpoint: checkpointOf(folder, '16') },
      args: [...common, ...flags({ dtype: 'bf16', ...Object.fromEntries(known) })],
    },
  ]);
}
