// Quantising a model: what becomes of it, what is refused before anything is written, and that a run which ended early goes
// on with the same result.
import { createHash } from 'node:crypto';
import {
  appendFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  readdirSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeAll, describe, expect, it, vi } from 'vitest';
import { POCKET_MODEL, nodeFolder, planQuantize, quantizeModel } from '@magi1/core';
import type { DownloadProgress, PlanQuantizeOptions, QuantizeOptions } from '@magi1/core';
import { openCheckpoint } from '@magi1/loaders';
import { asBytes, fromFloat32, toFloat32 } from '@magi1/tensor';
import type { HostArray } from '@magi1/tensor';
import { temporaryFolder } from './support/tiny-model.ts';

vi.mock('node:fs/promises', async (original) => {
  const all = await original<typeof import('node:fs/promises')>();
  return { ...all, statfs: vi.fn(all.statfs) };
});

const TRANSFORMER = 'magi/inference_weight.distill';
const VAE = 'vae/diffusion_pytorch_model.safetensors';

const place = () => join(temporaryFolder(), 'new');

/** Checksums of all files, by path. */
function contents(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) =>
    statSync(join(folder, path)).isFile(),
  );
  return Object.fromEntries(
    files.sort().map((path) => [
      path,
      createHash('sha256')
        .update(readFileSync(join(folder, path)))
        .digest('hex'),
    ]),
  );
}

const same = (a: HostArray, b: HostArray) => Buffer.compare(asBytes(a), asBytes(b)) === 0;

function quantize(to: string, more: Partial<PlanQuantizeOptions & QuantizeOptions> = {}, from = POCKET_MODEL) {
  return quantizeModel(from, to, { bits: 4, ...more });
}

/** Aborts once so many bytes of the source are done. */
function stoppingAfter(bytes: number): QuantizeOptions & { readonly signal: AbortSignal } {
  const controller = new AbortController();
  return {
    signal: controller.signal,
    onProgress: (progress: DownloadProgress) => progress.bytes >= bytes && controller.abort(),
  };
}

let whole: Record<string, string>;
let wholeFolder: string;
beforeAll(async () => {
  wholeFolder = place();
  await quantize(wholeFolder);
  whole = contents(wholeFolder);
});

describe('a quantised model', () => {
  it.each([8, 4] as const)('has its matrices in %s bits, and the rest as it was', async (bits) => {
    const to = place();
    const { modelFolder, readBytes } = await quantize(to, { bits });
    expect(modelFolder).toBe(to);
    expect(readBytes).toBeGreaterThan(7e6);
    expect(readdirSync(join(to, '..'))).toEqual(['new']);
    const before = await openCheckpoint(join(POCKET_MODEL, TRANSFORMER));
    const after = await openCheckpoint(join(to, TRANSFORMER));
    expect(after.names().sort()).toEqual(before.names().sort());
    const dtype = `q${bits}` as const;
    let quantized = 0;
    for (const name of before.names()) {
      const [was, is] = [await before.read(name), await after.read(name)];
      expect(is.shape, name).toEqual(was.shape);
      if (is.dtype === dtype) {
        quantized++;
        expect(same(is.data, fromFloat32(dtype, toFloat32(was.dtype, was.data))), name).toBe(true);
      } else if (is.dtype === was.dtype) expect(same(is.data, was.data), name).toBe(true);
      else {
        expect(is.dtype, name).toBe('bf16');
        expect(same(is.data, fromFloat32('bf16', toFloat32(was.dtype, was.data))), name).toBe(true);
      }
    }
    expect(quantized).toBeGreaterThan(30);
    expect(after.entry('videodit_blocks.layers.0.mlp.linear_fc1.weight').dtype).toBe(dtype);
    await before.close();
    await after.close();
  });

  it('copies what is not asked for, byte by byte', async () => {
    const to = place();
    await quantize(to, { only: ['transformer'] });
    const made = contents(to);
    expect(made[VAE]).toBe(contents(POCKET_MODEL)[VAE]);
    expect(made[`${TRANSFORMER}/model.safetensors`]).toBe(whole[`${TRANSFORMER}/model.safetensors`]);
    // And the rest of it later.
    const rest = place();
    await quantizeModel(to, rest, { bits: 4, only: ['text', 'vae'] });
    expect({ ...contents(rest), 'quantized.json': '' }).toEqual({ ...whole, 'quantized.json': '' });
  });

  it('is the same from a Folder, and says what is in it', async () => {
    const to = place();
    await quantizeModel(nodeFolder(POCKET_MODEL), to, { bits: 4 });
    expect(contents(to)).toEqual(whole);
    const { files } = JSON.parse(readFileSync(join(to, 'quantized.json'), 'utf8')) as {
      files: Record<string, { bytes: number; sha256: string }>;
    };
    const sums = Object.fromEntries(Object.entries(files).map(([path, { sha256 }]) => [path, sha256]));
    expect({ ...sums, 'quantized.json': whole['quantized.json'] }).toEqual(whole);
  });

  it('is kept where it is there already', async () => {
    const { readBytes } = await quantize(wholeFolder);
    expect(readBytes).toBe(0);
    expect(contents(wholeFolder)).toEqual(whole);
  });
});

