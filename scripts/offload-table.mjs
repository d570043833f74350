// The tables of `npm run offload`, on wasm, by a transformer of the 4.5B model's width with a few blocks of random values:
// loading it over reading the same bytes into fresh memory, a forward with its blocks brought over one with all loaded, and
// what the process holds beside what the device counts. Then the pocket model's video. Its file is removed after.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { open } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { Magi1Pipeline, OFFLOADS, POCKET_MODEL } from '@magi1/core';
import { CheckedWeights, Params, transformerNetwork } from '@magi1/core/model';
import { openCheckpoint } from '@magi1/loaders';
import { Device, scope } from '@magi1/tensor';
import { publishedConfig } from '../packages/magi1/dist/config/published.js';

const { values } = parseArgs({
  options: {
    blocks: { type: 'string', default: '4' },
    threads: { type: 'string' },
    only: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '384' },
    run: { type: 'string' },
    file: { type: 'string' },
  },
});
const [blocks, rounds] = [Number(values.blocks), Number(values.rounds)];
const threads = values.threads === undefined ? {} : { threads: Number(values.threads) };
const base = publishedConfig('4.5B_distill');
const config = /** @type {any} */ ({ ...base, model_config: { ...base.model_config, num_layers: blocks } });
const network = transformerNetwork(config);
/** @template T @param {(device: Device) => Promise<T>} body */
async function onDevice(body) {
  const device = await Device.open({ backend: 'wasm', ...threads });
  try {
    return await body(device);
  } finally {
    await device.dispose();
  }
}
const GIB = 2 ** 30;
/** @param {number} bytes */
const gib = (bytes) => (bytes / GIB).toFixed(2);
/** @param {readonly number[]} numbers */
const median = (numbers) => [...numbers].sort((a, b) => a - b)[numbers.length >> 1] ?? NaN;
/** @param {readonly (string | number)[]} cells */
const row = (...cells) => console.log(`| ${cells.join(' | ')} |`);
/** @param {readonly string[]} names */
const head = (...names) => {
  row(...names);
  row(...names.map(() => '---'));
};
/** Seconds of something. @param {() => Promise<unknown>} body */
async function timed(body) {
  const start = performance.now();
  await body();
  return (performance.now() - start) / 1000;
}

/** A bf16 pattern of small values that repeats. */
const PATTERN = Uint16Array.from({ length: 1 << 20 }, (_, i) => 0x3c00 | (((i * 2654435761) >>> 16) & 0x80ff));

/** Writes the transformer as one safetensors file. @param {string} path */
async function writeModel(path) {
  let offset = 0;
  /** @type {Record<string, object>} */
  const entries = {};
  const sizes = [];
  for (const [name, { shape, role }] of Params.record((p) => network.build(p))) {
    const bytes = shape.reduce((product, side) => product * side, role === 'vector' ? 4 : 2);
    entries[name] = { dtype: role === 'vector' ? 'F32' : 'BF16', shape, data_offsets: [offset, (offset += bytes)] };
    sizes.push(bytes);
  }
  const json = Buffer.from(JSON.stringify(entries));
  const header = Buffer.alloc(8 + Math.ceil(json.length / 8) * 8, ' ');
  header.writeBigUInt64LE(BigInt(header.length - 8));
  json.copy(header, 8);
  const file = await open(path, 'w');
  try {
    await file.writeFile(header);
    const pattern = Buffer.from(PATTERN.buffer);
    for (const size of sizes)
      for (let left = size; left > 0; left -= pattern.length)
        await file.writeFile(pattern.subarray(0, Math.min(left, pattern.length)));
  } finally {
    await file.close();
  }
  return header.length + offset;
}

/** The same bytes into fresh memory, as a plain program reads them. @param {string} path @param {number} size */
async function readFresh(path, size) {
  const file = await open(path);
  try {
    for (let at = 0; at < size; at += GIB / 4) {
      const memory = new Uint8Array(Math.min(GIB / 4, size - at));
      for (let done = 0; done < memory.length;)
        done += (await file.read(memory, done, Math.min(16 << 20, memory.length - done), at + done)).bytesRead;
    }
  } finally {
    await file.close();
  }
}

