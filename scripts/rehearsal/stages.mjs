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
/** What `--bits` means where weights are changed while they are loaded. */
const DTYPES = /** @type {Record<string, string>} */ ({ 16: 'bf16', 8: 'q8', 4: 'q4' });
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

/** Checks the disk, then starts the hub. @param {Place} place @returns {Promise<{ endpoint: string, stop: () => void }>} */
export async function startModelHub({ children, folder, model, layers }) {
  const { publishedConfig, PUBLISHED_MODELS } = await import('../../packages/magi1/dist/config/published.js');
  if (!PUBLISHED_MODELS.includes(model))
    throw new Stop(`--model: one of ${PUBLISHED_MODELS.join(', ')} expected, got "${model}"`);
  mkdirSync(folder, { recursive: true });
  const files = repositoryFiles(model, publishedConfig(model), { layers, crcOf: () => 0 });
  requireRoom(folder, files);
  const start = performance.now();
  const cut = layers === undefined ? [] : [String(layers)];
  const hub = children.add(fork(join(import.meta.dirname, 'hub.mjs'), [model, ...cut]));
  say('checksums of what the hub serves: about a minute the first time');
  const endpoint = await new Promise((done, fail) => {
    hub.once('message', (/** @type {{ endpoint: string }} */ message) => done(message.endpoint));
    hub.once('exit', () => fail(new Stop('the hub has ended')));
  });
  say(`the hub serves ${model} (${gib(bytesOf(files))}), after ${seconds((performance.now() - start) / 1000)}`);
  return { endpoint, stop: () => void hub.kill() };
}

/** @param {ReadonlyMap<string, { size: number }>} files */
const bytesOf = (files) => [...files.values()].reduce((sum, { size }) => sum + size, 0);

/** For the video, and for whoever else uses the disk. */
const SPARE = 2 ** 30;

/** @param {string} folder @param {ReadonlyMap<string, { size: number }>} files */
function requireRoom(folder, files) {
  const { bavail, bsize } = statfsSync(folder);
  const there = existsSync(checkpointOf(folder)) ? bytesOf(files) : 0;
  const needed = bytesOf(files) + SPARE - there;
  if (needed > bavail * bsize)
    throw new Stop(
      `${folder}: ${gib(needed)} are needed, and the disk has ${gib(bavail * bsize)} left; choose another disk by --folder, or cut the model by --layers`,
    );
}

/** @param {string} folder */
const checkpointOf = (folder) => join(folder, 'checkpoint');
/** @param {string} folder */
const factsOf = (folder) => join(folder, 'facts.json');
/** @param {string} folder */
const readFacts = (folder) => JSON.parse(readFileSync(factsOf(folder), 'utf8'));

/** @param {Place} place @param {string} endpoint @returns {Promise<Stage>} */
export async function download({ children, folder, model, layers }, endpoint) {
  const checkpoint = checkpointOf(folder);
  const args = ['--import', MEASURE, CLI, 'download', 'sand-ai/MAGI-1', '--model', model, '--local-dir', checkpoint];
  const env = { HF_ENDPOINT: endpoint, HF_TOKEN: '', MAGI1_REHEARSAL_FACTS: factsOf(folder) };
  await children.run('download', args, { env });
  if (layers !== undefined) cutConfig(join(checkpoint, 'config.json'), layers);
  return readFacts(folder);
}

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
  const checkpoint = checkpointOf(folder);
  const dtype = DTYPES[bits];
  const planArgs = ['--model', checkpoint, ...flags({ ...sizesOf(variant), dtype, ...options }), '--json'];
  const plan = JSON.parse(await children.run('plan', [CLI, 'plan', ...planArgs], { statuses: [0, 3] }));
  const { offload, 'cache-dtype': cacheDType, ...device } = options;
  const task = {
    ...{ model: checkpoint, output: outputOf(folder), facts: factsOf(folder), device },
    options: { dtype, ...(offload !== undefined && { offload }) },
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
  return compareGenerate(
    (what, args, env) => children.run(what, args, { env }),
    checkpointOf(folder),
    factsOf(folder),
    [
      { build: 'this build', program: CLI, args: [...common, ...flags({ dtype: DTYPES[bits], ...options })] },
      {
        ...{ build: 'the other build, in bf16', program },
        args: [...common, ...flags({ dtype: 'bf16', ...Object.fromEntries(known) })],
      },
    ],
  );
}
