// Checkpoints that are made as they are read: they fit what the networks declare, any part of them can be had, and a
// download from their hub gets the same bytes.
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device, PUBLISHED_MODELS, inspectModel, planDownload, readModelFolder } from '@magi1/core';
import { NotFoundError, bytesSource, openSafetensors, openTorch } from '@magi1/loaders';
import { toFloat32 } from '@magi1/tensor';
import { modelConfig } from '../../packages/magi1/src/hub/model-files.ts';
import { publishedConfig } from '../../packages/magi1/src/config/published.ts';
import { crc32Of, safetensorsFile, textFile, torchFile } from './files.mjs';
import { startHub } from './hub.mjs';
import { repositoryFiles } from './repository.mjs';
import { fixedBytes, randomBytes } from './values.mjs';

const crcOf = () => 0;
const filesOf = (model, options) => repositoryFiles(model, publishedConfig(model), { crcOf, ...options });

/** Made files as a folder that models are read from. */
function folderOf(files, name = 'made') {
  const within = (path) => path.slice(name.length + 1);
  const at = (folder) => ({
    name: folder,
    list: () =>
      Promise.resolve([
        ...new Set(
          [...files.keys()]
            .filter((path) => `${name}/${path}`.startsWith(`${folder}/`))
            .map((path) => `${name}/${path}`.slice(folder.length + 1).split('/')[0]),
        ),
      ]),
    open: (path) => {
      const file = files.get(within(`${folder}/${path}`));
      if (file === undefined) return Promise.reject(new NotFoundError(`${folder}/${path}`));
      return Promise.resolve({
        name: `${folder}/${path}`,
        size: file.size,
        read: (offset, length, into = new Uint8Array(length)) =>
          Promise.resolve(file.read(into.subarray(0, length), offset)),
        close: () => Promise.resolve(),
      });
    },
    at: (path) => at(`${folder}/${path}`),
  });
  return at(name);
}

const whole = (file) => file.read(new Uint8Array(file.size), 0);

describe('a made checkpoint', () => {
  let device;
  beforeAll(async () => {
    device = await Device.open({ backend: 'reference' });
  });
  afterAll(() => device.dispose());

  it.each(PUBLISHED_MODELS)(
    '%s has the names, shapes and types that its config and networks ask for',
    async (model) => {
      const files = filesOf(model);
      files.set('config.json', textFile(modelConfig(model, '.')));
      const { missing, parts } = await inspectModel(await readModelFolder(folderOf(files)), device);
      expect(missing).toBe(null);
      const [text, transformer, vae] = parts;
      expect([text.parameters, vae.parameters]).toEqual([4_762_310_656, 613_755_239]);
      expect([Object.keys(text.dtypes), Object.keys(vae.dtypes)]).toEqual([['f32'], ['f32']]);
      expect(transformer.dtypes.bf16).toBeGreaterThan(1e8);
      expect('f8e4m3fn' in transformer.dtypes).toBe(model.endsWith('quant'));
    },
  );

  it('can be cut to a few layers', async () => {
    const files = filesOf('4.5B_base', { layers: 3 });
    const config = modelConfig('4.5B_base', '.');
    config.model_config.num_layers = 3;
    files.set('config.json', textFile(config));
    const { missing } = await inspectModel(await readModelFolder(folderOf(files)), device);
    expect(missing).toBe(null);
    const sizes = (all) => [...all.values()].reduce((sum, { size }) => sum + size, 0);
    expect(sizes(files)).toBeLessThan(sizes(filesOf('4.5B_base')) / 4);
  });
});

describe('values', () => {
  const spread = { mean: 0.5, deviation: 0.25 };
  it.each(['f32', 'bf16', 'f16'])('%s are spread as asked, and every part is the same as in the whole', (dtype) => {
    const made = randomBytes('layer.weight', [300, 500], dtype, spread);
    const all = new Uint8Array(made.length);
    made.fill(all, 0);
    for (const [from, length] of [
      [0, 1],
      [999, 4003],
      [made.length - 7, 7],
      [1, made.length - 1],
    ]) {
      const part = new Uint8Array(length);
      made.fill(part, from);
      expect(Buffer.compare(part, all.subarray(from, from + length))).toBe(0);
    }
    const typed = dtype === 'f32' ? new Float32Array(all.buffer) : new Uint16Array(all.buffer);
    const values = toFloat32(dtype, typed);
    const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
    const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
    expect(mean).toBeCloseTo(0.5, 2);
    expect(Math.sqrt(variance)).toBeCloseTo(0.25, 2);
  });

  it('differ from tensor to tensor and from row to row', () => {
    const firstRows = (name) => {
      const bytes = new Uint8Array(2 * 64);
      randomBytes(name, [2, 16], 'f32', spread).fill(bytes, 0);
      return [bytes.subarray(0, 64), bytes.subarray(64)].map((row) => Buffer.from(row).toString('hex'));
    };
    expect(new Set([...firstRows('a'), ...firstRows('b')]).size).toBe(4);
  });
});