/** @template T @param {string} path @param {(weights: CheckedWeights<any>) => Promise<T>} body */
async function withWeights(path, body) {
  const checkpoint = await openCheckpoint(path);
  try {
    return await body(new CheckedWeights(checkpoint, network));
  } finally {
    await checkpoint.close();
  }
}

/** @param {string} path @param {number} size */
async function loading(path, size) {
  console.log(`\nLoading a transformer of ${blocks} blocks of the 4.5B model, ${gib(size)} GiB in bf16, warm cache:\n`);
  head('', 'seconds', 'GiB/s', 'over reading');
  const times = { read: /** @type {number[]} */ ([]), load: /** @type {number[]} */ ([]) };
  for (let round = 0; round <= rounds; round++) {
    const read = await timed(() => readFresh(path, size));
    const load = await onDevice((device) =>
      withWeights(path, (weights) =>
        timed(async () => {
          (await weights.load(device)).dispose();
        }),
      ),
    );
    if (round === 0) continue; // fills the cache
    times.read.push(read);
    times.load.push(load);
  }
  for (const [name, kind] of /** @type {const} */ ([
    ['read into fresh memory', 'read'],
    ['loaded onto wasm', 'load'],
  ])) {
    const seconds = median(times[kind]);
    row(name, seconds.toFixed(3), (size / GIB / seconds).toFixed(2), (seconds / median(times.read)).toFixed(2));
  }
}

/** @param {any} model @param {number} tokens */
async function forward(model, tokens) {
  const { device } = model;
  const side = Math.sqrt(tokens / 6);
  const { in_channels, caption_channels } = config.model_config;
  const size = [1, in_channels, 6, 2 * side, 2 * side];
  const length = size.reduce((product, extent) => product * extent, 1);
  const latent = device.tensor(
    Float32Array.from({ length }, (_, i) => Math.sin(i)),
    size,
    'f32',
  );
  const features = device.zeros([50, caption_channels], 'f32');
  const text = scope(() => model.readText(features));
  const chunk = { latent, t: 0.5, firstFrame: 0, keys: [0, tokens], text };
  try {
    const [velocity] = await model.forward({ chunks: [chunk], condition: 'caption', dt: null });
    const result = await velocity.toFloat32();
    velocity.dispose();
    return result;
  } finally {
    for (const tensor of [text, features, latent]) tensor.dispose();
  }
}

/** @param {string} path */
async function brought(path) {
  const tokens = Number(values.tokens);
  console.log(`\nA forward of ${tokens} tokens through those blocks, and with them read from the file as they run:\n`);
  head('blocks', 'seconds', 'over all loaded', 'processor seconds', 'over all loaded', 'same bits');
  /** @type {Record<string, number[]>} */
  const [times, work] = [{}, {}];
  /** @type {Record<string, Float32Array>} */
  const results = {};
  await onDevice((device) =>
    withWeights(path, async (weights) => {
      const models = new Map();
      for (const place of /** @type {const} */ (['device', 'files']))
        models.set(place, await weights.load(device, { blocks: place }));
      // In turn: a machine that others use is not equally fast all the time.
      for (let round = 0; round <= rounds; round++)
        for (const [place, model] of models) {
          const before = process.cpuUsage();
          const seconds = await timed(async () => (results[place] = await forward(model, tokens)));
          const { user, system } = process.cpuUsage(before);
          if (round === 0) continue;
          (times[place] ??= []).push(seconds);
          (work[place] ??= []).push((user + system) / 1e6);
        }
      for (const model of models.values()) model.dispose();
    }),
  );
  for (const [name, place] of /** @type {const} */ ([
    ['all loaded', 'device'],
    ['brought', 'files'],
  ])) {
    const cells = [times, work].flatMap((kind) => {
      const seconds = median(kind[place] ?? []);
      return [seconds.toFixed(2), (seconds / median(kind['device'] ?? [])).toFixed(3)];
    });
    const [ours, expected] = [results[place], results['device']];
    row(name, ...cells, ours?.every((value, i) => Object.is(value, expected?.[i])) ? 'yes' : 'no');
  }
}

