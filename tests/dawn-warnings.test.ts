// Dawn warns on stderr each time it searches the drivers, if Mesa's lavapipe is among them: how often a run lets it.
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { TINY_MODEL, runCli } from './support/cli.ts';
import { testAdapters } from './support/devices.ts';
import { temporaryFolder } from './support/tiny-model.ts';

// Chooses this process's drivers, which the program inherits.
const [adapter] = testAdapters();
const folder = temporaryFolder();
const searches = (stderr: string) => stderr.match(/maxDynamicUniformBuffers\S* artificially reduced/g)?.length ?? 0;

async function generate(name: string, ...device: string[]): Promise<string> {
  const size = ['--height', '32', '--width', '32', '--num-frames', '24'];
  const output = ['--output', join(folder, `${name}.mp4`)];
  const args = ['generate', '--model', TINY_MODEL, '--prompt', 'a cat', ...size, ...output, ...device];
  const { status, stderr } = await runCli(args);
  expect(status, stderr).toBe(0);
  return stderr;
}

test('wasm needs no adapter', async () => {
  expect(searches(await generate('wasm', '--device', 'wasm'))).toBe(0);
});

describe.runIf(adapter !== undefined)('a WebGPU adapter', () => {
  test('is searched for once by auto', async () => {
    expect(searches(await generate('auto'))).toBeLessThanOrEqual(1);
  });

  test('is searched for once by a part of its name', async () => {
    expect(searches(await generate('named', '--device', 'webgpu', '--adapter', adapter!))).toBeLessThanOrEqual(1);
  });

  test('is searched for once when it is listed, and once when it is opened', async () => {
    const { stdout, stderr } = await runCli(['info', '--json']);
    const { adapters } = JSON.parse(stdout) as { adapters: unknown[] };
    expect(adapters.length).toBeGreaterThan(0);
    expect(searches(stderr)).toBeLessThanOrEqual(1 + adapters.length);
  });
});
