// magi1 download as a process: what it prints, and what is left when it is stopped, killed or out of room.
import { spawn } from 'node:child_process';
import { existsSync, lstatSync, readFileSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { publishedConfig } from '../packages/magi1/src/config/published.ts';
import { PROGRAM, TINY_MODEL, runCli } from './support/cli.ts';
import type { CliOptions } from './support/cli.ts';
import { repositoryFiles, startHub } from './support/hub.ts';
import type { TestHub } from './support/hub.ts';
import { temporaryFolder } from './support/tiny-model.ts';

const SIZE = 400_000;
const FILES = repositoryFiles(SIZE);
const NEEDED = [...FILES.keys()].filter(
  (path) => /^ckpt\/(magi\/4.5B_distill|t5|vae)\//.test(path) && !path.endsWith('h5'),
);
const TOTAL = NEEDED.reduce((sum, path) => sum + FILES.get(path)!.length, 0);

let hub: TestHub;
let folder: string;
let env: Record<string, string>;

beforeAll(async () => {
  hub = await startHub({ files: FILES });
});
afterAll(() => hub.close());
beforeEach(() => {
  folder = join(temporaryFolder(), 'model');
  env = { HF_ENDPOINT: hub.endpoint, HF_HOME: temporaryFolder(), HF_TOKEN: '', HF_HUB_CACHE: '', HF_HUB_OFFLINE: '' };
  hub.fault = undefined;
  hub.seen.length = 0;
});

const download = (args: readonly string[] = [], options: CliOptions = {}) =>
  runCli(['download', 'sand-ai/MAGI-1', '--model', '4.5B_distill', '--local-dir', folder, ...args], {
    env,
    ...options,
  });

const partials = () =>
  !existsSync(folder)
    ? []
    : readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.incomplete'));

function expectComplete(): void {
  for (const path of NEEDED) expect(readFileSync(join(folder, path)).equals(FILES.get(path)!), path).toBe(true);
  expect(partials()).toEqual([]);
}

/** What has its name is right, at any moment. */
function expectNoHalfFile(): void {
  for (const path of NEEDED.filter((name) => existsSync(join(folder, name))))
    expect(readFileSync(join(folder, path)).equals(FILES.get(path)!), path).toBe(true);
}

it('--dry-run says which files, how many bytes, what is free, and writes nothing', async () => {
  const { status, stdout, stderr } = await download(['--dry-run']);
  expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  for (const path of NEEDED) expect(stdout).toContain(path);
  expect(stdout).toMatch(/^4\.5B_distill of sand-ai\/MAGI-1, main \(commit c0ffee1+\)$/m);
  expect(stdout).toMatch(/^12 files, 1\.91 MiB: 1\.91 MiB to fetch, .* free$/m);
  expect(stdout).not.toMatch(/README|base|h5/);
  expect(existsSync(folder)).toBe(false);
  const json = JSON.parse((await download(['--dry-run', '--json'])).stdout) as Record<string, unknown>;
  expect(json).toMatchObject({ model: '4.5B_distill', commit: hub.commit, bytes: TOTAL, missingBytes: TOTAL });
});

it('shows progress on stderr and the model folder on stdout; --json gives the same for programs', async () => {
  const { status, stdout, stderr } = await download();
  expect(status).toBe(0);
  expect(stdout).toMatch(/^done {4}12 files, 1\.91 MiB, of which 1\.91 MiB came now$/m);
  expect(stdout).toContain(`model   ${folder}\n`);
  expect(stderr).toMatch(/^ {2}0% fetching: special_tokens_map\.json, .*of 1\.91 MiB/m);
  expect(stderr).toMatch(/^100% fetching: .*1\.91 MiB of 1\.91 MiB.*, done$/m);
  expectComplete();
  const again = await download(['--json']);
  expect(JSON.parse(again.stdout)).toEqual({
    modelFolder: folder,
    commit: hub.commit,
    files: 12,
    bytes: TOTAL,
    fetchedBytes: 0,
  });
});

it('a retry is said on stderr', async () => {
  let cut = false;
  hub.fault = ({ kind }) => (kind === 'large' && !cut && (cut = true) ? { cutAfter: 1000 } : undefined);
  const { status, stderr } = await download();
  expect(status).toBe(0);
  expect(stderr).toMatch(/sand-ai\/MAGI-1\/ckpt\/.*: the connection failed \(.*\); once more in 1 s/);
  expectComplete();
}, 60_000);

it('Ctrl-C leaves what is needed to go on', async () => {
  hub.fault = ({ kind }) => (kind === 'large' ? { pace: 500_000 } : undefined);
  let sent = false;
  const { status, stderr } = await download([], {
    onStderr: (_, child) => {
      if (sent) return;
      sent = true;
      setTimeout(() => child.kill('SIGINT'), 1200);
    },
  });
  expect(status).toBe(130);
  expect(stderr).toMatch(/stopping\n(.*\n)*stopped; the same command goes on from here\n$/);
  expectNoHalfFile();
  expect(partials()).toHaveLength(1);
  const left = lstatSync(join(folder, partials()[0]!)).size;
  expect(left).toBeGreaterThan(0);
  hub.fault = undefined;
  const plan = await download(['--dry-run']);
  expect(plan.stdout).toMatch(/ {2}\(.* of it are there\)$/m);
  expect((await download()).status).toBe(0);
  expectComplete();
}, 60_000);

it('after kill -9 at random moments the result is the same, and nothing is fetched twice', async () => {
  let served = 0;
  hub.fault = ({ kind }) => (kind === 'large' ? { pace: 700_000 } : undefined);
  for (let kill = 0; kill < 8; kill++) {
    const { status } = await new Promise<{ status: number | null }>((resolve) => {
      const args = ['download', 'sand-ai/MAGI-1', '--model', '4.5B_distill', '--local-dir', folder];
      const child = spawn(process.execPath, [PROGRAM, ...args], { env: { ...process.env, ...env }, stdio: 'ignore' });
      const timer = setTimeout(() => child.kill('SIGKILL'), 250 + Math.random() * 1500);
      child.once('close', (code) => {
        clearTimeout(timer);
        resolve({ status: code });
      });
    });
    expectNoHalfFile();
    if (status === 0) break;
    expect(status).toBe(null);
  }
  hub.fault = undefined;
  const { status, stdout, stderr } = await download();
  expect({ status, stderr: stderr.match(/^magi1:.*/m) }).toEqual({ status: 0, stderr: null });
  expect(stdout).toMatch(/^done /m);
  expectComplete();
  const starts = new Map<string, number>();
  for (const { kind, path, range } of hub.seen) {
    if (kind !== 'large') continue;
    const from = Number(/\d+/.exec(range!)![0]);
    expect(from, path).toBeGreaterThanOrEqual(starts.get(path) ?? 0);
    starts.set(path, from);
    served++;
  }
  expect(served).toBeGreaterThan(5);
}, 120_000);

it('a disk that is full is an error, and what has come is kept', async () => {
  const args = ['download', 'sand-ai/MAGI-1', '--model', '4.5B_distill', '--local-dir', folder];
  const script = `ulimit -f 200; exec "$@"`;
  const child = spawn('bash', ['-c', script, 'bash', process.execPath, PROGRAM, ...args], {
    env: { ...process.env, ...env },
    stdio: ['ignore', 'ignore', 'pipe'],
  });
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
  const status = await new Promise((resolve) => child.once('close', resolve));
  expect(status).toBe(1);
  expect(stderr).toMatch(
    /magi1: .*\.incomplete: the file grows beyond what is allowed \(EFBIG\); what has come is kept\n$/,
  );
  expectNoHalfFile();
  expect(partials()).toHaveLength(1);
  expect((await download()).status).toBe(0);
  expectComplete();
});

it.each([
  [[], 'an argument is missing; usage: magi1 download REPOSITORY --model NAME'],
  [['a/b'], '--model is missing: one of 4.5B_base, 4.5B_distill'],
  [['a/b', '--model', '7B'], '--model: one of 4.5B_base, '],
])('%j is a wrong command line', async (args, message) => {
  const { status, stderr } = await runCli(['download', ...args], { env });
  expect(status).toBe(2);
  expect(stderr).toContain(message);
});

it('what is downloaded generates', async () => {
  const files = new Map<string, Uint8Array>();
  const places = { magi: 'ckpt/magi/4.5B_base', t5: 'ckpt/t5', vae: 'ckpt/vae' };
  for (const [from, to] of Object.entries(places))
    for (const path of readdirSync(join(TINY_MODEL, from), { recursive: true, encoding: 'utf8' }))
      if (lstatSync(join(TINY_MODEL, from, path)).isFile())
        files.set(`${to}/${path.replaceAll('\\', '/')}`, readFileSync(join(TINY_MODEL, from, path)));
  const tiny = await startHub({ files });
  const options = { env: { ...env, HF_ENDPOINT: tiny.endpoint } };
  const args = ['download', 'sand-ai/MAGI-1', '--model', '4.5B_base', '--local-dir', folder];
  const { status } = await runCli(args, options);
  await tiny.close();
  expect(status).toBe(0);
  // The published model's sizes, in the config that was written, are not those of the tiny one.
  const config = join(folder, 'config.json');
  const written = JSON.parse(readFileSync(config, 'utf8')) as ReturnType<typeof publishedConfig>;
  const own = JSON.parse(readFileSync(join(TINY_MODEL, 'config.json'), 'utf8')) as typeof written;
  const { load, t5_pretrained, vae_pretrained } = written.runtime_config;
  Object.assign(own.runtime_config, { load, t5_pretrained, vae_pretrained });
  writeFileSync(config, JSON.stringify(own));
  const output = join(folder, 'out.mp4');
  const request = ['--prompt', 'a red fox', '--device', 'wasm', '--output', output];
  const run = await runCli(['generate', '--model', folder, ...request]);
  expect(run).toMatchObject({ status: 0 });
  expect(existsSync(output)).toBe(true);
}, 120_000);
