// The table of `npm run plan`: every mode at two sizes on wasm and, where there is one, a WebGPU adapter.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import {
  Magi1ImageToVideoPipeline,
  Magi1Pipeline,
  Magi1VideoToVideoPipeline,
  OFFLOADS,
  POCKET_MODEL,
  inspectModel,
  readModelFolder,
} from '@magi1/core';
import { Device, listWebGpuAdapters } from '@magi1/tensor';
import { publishedConfig } from '../packages/magi1/dist/config/published.js';
import { memoryGoals } from './memory-goals.mjs';
import { ROOT } from './processes.mjs';

const {
  values: { adapter = 'llvmpipe' },
  positionals: [commit],
} = parseArgs({ allowPositionals: true, options: { adapter: { type: 'string' } } });
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
const gib = (bytes) => (bytes / 2 ** 30).toFixed(2);
/** @param {readonly (string | number)[]} cells */
const row = (...cells) => console.log(`| ${cells.join(' | ')} |`);

console.log(
  `Commit ${commit}. Most memory of a run of 96 frames on the device, MiB: planned, and counted by the device.\n`,
);
row('device', 'model', 'mode', 'size', 'offload', 'planned', 'counted', 'ratio', "process's peak so far");
row(...Array(9).fill('---'));
/** @type {import('@magi1/tensor').DeviceOptions[]} */
const devices = [{ backend: 'wasm' }];
let missing = '';
try {
  const names = await listWebGpuAdapters();
  const webgpu = names.find((name) => name.toLowerCase().includes(adapter.toLowerCase()));
  if (webgpu !== undefined) devices.push({ backend: 'webgpu', adapter: webgpu });
  else missing = `no WebGPU adapter is named like ${adapter}, there are: ${names.join(', ') || 'none'}`;
} catch (error) {
  missing = `WebGPU adapters cannot be listed: ${String(error)}`;
  process.exitCode = 1;
}
for (const options of devices) {
  const device = await Device.open(options);
  for (const [model, folder] of Object.entries(MODELS))
    for (const [mode, Pipeline] of Object.entries(MODES))
      for (const [width, height] of SIZES)
        for (const offload of mode === 't2v' ? OFFLOADS : /** @type {const} */ (['none', 'group'])) {
          const pipe = await Pipeline.fromPretrained(folder, { device, offload });
          const media = { i2v: { image: gray(1, width, height) }, v2v: { video: gray(32, width, height) } };
          const start = mode === 't2v' ? {} : media[/** @type {'i2v' | 'v2v'} */ (mode)];
          const request = { prompt: PROMPT, width, height, numFrames: 96, numInferenceSteps: 8, ...start };
          const planned = (await pipe.planMemory(/** @type {any} */ (request))).peaks[offload];
          const { facts } = await pipe.generate(/** @type {any} */ (request));
          row(
            ...[device.backend === 'webgpu' ? adapter : 'wasm', model, mode, `${width}x${height}`, offload],
            ...[mib(planned), mib(facts.peakDeviceBytes), (planned / facts.peakDeviceBytes).toFixed(3)],
            mib(facts.peakProcessBytes ?? 0),
          );
          await pipe.dispose();
        }
  await device.dispose();
}
if (missing !== '') row(adapter, missing, ...Array(7).fill(''));

console.log('\nThe published configs at their own size, planned from the configs alone as for the wasm device, GiB:\n');
row(
  ...['config', 'size', 'frames', 'transformer', 'VAE', 'text encoder', 'cache', 'text', 'denoising', 'decoding'],
  ...['offload none', 'text', 'group'],
);
row(...Array(13).fill('---'));
const LARGE = {
  ...{ num_layers: 48, hidden_size: 6144, ffn_hidden_size: 16384, num_attention_heads: 48, gated_linear_unit: true },
  ...{ in_channels: 32, out_channels: 32, half_channel_vae: true },
};
const EIGHT_BITS = { fp8_quant: true, distill: true };
/** What the published configs have beside those of the first, of what decides memory. */
const PUBLISHED = {
  '4.5B base': {},
  '4.5B distill quant': { runtime: { cfg_number: 1 }, engine: EIGHT_BITS },
  '24B base': { model: LARGE, runtime: { video_size_w: 1280, num_steps: 32 } },
  '24B distill quant': {
    model: LARGE,
    runtime: { video_size_w: 1280, num_steps: 16, cfg_number: 1 },
    engine: EIGHT_BITS,
  },
};
const folder = mkdtempSync(join(tmpdir(), 'magi1-plan-'));
const device = await Device.open({ backend: 'wasm' });
try {
  for (const [name, { model = {}, runtime = {}, engine = {} }] of Object.entries(PUBLISHED)) {
    const { model_config, runtime_config, engine_config } = publishedConfig();
    const config = {
      model_config: { ...model_config, ...model },
      runtime_config: { ...runtime_config, ...runtime },
      engine_config: { ...engine_config, ...engine },
    };
    writeFileSync(join(folder, 'config.json'), JSON.stringify(config));
    const { settings, fit } = await inspectModel(await readModelFolder(folder), device);
    if (fit.need === undefined) throw new Error(`${name}: ${fit.fault}`);
    const { weights, keyValueCache, text, denoising, decoding, peaks } = fit.need;
    const networks = [weights.transformer, weights.vae, weights.textEncoder];
    const bytes = [...networks, keyValueCache, text, denoising, decoding, peaks.none, peaks.text, peaks.group];
    row(name, `${settings.width}x${settings.height}`, settings.frames, ...bytes.map(gib));
  }
  console.log('\nGoals at 720x720, 96 frames with the full window and a cache in q8, on wasm:\n');
  await memoryGoals(device, row);
} finally {
  rmSync(folder, { recursive: true });
  await device.dispose();
}
