// `npm pack` in each package gives what a project of its own can install, import and type-check.
import { execFile } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, readdir, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { createRequire } from 'node:module';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, test } from 'vitest';

const run = promisify(execFile);
const ROOT = fileURLToPath(new URL('..', import.meta.url));
const PACKAGES = { tensor: 'tensor', kernels: 'kernels', loaders: 'loaders', magi1: 'core' };

interface Manifest {
  readonly name: string;
  readonly dependencies: Record<string, string>;
  readonly optionalDependencies?: Record<string, string>;
}

let project: string;
const files: Record<string, readonly string[]> = {};
const manifests: Manifest[] = [];

// As an installer would: every tarball unpacked to node_modules, and what it depends on beside it.
beforeAll(async () => {
  project = await mkdtemp(join(tmpdir(), 'magi1-packing-'));
  const modules = join(project, 'node_modules');
  await mkdir(join(modules, '@magi1'), { recursive: true });
  for (const [folder, name] of Object.entries(PACKAGES)) {
    const from = join(ROOT, 'packages', folder);
    const { stdout } = await run('npm', ['pack', '--silent', '--pack-destination', project], { cwd: from });
    await run('tar', ['-xzf', join(project, stdout.trim().split('\n').at(-1)!), '-C', project]);
    await rename(join(project, 'package'), join(modules, '@magi1', name));
    files[name] = await readdir(join(modules, '@magi1', name), { recursive: true });
    const manifest = JSON.parse(await readFile(join(modules, '@magi1', name, 'package.json'), 'utf8')) as Manifest;
    manifests.push(manifest);
    for (const dependency of Object.keys({ ...manifest.dependencies, ...manifest.optionalDependencies })) {
      if (dependency.startsWith('@magi1/') || existsSync(join(modules, dependency))) continue;
      await mkdir(dirname(join(modules, dependency)), { recursive: true });
      await symlink(join(from, 'node_modules', dependency), join(modules, dependency));
    }
  }
  await writeFile(join(project, 'package.json'), '{ "type": "module" }');
}, 300_000);

afterAll(() => rm(project, { recursive: true, force: true }));

test('hold licence, notice and code, but neither tests nor maps', () => {
  for (const list of Object.values(files)) {
    expect(list).toEqual(expect.arrayContaining(['LICENSE', 'NOTICE', 'README.md', join('dist', 'index.d.ts')]));
    expect(list.filter((file) => /\.test\.|testing|\.map$|tsbuildinfo|^src/.test(file))).toEqual([]);
  }
});

test('name their dependencies by versions that any installer knows', () => {
  for (const { name, dependencies, optionalDependencies } of manifests) {
    for (const [dependency, version] of Object.entries({ ...dependencies, ...optionalDependencies })) {
      expect(version, `${name}: ${dependency}`).toMatch(/^\d+\.\d+\.\d+$/);
    }
  }
});

test('type-check in a strict project that checks declarations as well', { timeout: 120_000 }, async () => {
  await writeFile(
    join(project, 'consumer.ts'),
    `import { Magi1Pipeline, POCKET_MODEL, exportToVideo } from '@magi1/core';
import { LayerNorm, TransformerBlock, VideoDiT } from '@magi1/core/model';
import type { BlockContext, DitConfig, ModelConfig, Params } from '@magi1/core/model';
import { Device, Tensor } from '@magi1/tensor';
import { linear } from '@magi1/kernels';
import { openCheckpoint } from '@magi1/loaders';

await using device = await Device.open({ backend: 'wasm' });
const pipe = await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device });
await exportToVideo(await pipe({ prompt: 'a red circle moves left' }), 'circle.mp4');

class NormedBlock extends TransformerBlock {
  readonly last: LayerNorm;
  constructor(p: Params, model: ModelConfig, index: number, quantized: boolean) {
    super(p, model, index, quantized);
    this.last = new LayerNorm(p.at('last'), model.hidden_size, { eps: 1e-6 });
  }
  override forward(h: Tensor, context: BlockContext): Tensor {
    return this.last.forward(super.forward(h, context));
  }
}
export const build = (config: DitConfig) => (p: Params) => new VideoDiT(p, config, NormedBlock);
export const used = [Tensor, linear, openCheckpoint];
`,
  );
  const tsc = createRequire(import.meta.url).resolve('typescript/bin/tsc');
  const options = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--skipLibCheck', 'false'];
  const lib = ['--lib', 'es2023,dom,esnext.disposable'];
  await run(process.execPath, [tsc, ...options, ...lib, 'consumer.ts'], { cwd: project }).catch((error: unknown) => {
    expect.fail((error as { stdout: string }).stdout);
  });
});

