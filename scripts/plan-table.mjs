// The table of `npm run plan`: every mode at two sizes on wasm and, where there is one, a WebGPU adapter.
import { execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Magi1ImageToVideoPipeline, Magi1Pipeline, Magi1VideoToVideoPipeline, POCKET_MODEL } from '@magi1/core';
import { Device, listWebGpuAdapters } from '@magi1/tensor';
import { CLI } from './magi1.mjs';
import { ROOT } from './processes.mjs';

const [commit, adapter = 'llvmpipe'] = process.argv.slice(2);
const PROMPT = 'a red circle moves to the right';
const MODELS = { pocket: POCKET_MODEL, tiny: join(ROOT, 'tests', 'fixtures', 'e2e', 'tiny') };
const SIZES = [
  [64, 64],
  [128, 96],
];
const MODES = { t2v: Magi1Pipeline, i2v: Magi1ImageToVideoPipeline, v2v: Magi1VideoToVideoPipeline };

/** @param {number} frameCount @param {number} width @param {number} height */
const gray = (frameCount, width, height) => ({
  data: new Uint8Array(frameCount * width * height * 3).fill(128),
  ...{ frameCount, width, height },
});
/** @param {number} bytes */
const mib = (bytes) => (bytes / 2 ** 20).toFixed(2);
/** @param {number} bytes */
const gib = (bytes) => (bytes / 2 ** 30).toFixed(1);
/** @param {readonly (string | number)[]} cells */
const row = (...cells) => console.log(`| ${cells.join(' | ')} |`);

console.log(
  `Commit ${commit}. Most memory of a run of 96 frames on the device, MiB: planned, and counted by the device.\n`,
);
row('device', 'model', 'mode', 'size', 'planned', 'counted', 'ratio', "process's peak so far");
row(...Array(8).fill('---'));
const names = await listWebGpuAdapters().catch(() => []);
const webgpu = names.find((name) => name.toLowerCase().includes(adapter.toLowerCase()));
for (const options of [
  { backend: 'wasm' },
  ...(webgpu === undefined ? [] : [{ backend: 'webgpu', adapter: webgpu }]),
]) {
  const device = await Device.open(/** @type {import('@magi1/tensor').DeviceOptions} */ (options));
  for (const [model, folder] of Object.entries(MODELS))
    for (const [mode, Pipeline] of Object.entries(MODES))
      for (const [width, height] of SIZES) {
        const pipe = await Pipeline.fromPretrained(folder, { device });
        const media = { i2v: { image: gray(1, width, height) }, v2v: { video: gray(32, width, height) } };
        const start = mode === 't2v' ? {} : media[/** @type {'i2v' | 'v2v'} */ (mode)];
        const request = { prompt: PROMPT, width, height, numFrames: 96, numInferenceSteps: 8, ...start };
        const { total } = await pipe.planMemory(/** @type {any} */ (request));
        const { facts } = await pipe.generate(/** @type {any} */ (request));
        const ratio = (total / facts.peakDeviceBytes).toFixed(3);
        const size = `${width}x${height}`;
        row(
          webgpu && device.backend === 'webgpu' ? adapter : 'wasm',
          model,
          mode,
          size,
          mib(total),
          mib(facts.peakDeviceBytes),
          ratio,
          mib(facts.peakProcessBytes ?? 0),
        );
        await pipe.dispose();
      }
  await device.dispose();
}

console.log('\nThe published models by their configs alone, planned for a GPU without limits of its own, GiB:\n');
row(
  'model',
  'size',
  'frames',
  'transformer',
  'VAE',
  'text encoder',
  'cache',
  'text',
  'denoising',
  'decoding',
  'all loaded',
  'text encoder freed',
);
row(...Array(12).fill('---'));
const shared = { attention_head_dim: 128, patch_size: [1, 2, 2] };
const published = {
  '4.5B': { num_layers: 34, num_attention_heads: 24, ffn_dim: 12288, in_channels: 16, out_channels: 16, ...shared },
  '24B': {
    num_layers: 48,
    num_attention_heads: 48,
    ffn_dim: 16384,
    in_channels: 32,
    out_channels: 32,
    gated_linear_unit: true,
    ...shared,
  },
};
const folder = mkdtempSync(join(tmpdir(), 'magi1-plan-'));
try {
  for (const [name, config] of Object.entries(published)) {
    const model = join(folder, name);
    mkdirSync(join(model, 'transformer'), { recursive: true });
    writeFileSync(join(model, 'model_index.json'), '{}');
    writeFileSync(join(model, 'transformer', 'config.json'), JSON.stringify(config));
    for (const [width, height] of [
      [720, 720],
      [1280, 720],
      [480, 480],
      [256, 256],
    ]) {
      const args = [
        'info',
        '--json',
        '--device',
        'reference',
        '--model',
        model,
        '--width',
        `${width}`,
        '--height',
        `${height}`,
      ];
      const told = JSON.parse(
        execFileSync(process.execPath, [CLI, ...args], {
          encoding: 'utf8',
          stdio: ['ignore', 'pipe', 'ignore'],
          maxBuffer: 1 << 26,
        }),
      );
      const { settings, fit } = told.model;
      const { weights, keyValueCache, text, denoising, decoding, total, staged } = fit.need;
      const parts = [
        weights.transformer,
        weights.vae,
        weights.textEncoder,
        keyValueCache,
        text,
        denoising,
        decoding,
        total,
        staged,
      ];
      row(name, `${width}x${height}`, settings.frames, ...parts.map(gib));
    }
  }
} finally {
  rmSync(folder, { recursive: true });
}
