// What a program loads before it works: each module costs about half a millisecond of processor time, so what one branch
// alone needs is imported there.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { expect, test } from 'vitest';
import { REPOSITORY, runCli } from './support/cli.ts';
import { temporaryFolder } from './support/tiny-model.ts';

const folder = temporaryFolder();
const HOOK = pathToFileURL(join(REPOSITORY, 'tests', 'support', 'loaded-modules.mjs')).href;

/** Files that a run of the command loads, without Node's own. */
async function loadedBy(name: string, args: readonly string[]): Promise<string[]> {
  const file = join(folder, `${name}.txt`);
  const { status, stderr } = await runCli(args, { env: { NODE_OPTIONS: `--import ${HOOK}`, LOADED_MODULES: file } });
  expect(status, stderr).toBe(0);
  const urls = new Set(readFileSync(file, 'utf8').trim().split('\n'));
  return [...urls].filter((url) => url.startsWith('file:') && url !== HOOK);
}

test('help loads neither a model nor a kernel', async () => {
  const loaded = await loadedBy('help', ['--help']);
  expect(
    loaded.filter((url) => /packages\/(kernels|loaders)\/|pipelines\/pipeline\.|\/verify\/|node_modules/.test(url)),
  ).toEqual([]);
  expect(loaded.length).toBeLessThan(60);
});

test('a video from a prompt loads no other backend, no rare format and nothing for a terminal', async () => {
  const size = ['--height', '64', '--width', '64', '--num-frames', '24'];
  const output = ['--output', join(folder, 'video.mp4')];
  const args = ['generate', '--prompt', 'a red ball', ...size, ...output, '--device', 'wasm'];
  const loaded = await loadedBy('generate', args);
  const needless =
    /webgpu\/device\.|\/verify\/|cli\/info\.|loaders\/dist\/(torch|pickle)|lora\/(read-lora|lora-file)\.|load-(image|video)\.|node\/png\.|fzstd|pngjs|cli-progress|sharp|zod/;
  expect(loaded.filter((url) => needless.test(url))).toEqual([]);
  expect(loaded.length).toBeLessThan(290);
});
