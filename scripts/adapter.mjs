// Which WebGPU adapters this machine has for tests and benchmarks: real GPUs first, then the software ones, lavapipe
// (called llvmpipe) and SwiftShader. No adapter is assumed: each is opened in a child process before it counts.
import { existsSync, mkdirSync, readdirSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { capture, say } from './processes.mjs';

const PROBE = fileURLToPath(new URL('./probe-adapter.mjs', import.meta.url));
const TIMEOUT = 30_000;

/** Short names of the software adapters, as `adapter=NAME` takes them. */
export const LAVAPIPE = 'llvmpipe';
export const SWIFTSHADER = 'SwiftShader';

/** @typedef {{ name: string, description: string, software: boolean }} Adapter */

/** Driver manifests for the Vulkan loader: the system's, and SwiftShader, which comes inside Chromium. */
export function driverFiles() {
  const data = (process.env.XDG_DATA_DIRS ?? '/usr/local/share:/usr/share').split(':').filter((path) => path !== '');
  const folders = ['/etc/vulkan/icd.d', ...data.map((path) => join(path, 'vulkan', 'icd.d'))];
  const system = [...new Set(folders)].flatMap((folder) =>
    existsSync(folder)
      ? readdirSync(folder)
          .filter((name) => name.endsWith('.json'))
          .map((name) => join(folder, name))
      : [],
  );
  const browsers = ['/usr/lib/chromium', '/usr/lib/chromium-browser', '/usr/lib64/chromium', '/opt/google/chrome'];
  const swiftShader = browsers
    .map((folder) => join(folder, 'vk_swiftshader_icd.json'))
    .find((path) => existsSync(path));
  return [...system, ...(swiftShader === undefined ? [] : [swiftShader])];
}

/** Variables that the Vulkan loader needs; what the user has set stays. @returns {Record<string, string>} */
function loaderEnvironment() {
  /** @type {Record<string, string>} */
  const env = {};
  if (process.platform !== 'linux') return env;
  const { XDG_RUNTIME_DIR } = process.env;
  if (!driversChosen()) {
    const files = driverFiles();
    if (files.length > 0) env.VK_DRIVER_FILES = files.join(delimiter);
  }
  if (XDG_RUNTIME_DIR === undefined) {
    env.XDG_RUNTIME_DIR = join(tmpdir(), `magi1-run-${process.getuid?.() ?? ''}`);
    mkdirSync(env.XDG_RUNTIME_DIR, { recursive: true, mode: 0o700 });
  }
  return env;
}

/** @param {string} name */
const shortName = (name) => [LAVAPIPE, SWIFTSHADER].find((short) => name.includes(short)) ?? name;

/** @param {Adapter} adapter */
const rank = ({ name, software }) => (software ? (name === LAVAPIPE ? 1 : name === SWIFTSHADER ? 2 : 3) : 0);

/**
 * The adapters that work, best first, and the variables under which they do. Needs installed dependencies.
 * @returns {Promise<{ adapters: Adapter[], env: Record<string, string>, failures: string[] }>}
 */
export async function adapterEnvironment() {
  const env = loaderEnvironment();
  const options = { env: { ...process.env, ...env }, timeout: TIMEOUT };
  const listing = await capture(process.execPath, [PROBE], options);
  /** @type {string[]} */
  const names = listing.status === 0 ? JSON.parse(listing.stdout.trim().split('\n').at(-1) ?? '[]') : [];
  /** @type {Adapter[]} */
  const adapters = [];
  const failures =
    listing.status === 0 ? [] : [`listing adapters ended with status ${listing.status}: ${reason(listing.stderr)}`];
  for (const name of new Set(names.map(shortName))) {
    const probe = await capture(process.execPath, [PROBE, name], options);
    if (probe.status === 0) adapters.push({ name, ...JSON.parse(probe.stdout.trim().split('\n').at(-1) ?? '{}') });
    else failures.push(`${name} does not open (status ${probe.status}): ${reason(probe.stderr)}`);
  }
  adapters.sort((a, b) => rank(a) - rank(b));
  if (names.length === 0 && listing.stderr.trim() !== '')
    failures.push(`no adapter is offered: ${reason(listing.stderr)}`);
  // Without a GPU, the drivers of GPUs would only slow every process down.
  if (env.VK_DRIVER_FILES !== undefined && adapters.length > 0 && adapters.every(({ software }) => software)) {
    const needed = env.VK_DRIVER_FILES.split(delimiter).filter((file) =>
      /\/(lvp_icd|vk_swiftshader_icd)[^/]*$/.test(file),
    );
    if (needed.length > 0) env.VK_DRIVER_FILES = needed.join(delimiter);
  }
  if (adapters.length > 0) env.MAGI1_TEST_ADAPTERS = adapters.map(({ name }) => name).join(',');
  return { adapters, env, failures };
}

/** What a driver or Dawn said that may be a reason, on one line. @param {string} text */
function reason(text) {
  const lines = text.split('\n').filter((line) => /^\S/.test(line) && !line.includes('artificially reduced'));
  return [...new Set(lines)].join('; ').slice(0, 400);
}

/** Whether the user has chosen the Vulkan drivers. */
export const driversChosen = () =>
  process.env.VK_DRIVER_FILES !== undefined || process.env.VK_ICD_FILENAMES !== undefined;

/**
 * vitest's global setup, for runs that do not come through `npm test`: workers inherit what is set here.
 */
export async function setup() {
  if (process.env.MAGI1_NO_WEBGPU !== undefined || process.env.MAGI1_TEST_ADAPTERS !== undefined) return;
  const { env, failures } = await adapterEnvironment();
  Object.assign(process.env, env);
  for (const failure of failures) say(`WebGPU: ${failure}`);
}
