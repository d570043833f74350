// Trials of what makes and fetches models: kills at random moments and disks of many sizes. After each the same command is
// run again: it must give the result of a run that was left alone, and never anything broken under a final name.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, statSync } from 'node:fs';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { ROOT } from '../processes.mjs';
import { noCounts } from './judge.mjs';

/** @typedef {import('./writers.mjs').Row} Row */
/** @typedef {(line: string) => void} Log */
/** @typedef {{ status: number | null, stderr: string, seconds: number }} Ended */
/** @typedef {{ name: string, args: (folder: string, hub: string) => readonly string[], made: (folder: string) => string }} Work */

const PROGRAM = join(ROOT, 'packages', 'magi1', 'bin', 'magi1.js');
const POCKET = join(ROOT, 'packages', 'magi1', 'pocket');
const COMMIT = 'c0ffee'.padEnd(40, '1');
const DOWNLOADED = join('hub', 'ckpt');

/** The command line where it can do it; `download --bits` with the pocket model in place of a published one of gigabytes. */
const WORKS = /** @type {readonly Work[]} */ ([
  {
    name: 'quantize',
    args: (folder) => [PROGRAM, 'quantize', join(folder, 'model'), join(folder, 'new'), '--bits', '4'],
    made: (folder) => join(folder, 'new'),
  },
  {
    name: 'download',
    args: (folder) => [
      ...[PROGRAM, 'download', 'sand-ai/MAGI-1', '--model', '4.5B_distill'],
      ...['--local-dir', join(folder, 'hub')],
    ],
    made: (folder) => join(folder, DOWNLOADED),
  },
  {
    name: 'download --bits',
    args: (folder, hub) => [join(import.meta.dirname, 'quantized-download.mjs'), hub, join(folder, 'new')],
    made: (folder) => join(folder, 'new'),
  },
]);

/** @param {string} folder */
function fingerprint(folder) {
  if (!existsSync(folder)) return '';
  const hash = createHash('sha256');
  for (const path of readdirSync(folder, { recursive: true, encoding: 'utf8' }).sort())
    if (statSync(join(folder, path)).isFile()) hash.update(path).update(readFileSync(join(folder, path)));
  return hash.digest('hex');
}

/** @param {readonly string[]} args @param {NodeJS.ProcessEnv} env @param {(child: import('node:child_process').ChildProcess) => void} [onStart] @returns {Promise<Ended>} */
function run(args, env, onStart) {
  const start = performance.now();
  const child = spawn(process.execPath, args, { env: { ...process.env, ...env }, stdio: ['ignore', 'ignore', 'pipe'] });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (/** @type {string} */ text) => (stderr += text));
  onStart?.(child);
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (status) => resolve({ status, stderr, seconds: (performance.now() - start) / 1000 }));
  });
}

/** The pocket model's weights several times over as a repository: a run takes some seconds. @returns {Map<string, Buffer>} */
function repository() {
  const read = (/** @type {string} */ path) => readFileSync(join(POCKET, path));
  const t5 = 'ckpt/t5/t5-v1_1-xxl';
  return new Map([
    [
      'ckpt/magi/4.5B_distill/inference_weight.distill/model.safetensors',
      read('magi/inference_weight.distill/model.safetensors'),
    ],
    ...['config.json', 'model.safetensors', 'spiece.model'].map(
      (name) => /** @type {[string, Buffer]} */ ([`${t5}/${name}`, read(`t5/t5-v1_1-xxl/${name}`)]),
    ),
    ['ckpt/vae/config.json', read('vae/config.json')],
    ['ckpt/vae/diffusion_pytorch_model.safetensors', read('vae/diffusion_pytorch_model.safetensors')],
  ]);
}