test('run, the command line among them', async () => {
  const cli = join(project, 'node_modules', '@magi1', 'core', 'bin', 'magi1.js');
  const { stdout } = await run(process.execPath, [cli, '--version'], { cwd: project });
  const core = await run(process.execPath, ['-e', "import('@magi1/core').then((m) => console.log(m.VERSION))"], {
    cwd: project,
  });
  expect(stdout).toContain(core.stdout.trim());
});

const core = (...path: string[]) => join(project, 'node_modules', '@magi1', 'core', ...path);

test('run the command from its bundle, which is what the modules are', { timeout: 120_000 }, async () => {
  const hook = pathToFileURL(join(ROOT, 'tests', 'support', 'loaded-modules.mjs')).href;
  const size = ['--height', '64', '--width', '64', '--num-frames', '24'];
  const outcomes = [];
  for (const program of [core('bin', 'magi1.js'), core('dist', 'cli', 'main.js')]) {
    const magi1 = async (...args: string[]) =>
      (await run(process.execPath, [program, ...args], { cwd: project })).stdout;
    const list = join(project, 'loaded.txt');
    const env = { ...process.env, NODE_OPTIONS: `--import ${hook}`, LOADED_MODULES: list };
    const video = ['generate', '--prompt', 'a red ball', '--seed', '3', '--device', 'wasm', ...size];
    await run(process.execPath, [program, ...video, '--output', 'frames', '--overwrite'], { cwd: project, env });
    const loaded = (await readFile(list, 'utf8')).split('\n');
    const frames = await readdir(join(project, 'frames'));
    const pictures = await Promise.all(
      frames.filter((name) => name.endsWith('.png')).map((name) => readFile(join(project, 'frames', name), 'base64')),
    );
    await rm(join(project, 'frames'), { recursive: true });
    await rm(list);
    const help = await Promise.all([magi1('--help'), magi1('generate', '--help')]);
    const info = await Promise.all([magi1('info', '--json'), magi1('info', '--model', core('pocket'), '--json')]);
    outcomes.push({ loaded, said: { help, info, pictures } });
  }
  const [bundled, modules] = outcomes;
  expect(bundled!.said.pictures).toHaveLength(24);
  expect(bundled!.said).toEqual(modules!.said);
  const compiled = /@magi1\/(?!core\/(bin|dist\/bundle)\/)/;
  expect(bundled!.loaded.filter((url) => compiled.test(url)).map((url) => basename(url))).toEqual(['pocket.js']);
  expect(modules!.loaded.filter((url) => url.includes('/dist/bundle/'))).toEqual([]);
});

test('hold one bundle, which imports what the package declares and names no file but the pocket model', async () => {
  const bundle = await readdir(core('dist', 'bundle'));
  const code = (await Promise.all(bundle.map((name) => readFile(core('dist', 'bundle', name), 'utf8')))).join('\n');
  const imported = [
    ...code.matchAll(/^(?:import|export)\b[^;]*?["']([^"']+)["'];$|\bimport\(["']([^"']+)["']\)/gm),
  ].map(([, from, lazily]) => from ?? lazily!);
  const files = imported.filter((name) => name.startsWith('./')).map((name) => name.slice(2));
  expect(bundle.sort()).toEqual([...new Set(['main.js', ...files])].sort());
  // The backend imports Dawn by a name that bundlers do not see.
  const packages = [
    'webgpu',
    ...imported.filter((name) => !/^(\.|node:)/.test(name)).map((name) => name.split('/')[0]!),
  ];
  const declared = (manifest: Manifest) => ({ ...manifest.dependencies, ...manifest.optionalDependencies });
  const ours = declared(manifests.find(({ name }) => name === '@magi1/core')!);
  for (const name of packages) {
    expect(ours[name], name).toBeDefined();
    for (const manifest of manifests) expect(declared(manifest)[name] ?? ours[name], name).toBe(ours[name]);
  }
  expect([...new Set(imported.filter((name) => name.startsWith('..')))]).toEqual(['../pocket.js']);
  expect(code.match(/.{0,14}\bimport\.meta.{0,4}/g)).toEqual(['createRequire(import.meta.url']);
  expect(code).not.toContain(ROOT);
});