/** In a process of its own: what it holds beyond what the device counts. @param {string} path */
async function held(path) {
  const place = /** @type {'device' | 'files'} */ (values.run);
  await onDevice(async (device) => {
    const before = process.memoryUsage.rss();
    await withWeights(path, async (weights) => {
      const model = await weights.load(device, { blocks: place });
      for (let round = 0; round < 2; round++) await forward(model, Number(values.tokens));
      model.dispose();
    });
    const most = process.resourceUsage().maxRSS * 1024;
    console.log(JSON.stringify({ before, most, counted: device.memory().peak }));
  });
}

/** @param {string} path */
function processes(path) {
  console.log('\nWhat a process holds that loads it and runs two forwards, GiB:\n');
  head('blocks', 'at the start', 'at most', 'counted by the device', 'beside');
  for (const [name, place] of [
    ['all loaded', 'device'],
    ['brought', 'files'],
  ]) {
    const args = [fileURLToPath(import.meta.url), '--run', place ?? '', '--file', path, '--blocks', String(blocks)];
    const tokens = ['--tokens', values.tokens, ...(values.threads === undefined ? [] : ['--threads', values.threads])];
    const { before, most, counted } = JSON.parse(
      execFileSync(process.execPath, [...args, ...tokens], { encoding: 'utf8' }),
    );
    row(name ?? '', gib(before), gib(most), gib(counted), gib(most - counted));
  }
}

/** @param {Device} device */
async function pocket(device) {
  console.log("\nThe pocket model's video of 48 frames:\n");
  head(
    ...['size', 'offload', 'seconds', 'over none', 'processor seconds', 'over none'],
    ...['most on the device, MiB', 'same frames'],
  );
  const pipes = new Map();
  for (const offload of OFFLOADS)
    pipes.set(offload, await Magi1Pipeline.fromPretrained(POCKET_MODEL, { device, offload }));
  for (const side of [64, 128]) {
    const request = { prompt: 'a red circle moves to the right', width: side, height: side, numFrames: 48 };
    /** @type {Record<string, number[]>} */
    const [times, work] = [{}, {}];
    /** @type {Record<string, any>} */
    const results = {};
    for (let round = 0; round <= rounds; round++)
      for (const [offload, pipe] of pipes) {
        const before = process.cpuUsage();
        const seconds = await timed(async () => (results[offload] = await pipe(request)));
        const { user, system } = process.cpuUsage(before);
        if (round === 0) continue;
        (times[offload] ??= []).push(seconds);
        (work[offload] ??= []).push((user + system) / 1e6);
      }
    for (const [offload, pipe] of pipes) {
      const cells = [times, work].flatMap((kind) => {
        const seconds = median(kind[offload] ?? []);
        return [seconds.toFixed(2), (seconds / median(kind['none'] ?? [])).toFixed(3)];
      });
      const { peaks } = await pipe.planMemory(request);
      const same = Buffer.compare(results[offload].frames, results['none'].frames) === 0;
      row(`${side}x${side}`, offload, ...cells, (peaks[offload] / 2 ** 20).toFixed(1), same ? 'yes' : 'no');
    }
  }
  for (const pipe of pipes.values()) await pipe.dispose();
}

if (values.run !== undefined) await held(values.file ?? '');
else {
  const folder = mkdtempSync(join(tmpdir(), 'magi1-offload-'));
  const wanted = (/** @type {string} */ part) => values.only === undefined || values.only === part;
  try {
    if (['loading', 'blocks', 'process'].some(wanted)) {
      const path = join(folder, 'model.safetensors');
      const size = await writeModel(path);
      if (wanted('loading')) await loading(path, size);
      if (wanted('blocks')) await brought(path);
      if (wanted('process')) processes(path);
    }
    if (wanted('pocket')) await onDevice(pocket);
  } finally {
    rmSync(folder, { recursive: true });
  }
}