/** A hub that gives its files at some pace. @param {ReadonlyMap<string, Buffer>} files @param {number} bytesPerSecond */
async function startHub(files, bytesPerSecond) {
  const sum = (/** @type {Buffer} */ bytes) => createHash('sha256').update(bytes).digest('hex');
  const server = createServer((request, response) => {
    const path = decodeURIComponent(new URL(/** @type {string} */ (request.url), 'http://hub').pathname);
    const json = (/** @type {unknown} */ value) => response.end(JSON.stringify(value));
    if (path.includes('/revision/')) return void json({ sha: COMMIT });
    if (path.includes('/tree/'))
      return void json(
        [...files].map(([path, bytes]) => ({
          ...{ type: 'file', path, size: bytes.length, oid: '0'.repeat(40) },
          lfs: { oid: sum(bytes), size: bytes.length },
        })),
      );
    const bytes = files.get(path.replace(/^.*\/resolve\/[^/]+\//, ''));
    if (bytes === undefined) return void response.writeHead(404).end();
    const range = /^bytes=(\d+)-(\d*)$/.exec(request.headers.range ?? '');
    const [from, to] = [Number(range?.[1] ?? 0), Number(range?.[2] || bytes.length - 1)];
    response.writeHead(206, { 'content-range': `bytes ${from}-${to}/${bytes.length}` });
    const body = bytes.subarray(from, to + 1);
    let at = 0;
    const timer = setInterval(() => {
      const end = at + bytesPerSecond / 50;
      response.write(body.subarray(at, end));
      at = end;
      if (at < body.length && !response.destroyed) return;
      clearInterval(timer);
      response.end();
    }, 20);
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', () => done(undefined)));
  const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
  return { endpoint: `http://127.0.0.1:${port}`, close: () => (server.closeAllConnections(), server.close()) };
}

/** @template T @param {(folder: string) => Promise<T>} use */
async function inFolder(use) {
  const folder = mkdtempSync(join(tmpdir(), 'magi1-trial-'));
  try {
    return await use(folder);
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A model of which a run takes some seconds: the pocket model, whose matrices lie in it as they are. @param {string} folder */
function putModel(folder) {
  execFileSync('cp', ['-rp', POCKET, join(folder, 'model')]);
}

/**
 * What lies under the final name after a run that ended early: all of it, or nothing; of downloads, whole files.
 * @param {Work} work @param {string} folder @param {string} expected @param {ReadonlyMap<string, Buffer>} files
 */
function brokenUnderName(work, folder, expected, files) {
  const made = work.made(folder);
  if (!existsSync(made)) return [];
  if (work.name !== 'download') return fingerprint(made) === expected ? [] : ['wrong: a broken model under its name'];
  return readdirSync(made, { recursive: true, encoding: 'utf8' })
    .filter((path) => statSync(join(made, path)).isFile())
    .filter((path) => files.get(`ckpt/${path.replaceAll('\\', '/')}`)?.equals(readFileSync(join(made, path))) !== true)
    .map((path) => `wrong: ${path} is not whole`);
}

/** @param {Log} log @param {number} tries @param {number} seed @returns {Promise<Row[]>} */
export async function modelTrials(log, tries, seed) {
  const rows = [];
  const files = repository();
  const hub = await startHub(files, 6e6);
  let state = seed >>> 0;
  const draw = () => (state = (Math.imul(state, 1664525) + 1013904223) >>> 0) / 2 ** 32;
  try {
    for (const work of WORKS) {
      const row = { name: `kill -9 and again, ${work.name}`, tries, ...noCounts() };
      await inFolder(async (folder) => {
        putModel(folder);
        const env = { HF_ENDPOINT: hub.endpoint, HF_HOME: join(folder, 'home'), HF_TOKEN: '' };
        const alone = await run(work.args(folder, hub.endpoint), env);
        if (alone.status !== 0) throw new Error(`${work.name}: a run that is left alone fails: ${alone.stderr}`);
        const expected = fingerprint(work.made(folder));
        const parts = [work.made(folder), join(folder, 'new.unfinished'), join(folder, 'hub')];
        for (let i = 0; i < tries; i++) {
          for (const part of parts) rmSync(part, { recursive: true, force: true });
          const faults = [];
          // One to three kills, then a run that is left alone.
          for (let kills = 1 + Math.floor(3 * draw()); kills > 0; kills--) {
            const at = (0.25 + 0.8 * draw()) * alone.seconds; // it takes a while to start
            const ended = await run(
              work.args(folder, hub.endpoint),
              env,
              (child) => void setTimeout(() => child.kill('SIGKILL'), at * 1000).unref(),
            );
            if (ended.status !== null && ended.status !== 0) faults.push(`wrong: ${ended.stderr.trim()}`);
            faults.push(...brokenUnderName(work, folder, expected, files));
          }
          const again = await run(work.args(folder, hub.endpoint), env);
          if (again.status !== 0) faults.push(`lost: the next run fails: ${again.stderr.trim().split('\n').at(-1)}`);
          else if (fingerprint(work.made(folder)) !== expected) faults.push('lost: the next run has another result');
          if (readdirSync(folder).some((name) => name.includes('unfinished') || name.startsWith('.magi1')))
            faults.push('wrong: something is left behind');
          count(row, faults, log, i);
        }
      });
      log(`${row.name}: ${row.kept} of ${tries} right`);
      rows.push(row);
    }
    rows.push(...(await fullDisks(log, tries, hub.endpoint)));
    return rows;
  } finally {
    hub.close();
  }
}

/** Disks from a tenth of what a model needs to all of it; then with room. @param {Log} log @param {number} tries @param {string} endpoint */
async function fullDisks(log, tries, endpoint) {
  const rows = /** @type {Row[]} */ ([]);
  if (process.getuid?.() !== 0) {
    log('full disks: not tried, mounting a tmpfs needs root');
    return rows;
  }
  for (const work of WORKS) {
    if (work.name === 'download') continue;
    const row = { name: `full disk and again, ${work.name}`, tries, ...noCounts() };
    await inFolder(async (folder) => {
      const disk = join(folder, 'disk');
      mkdirSync(disk);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64m', 'tmpfs', disk]);
      try {
        putModel(folder);
        const env = { HF_ENDPOINT: endpoint, HF_HOME: join(folder, 'home'), HF_TOKEN: '' };
        const args = work
          .args(disk, endpoint)
          .map((arg) => (arg === join(disk, 'model') ? join(folder, 'model') : arg));
        const alone = await run(args, env);
        if (alone.status !== 0) throw new Error(`${work.name}: a run that is left alone fails: ${alone.stderr}`);
        const expected = fingerprint(work.made(disk));
        for (let i = 0; i < tries; i++) {
          for (const name of readdirSync(disk)) rmSync(join(disk, name), { recursive: true });
          const faults = [];
          // Room is there when the run begins, and is taken away while it goes.
          const other = join(disk, 'other');
          const ended = await run(args, env, (child) => {
            const after = (0.15 + (0.8 * i) / tries) * alone.seconds * 1000;
            setTimeout(() => {
              if (child.exitCode === null)
                execFileSync('bash', ['-c', 'head -c 100000000 /dev/zero > "$0" 2> /dev/null || true', other]);
            }, after).unref();
          });
          if (existsSync(work.made(disk)) && fingerprint(work.made(disk)) !== expected)
            faults.push('wrong: a broken model under its name');
          if (ended.status !== 0 && !/no space is left|are still to be written/.test(ended.stderr))
            faults.push(`wrong: status ${ended.status}, ${ended.stderr.trim().split('\n').at(-1)}`);
          rmSync(other, { force: true });
          const again = await run(args, env);
          if (again.status !== 0) faults.push(`lost: the next run fails: ${again.stderr.trim().split('\n').at(-1)}`);
          else if (fingerprint(work.made(disk)) !== expected) faults.push('lost: the next run has another result');
          count(row, faults, log, i);
        }
      } finally {
        execFileSync('umount', [disk]);
      }
    });
    log(`${row.name}: ${row.kept} of ${tries} right`);
    rows.push(row);
  }
  return rows;
}

/** @param {Row} row @param {readonly string[]} faults @param {Log} log @param {number} i */
function count(row, faults, log, i) {
  row.whole++;
  if (faults.some((fault) => fault.startsWith('lost'))) row.lost++;
  else if (faults.length > 0) row.wrong++;
  else row.kept++;
  for (const fault of faults) log(`${row.name}, try ${i + 1}: ${fault}`);
}