describe('files', () => {
  const tensors = [
    { name: 'b.weight', shape: [3, 5], dtype: 'f32' },
    { name: 'a.bias', shape: [7], dtype: 'bf16' },
  ].map((one) => ({ ...one, bytes: randomBytes(one.name, one.shape, one.dtype, { mean: 0, deviation: 1 }) }));
  const bytesOf = ({ bytes }) => {
    const all = new Uint8Array(bytes.length);
    bytes.fill(all, 0);
    return Buffer.from(all).toString('hex');
  };

  async function expectTensors(file, names) {
    for (const [name, tensor] of names) {
      const { data, shape, dtype } = await file.readTensor(name);
      expect([shape, dtype]).toEqual([tensor.shape, tensor.dtype]);
      expect(Buffer.from(data.buffer, data.byteOffset, data.byteLength).toString('hex')).toBe(bytesOf(tensor));
    }
    expect(file.tensors.size).toBe(names.length);
  }

  it('of safetensors are read back', async () => {
    const file = await openSafetensors(bytesSource(whole(safetensorsFile(tensors)), 'made'));
    await expectTensors(
      file,
      tensors.map((tensor) => [tensor.name, tensor]),
    );
  });

  it("of PyTorch's format are read back, checksums and names of one storage included", async () => {
    const [first, second] = tensors;
    const made = torchFile('made', [{ ...first, also: 'tied.weight' }, second], (_, bytes) => crc32Of(bytes));
    const file = await openTorch(bytesSource(whole(made), 'made.bin'));
    await expectTensors(file, [
      [first.name, first],
      ['tied.weight', first],
      [second.name, second],
    ]);
    const wrong = torchFile('made', tensors, (name, bytes) => (name.endsWith('data/0') ? 1 : crc32Of(bytes)));
    const broken = await openTorch(bytesSource(whole(wrong), 'made.bin'));
    await expect(broken.readTensor(first.name)).rejects.toThrow(/checksum mismatch/);
  });

  it('are the same in pieces, at any place', () => {
    const made = safetensorsFile(tensors);
    const all = whole(made);
    for (let from = 0; from < made.size; from += 13) {
      const length = Math.min(29, made.size - from);
      expect(Buffer.compare(made.read(new Uint8Array(length), from), all.subarray(from, from + length))).toBe(0);
    }
    expect(() => made.read(new Uint8Array(2), made.size - 1)).toThrow(RangeError);
    expect(Buffer.compare(Buffer.concat([...made.pieces()].map((piece) => Buffer.from(piece))), all)).toBe(0);
  });
});

it('a hub serves them as the published one does', async () => {
  const files = filesOf('24B_distill');
  const { endpoint, close } = await startHub(files, new Map([...files.keys()].map((path) => [path, '0'.repeat(64)])));
  const localDir = mkdtempSync(join(tmpdir(), 'magi1-test-'));
  try {
    const plan = await planDownload('sand-ai/MAGI-1', { model: '24B_distill', endpoint, localDir });
    expect(plan.files.map(({ path, size }) => [path, size]).sort()).toEqual(
      [...files].map(([path, { size }]) => [path, size]).sort(),
    );
    const [path, file] = [...files].find(([name]) => name.endsWith('00006-of-00006.safetensors'));
    const from = file.size - 3_000_000;
    const response = await fetch(`${endpoint}/sand-ai/MAGI-1/resolve/${plan.commit}/${path}`, {
      headers: { range: `bytes=${from}-` },
    });
    expect([response.status, response.headers.get('content-range')]).toEqual([
      206,
      `bytes ${from}-${file.size - 1}/${file.size}`,
    ]);
    const expected = file.read(new Uint8Array(3_000_000), from);
    expect(Buffer.compare(Buffer.from(await response.arrayBuffer()), expected)).toBe(0);
    const beyond = await fetch(response.url, { headers: { range: `bytes=${file.size}-` } });
    expect(beyond.status).toBe(416);
    expect((await fetch(`${endpoint}/sand-ai/MAGI-1/resolve/${plan.commit}/other`)).status).toBe(404);
  } finally {
    close();
    rmSync(localDir, { recursive: true });
  }
});

it('bytes that are given stand as they are', () => {
  const target = new Uint8Array(2);
  fixedBytes(Uint8Array.of(1, 2, 3)).fill(target, 1);
  expect([...target]).toEqual([2, 3]);
});
