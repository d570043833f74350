// Makes a clone ready to run: dependencies and compiled packages. Silent and quick when there is nothing to do, and safe
// when two commands start at once. Stamps live in .cache/, which git ignores.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { bundle } from './bundle.mjs';
import { foreground, ROOT, say, Stop } from './processes.mjs';

export const CACHE = join(ROOT, '.cache');
const PNPM = 'pnpm@10.34.9';
const OLDEST_NODE = [20, 19];

export function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [wantMajor = 0, wantMinor = 0] = OLDEST_NODE;
  if (major < wantMajor || (major === wantMajor && minor < wantMinor)) {
    throw new Stop(`Node ${OLDEST_NODE.join('.')} or newer is needed; this is ${process.versions.node}.`);
  }
}

/**
 * Files below `folder`, without what is generated or downloaded.
 * @param {string} folder
 * @returns {string[]}
 */
export function filesBelow(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    if (['node_modules', 'dist', 'fixtures', 'peers', '.cache', '.git', 'out'].includes(entry.name)) return [];
    const path = join(folder, entry.name);
    return entry.isDirectory() ? filesBelow(path) : entry.isFile() ? [path] : [];
  });
}

/**
 * One hash over files: by their contents, or by size and time of change, which is quicker.
 * @param {readonly string[]} files
 * @param {'contents' | 'times'} by
 */
export function fingerprint(files, by) {
  const hash = createHash('sha256').update(`${process.version} ${process.platform} ${process.arch}\n`);
  for (const file of [...files].sort()) {
    hash.update(`${relative(ROOT, file)}\n`);
    if (by === 'contents') hash.update(readFileSync(file));
    else {
      const { size, mtimeMs } = statSync(file);
      hash.update(`${size} ${mtimeMs}\n`);
    }
  }
  return hash.digest('hex');
}

/** @param {string} name */
function readStamp(name) {
  try {
    return readFileSync(join(CACHE, `${name}.stamp`), 'utf8');
  } catch {
    return undefined;
  }
}

/** Renamed into place, so that a stamp is whole or absent. @param {string} name @param {string} value */
function writeStamp(name, value) {
  mkdirSync(CACHE, { recursive: true });
  const temporary = join(CACHE, `${name}.${process.pid}.tmp`);
  writeFileSync(temporary, value);
  renameSync(temporary, join(CACHE, `${name}.stamp`));
}

/**
 * Does `work` unless it was done for the same fingerprint before. `work` says whether it succeeded.
 * @param {string} name
 * @param {string} print
 * @param {() => Promise<boolean>} work
 * @returns {Promise<'done' | 'unchanged' | 'failed'>}
 */
export async function once(name, print, work) {
  if (readStamp(name) === print) return 'unchanged';
  if (!(await work())) return 'failed';
  writeStamp(name, print);
  return 'done';
}

/** @param {number} pid */
function alive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'EPERM';
  }
}

/**
 * Runs `work` while no other command of this clone does. A lock whose owner is gone is taken over.
 * @template T
 * @param {() => Promise<T>} work
 * @returns {Promise<T>}
 */
export async function alone(work) {
  mkdirSync(CACHE, { recursive: true });
  const lock = join(CACHE, 'setup.lock');
  for (let told = false; ; await sleep(200)) {
    try {
      writeFileSync(lock, String(process.pid), { flag: 'wx' });
      break;
    } catch (error) {
      if (/** @type {NodeJS.ErrnoException} */ (error).code !== 'EEXIST') throw error;
    }
    let owner = 0;
    let age = 0;
    try {
      owner = Number(readFileSync(lock, 'utf8'));
      age = Date.now() - statSync(lock).mtimeMs;
    } catch {
      continue; // released in between
    }
    // An empty lock is one that is being written this moment.
    if (owner > 0 ? !alive(owner) : age > 5000) rmSync(lock, { force: true });
    else if (!told) {
      say(`Waiting for process ${owner}, which is setting up this clone (${relative(ROOT, lock)}).`);
      told = true;
    }
  }
  try {
    return await work();
  } finally {
    rmSync(lock, { force: true });
  }
}

function manifests() {
  const packages = readdirSync(join(ROOT, 'packages')).map((name) => join(ROOT, 'packages', name, 'package.json'));
  const root = ['package.json', 'pnpm-lock.yaml', 'pnpm-workspace.yaml'].map((name) => join(ROOT, name));
  return [...root, ...packages.filter((path) => existsSync(path))];
}

/** Changes when another installation is needed; the stamp of one that is done. */
export const installPrint = () => fingerprint(manifests(), 'contents');

/** Installs what the lockfile names, unless that is there already. */
export async function ensureInstalled() {
  checkNode();
  const print = installPrint();
  const present = () => readStamp('install') === print && existsSync(join(ROOT, 'node_modules', '.modules.yaml'));
  if (present()) return;
  await alone(async () => {
    if (present()) return;
    say(`Installing dependencies (${PNPM}, frozen lockfile) ...`);
    // CI=true: no questions. A silent npm would hand its silence on, and the reason of a failure with it.
    const env = { ...process.env, CI: 'true' };
    delete env.npm_config_loglevel;
    const status = await foreground('npx', ['-y', PNPM, 'install', '--frozen-lockfile', '--reporter=append-only'], {
      env,
      toStderr: true,
      shell: process.platform === 'win32',
    });
    if (status !== 0) {
      throw new Stop(
        `Installing failed (status ${status}; the reason is above). If a package could not be fetched: npm must reach its\n` +
          'registry once; `npm ping` tests that, `npm config get registry` and `npm config get proxy` show where it looks.',
      );
    }
    writeStamp('install', print);
  });
}

/**
 * Compiles a TypeScript project and what it refers to, and bundles the command line, unless no source changed.
 * @param {string} project e.g. `packages/magi1`, or `.` for all
 */
export async function ensureBuilt(project) {
  const everything = ['packages', 'examples', 'benchmarks', 'evaluation', 'tests'];
  const folders = ['.', 'benchmarks', 'evaluation'].includes(project) ? everything : ['packages'];
  const sources = folders
    .flatMap((folder) => filesBelow(join(ROOT, folder)))
    .filter((file) => /(\.ts|tsconfig[^/\\]*\.json|package\.json)$/.test(file));
  const configs = ['tsconfig.json', 'tsconfig.base.json', 'pnpm-lock.yaml', 'scripts/bundle.mjs'].map((name) =>
    join(ROOT, name),
  );
  const name = `build-${project.replace(/\W/g, '_')}`;
  const print = fingerprint([...sources, ...configs], 'times');
  const entry = join(ROOT, 'packages', 'magi1', 'dist', 'index.js');
  if (readStamp(name) === print && existsSync(entry)) return;
  await alone(async () => {
    if (readStamp(name) === print && existsSync(entry)) return;
    say('Building ...');
    const tsc = join(ROOT, 'node_modules', 'typescript', 'bin', 'tsc');
    const status = await foreground(process.execPath, [tsc, '-b', project], { toStderr: true });
    if (status !== 0) throw new Stop('Building failed; the compiler says why above.');
    try {
      await bundle();
    } catch (error) {
      // No binary of the bundler for this platform, say. The program is the same without.
      say(`The command line will start more slowly, as it is not bundled: ${/** @type {Error} */ (error).message}`);
    }
    writeStamp(name, print);
  });
}