describe('a run that ended early', () => {
  it.each([0.05, 0.3, 0.55, 0.8, 0.99])('goes on, %s of the way, with the same result', async (share) => {
    const to = place();
    await expect(quantize(to, stoppingAfter(share * 7.7e6))).rejects.toThrow(/abort/);
    expect(existsSync(to)).toBe(false);
    const { readBytes } = await quantize(to);
    expect(readBytes).toBeLessThan(share < 0.3 ? 7.8e6 : 7e6);
    expect(contents(to)).toEqual(whole);
    expect(readdirSync(join(to, '..'))).toEqual(['new']);
  });

  it('keeps what is right of its work, and makes the rest anew', async () => {
    const to = place();
    await expect(quantize(to, stoppingAfter(5e6))).rejects.toThrow(/abort/);
    const work = `${to}.unfinished`;
    const shard = join(work, 'model', TRANSFORMER, 'model.safetensors');
    const bytes = readFileSync(shard);
    bytes[bytes.length - 100]! ^= 1;
    writeFileSync(shard, bytes);
    const partial = join(work, 'growing', `${VAE}.incomplete`);
    if (existsSync(partial)) appendFileSync(partial, 'half a piece');
    appendFileSync(join(work, 'growing', `${VAE}.journal`), '{"end":');
    await quantize(to);
    expect(contents(to)).toEqual(whole);
  });

  it('is not taken for that of other settings', async () => {
    const to = place();
    await expect(quantize(to, stoppingAfter(3e6))).rejects.toThrow(/abort/);
    await expect(quantize(to, { bits: 8 })).rejects.toThrow(/new\.unfinished: holds unfinished work of another model/);
    await quantize(to, { overwrite: true, bits: 8 });
    expect(existsSync(`${to}.unfinished`)).toBe(false);
    expect(contents(to)).not.toEqual(whole);
  });

  it('leaves an older model where it is until the new one is complete', async () => {
    const to = place();
    await quantize(to, { bits: 8 });
    const older = contents(to);
    await expect(quantize(to)).rejects.toThrow(/exists, a model in 8 bits of another source/);
    await expect(quantize(to, { overwrite: true, ...stoppingAfter(6e6) })).rejects.toThrow(/abort/);
    expect(contents(to)).toEqual(older);
    await quantize(to, { overwrite: true });
    expect(contents(to)).toEqual(whole);
    expect(readdirSync(join(to, '..'))).toEqual(['new']);
  });
});

describe('what is refused, before anything is written', () => {
  const refused = async (made: Promise<unknown>, message: RegExp) => expect(made).rejects.toThrow(message);

  it('places that are taken', async () => {
    const to = place();
    const model = join(to, '..', 'model');
    cpSync(POCKET_MODEL, model, { recursive: true });
    await refused(quantize(model, {}, model), /^model: is the model that is to be quantised/);
    await refused(quantize(join(model, 'x'), {}, model), /^x: lies inside the model/);
    await refused(quantize(join(process.cwd(), 'x'), {}, 'missing'), /^model missing: does not exist/);
    await refused(quantize(join(to, '..'), {}, model), /the model that is to be quantised lies inside it/);
    mkdirSync(to);
    writeFileSync(join(to, 'notes.txt'), 'mine');
    await refused(quantize(to, { overwrite: true }), /new: exists, and is no quantised model/);
    await refused(quantize(join(to, 'notes.txt')), /notes\.txt: is a file/);
    expect(readdirSync(to)).toEqual(['notes.txt']);
  });

  it('a model that is quantised, that is none, or that lacks weights', async () => {
    await refused(
      quantize(place(), { bits: 8 }, wholeFolder),
      /model\.safetensors: \S+ is q4 already; quantise the model that it was made of/,
    );
    await refused(quantize(place(), {}, join(wholeFolder, 'vae')), /transformer|model_config/);
    await refused(quantize(place(), {}, '/none'), /\/none: does not exist/);
  });

  it('numbers and names that are none', async () => {
    await refused(quantize(place(), { bits: 5 as 4 }), /bits: 8 or 4 expected, got 5/);
    await refused(
      quantize(place(), { only: ['t5' as 'text'] }),
      /only: some of transformer, text, vae expected, got t5/,
    );
    await refused(quantize(place(), { only: [] }), /only: some of .* got none/);
  });

  it('a disk without room', async () => {
    vi.mocked(statfs).mockResolvedValueOnce({ bavail: 10, bsize: 4096 } as Awaited<ReturnType<typeof statfs>>);
    const to = place();
    const plan = await planQuantize(POCKET_MODEL, to, { bits: 4 });
    expect(plan.missingBytes).toBeGreaterThan(plan.freeBytes);
    await refused(plan.run(), /MiB are still to be written, and the disk has 40\.00 KiB left/);
    expect(readdirSync(join(to, '..'))).toEqual([]);
  });
});
