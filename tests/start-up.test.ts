// What a program loads before it works: each module costs about half a millisecond of processor time, so what one branch
// alone needs is imported there.
import { cpSync, mkdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { beforeAll, describe, expect, test } from 'vitest';
import { PROGRAM, REPOSITORY, runNode } from './support/cli.ts';
import { temporaryFolder } from './support/tiny-model.ts';

const folder = temporaryFolder();
const HOOK = pathToFileURL(join(REPOSITORY, 'tests', 'support', 'loaded-modules.mjs')).href;

const DIST = join(REPOSITORY, 'packages', 'magi1', 'dist');
const MODULES = join(DIST, 'cli', 'main.js');
const BUNDLE = join(DIST, 'bundle', 'main.js');

/** Files that a run of a program loads, without Node's own. */
async function loadedBy(program: string, args: readonly string[]): Promise<string[]> {
  const file = join(folder, `${args[0]}-${basename(dirname(program))}.txt`);
  const { status, stderr } = await runNode([program, ...args], {
    env: { NODE_OPTIONS: `--import ${HOOK}`, LOADED_MODULES: file },
  });
  expect(status, stderr).toBe(0);
  const urls = new Set(readFileSync(file, 'utf8').trim().split('\n'));
  return [...urls].filter((url) => url.startsWith('file:') && url !== HOOK);
}

const HELP = ['--help'];
const size = ['--height', '64', '--width', '64', '--num-frames', '24'];
const generate = (name: string) => {
  const output = ['--output', join(folder, `${name}.mp4`)];
  return ['generate', '--prompt', 'a red ball', ...size, ...output, '--device', 'wasm'];
};

test('help loads neither a model nor a kernel', async () => {
  const loaded = await loadedBy(MODULES, HELP);
  expect(
    loaded.filter((url) => /packages\/(kernels|loaders)\/|pipelines\/pipeline\.|\/verify\/|node_modules/.test(url)),
  ).toEqual([]);
  expect(loaded.length).toBeLessThan(66);
});

test('a video from a prompt loads no other backend, no rare format and nothing for a terminal', async () => {
  const loaded = await loadedBy(MODULES, generate('modules'));
  const needless =
    /webgpu\/device\.|\/verify\/|cli\/info\.|loaders\/dist\/(torch|pickle)|lora\/(read-lora|lora-file)\.|load-(image|video)\.|node\/png\.|fzstd|pngjs|cli-progress|sharp|zod/;
  expect(loaded.filter((url) => needless.test(url))).toEqual([]);
  expect(loaded.length).toBeLessThan(310);
});

describe('the bundle', () => {
  beforeAll(async () => {
    const { status, stderr } = await runNode([join(REPOSITORY, 'scripts', 'run.mjs'), 'bundle']);
    expect(status, stderr).toBe(0);
  });

  /** Names of compiled modules whose code is in the files that a run loads; the bundle names them in comments. */
  const contents = (files: readonly string[]) =>
    files.flatMap((url) =>
      [...readFileSync(new URL(url), 'utf8').matchAll(/^\/\/ (\S+\.js)$/gm)].map((match) => match[1]!),
    );

  test('shows help from a few files without a model or a kernel', async () => {
    const loaded = await loadedBy(BUNDLE, HELP);
    expect(loaded.length).toBeLessThan(30);
    expect(contents(loaded)).toContain('dist/cli/main.js');
    expect(contents(loaded).filter((file) => /\/loaders\/|pipelines\/pipeline\.|\/verify\//.test(file))).toEqual([]);
  });

  test('makes a video from few files, of itself and of other packages, without what the modules leave out', async () => {
    const loaded = await loadedBy(BUNDLE, generate('bundle'));
    expect(loaded.length).toBeLessThan(70);
    const ours = loaded.filter((url) => !url.includes('/node_modules/') && !url.includes('/dist/bundle/'));
    expect(ours.map((url) => basename(url))).toEqual(['pocket.js']);
    const needless =
      /webgpu\/device\.|\/verify\/|cli\/info\.|loaders\/dist\/(torch|pickle)|lora\/(read-lora|lora-file)\.|load-(image|video)\.|node\/png\./;
    expect(contents(loaded)).toContain('dist/pipelines/pipeline.js');
    expect(contents(loaded).filter((file) => needless.test(file))).toEqual([]);
    expect(loaded.filter((url) => /fzstd|pngjs|cli-progress|sharp|zod/.test(url))).toEqual([]);
  });
});

test('the command takes the bundle unless a package was compiled after it', async () => {
  const packages = join(temporaryFolder(), 'packages');
  const write = (path: string, text: string, time: number) => {
    const file = join(packages, path);
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    utimesSync(file, time, time);
  };
  write('magi1/package.json', '{ "type": "module" }', 1);
  write('magi1/dist/cli/main.js', "console.log('modules')", 1);
  cpSync(PROGRAM, join(packages, 'magi1', 'bin', 'magi1.js'));
  const taken = async () => {
    const { stdout, stderr } = await runNode([join(packages, 'magi1', 'bin', 'magi1.js')]);
    return stdout.trim() + stderr;
  };
  expect(await taken()).toBe('modules');
  write('magi1/dist/bundle/main.js', "console.log('bundle')", 1000);
  expect(await taken()).toBe('bundle'); // as in an installed package
  for (const name of ['tensor', 'kernels', 'loaders', 'magi1']) write(`${name}/dist/.tsbuildinfo`, '', 900);
  expect(await taken()).toBe('bundle');
  for (const name of ['tensor', 'kernels', 'loaders', 'magi1']) {
    write(`${name}/dist/.tsbuildinfo`, '', 1001);
    expect(await taken(), name).toBe('modules');
    write(`${name}/dist/.tsbuildinfo`, '', 900);
  }
});
