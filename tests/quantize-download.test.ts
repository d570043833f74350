// A model that is quantised as it comes from a hub: the same as from the disk, checked against the hub's checksums, and an
// interrupted run fetches no more than what is missing.
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { POCKET_MODEL, planQuantizedDownload, quantizeModel, readModelFolder } from '@magi1/core';
import type { DownloadProgress, PlanQuantizedDownloadOptions, QuantizeOptions } from '@magi1/core';
import { startHub } from './support/hub.ts';
import type { Fault, Seen, TestHub } from './support/hub.ts';
import { temporaryFolder } from './support/tiny-model.ts';

// The published model is the pocket model here: its own config would ask for weights of gigabytes.
vi.mock('../packages/magi1/src/config/published.ts', async (original) => {
  const all = await original<typeof import('../packages/magi1/src/config/published.ts')>();
  const { readFileSync } = await import('node:fs');
  const path = new URL('../packages/magi1/pocket/config.json', import.meta.url);
  return {
    ...all,
    publishedConfig: (model?: string) =>
      model === undefined ? all.publishedConfig() : (JSON.parse(readFileSync(path, 'utf8')) as unknown),
  };
});

const MODEL = '4.5B_distill';
const SHARD = `ckpt/magi/${MODEL}/inference_weight.distill/model.safetensors`;
const VAE = 'ckpt/vae/diffusion_pytorch_model.safetensors';
const read = (path: string) => readFileSync(join(POCKET_MODEL, path));
const FILES = new Map<string, Uint8Array>([
  ['README.md', Buffer.from('# MAGI-1')],
  [SHARD, read('magi/inference_weight.distill/model.safetensors')],
  ...['config.json', 'model.safetensors', 'spiece.model'].map((name): [string, Uint8Array] => [
    `ckpt/t5/t5-v1_1-xxl/${name}`,
    read(`t5/t5-v1_1-xxl/${name}`),
  ]),
  ['ckpt/vae/config.json', read('vae/config.json')],
  [VAE, read('vae/diffusion_pytorch_model.safetensors')],
]);

let hub: TestHub;
let home: string;
let whole: Record<string, string>;

function contents(folder: string): Record<string, string> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter(
    (path) => statSync(join(folder, path)).isFile() && !/quantized\.json|trained\.json|(^|\/)config\.json/.test(path),
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

beforeAll(async () => {
  const folder = join(temporaryFolder(), 'new');
  await quantizeModel(POCKET_MODEL, folder, { bits: 4 });
  whole = contents(folder);
});
beforeEach(() => {
  home = temporaryFolder();
  for (const name of ['HF_TOKEN', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HUB_OFFLINE']) vi.stubEnv(name, '');
  vi.stubEnv('HF_HOME', home);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
});

async function start(fault?: TestHub['fault'], files: ReadonlyMap<string, Uint8Array> = FILES): Promise<void> {
  hub = await startHub({ files });
  hub.fault = fault;
  vi.stubEnv('HF_ENDPOINT', hub.endpoint);
}

async function load(
  { signal, onProgress }: QuantizeOptions = {},
  more: Partial<PlanQuantizedDownloadOptions> = {},
): ReturnType<Awaited<ReturnType<typeof planQuantizedDownload>>['run']> {
  const quick = { firstWait: 0.01, stallTimeout: 5 };
  const plan = await planQuantizedDownload('sand-ai/MAGI-1', { model: MODEL, bits: 4, ...quick, ...more });
  return plan.run({ signal, onProgress });
}

const on = (path: string, fault: (number: number, seen: Seen) => Fault | undefined) => (seen: Seen, number: number) =>
  seen.path === path && seen.kind === 'large' ? fault(number, seen) : undefined;

/** Whether a request asks for a file from some byte to its end: weights as they pass. */
const passes = ({ kind, range }: Seen, path: string) =>
  kind === 'large' && range?.endsWith(`-${FILES.get(path)!.length - 1}`) === true;

describe('what comes', () => {
  it('is the same as from the disk; its files lie nowhere', async () => {
    await start();
    const { modelFolder } = await load();
    expect(contents(modelFolder)).toEqual(whole);
    expect(modelFolder).toContain(join('snapshots', hub.commit, 'magi1', `${MODEL}-q4`));
    const large = readdirSync(home, { recursive: true, encoding: 'utf8' }).filter((path) =>
      /blobs|ckpt|unfinished|lock$/.test(path),
    );
    expect(large).toEqual([]);
    expect((await readModelFolder(modelFolder)).missing).toEqual([]);
    expect(hub.seen.filter((seen) => seen.path === SHARD && passes(seen, SHARD))).toHaveLength(1);
    expect((await load()).readBytes).toBe(0);
  });

  it('into a folder of its own', async () => {
    await start();
    const localDir = join(home, 'mine');
    expect((await load({}, { localDir })).modelFolder).toBe(localDir);
    expect(contents(localDir)).toEqual(whole);
  });

  it('goes on after cuts and refusals', async () => {
    await start(
      on(SHARD, (number) => (number === 3 ? { cutAfter: 900_000 } : number === 4 ? { status: 503 } : undefined)),
    );
    expect(contents((await load()).modelFolder)).toEqual(whole);
  });
});

describe('a run that ended early', () => {
  it.each([0.2, 0.7, 0.9])('goes on, %s of the way, within its file', async (share) => {
    await start();
    const controller = new AbortController();
    const onProgress = ({ bytes }: DownloadProgress) => bytes > share * 7.5e6 && controller.abort();
    await expect(load({ signal: controller.signal, onProgress })).rejects.toThrow(/abort/);
    hub.seen.length = 0;
    const { modelFolder } = await load();
    expect(contents(modelFolder)).toEqual(whole);
    const begun = share < 0.5 ? SHARD : VAE;
    const from = hub.seen.filter((seen) => seen.path === begun && passes(seen, begun)).map(({ range }) => range);
    expect(from).toHaveLength(1);
    expect(from[0]).not.toBe(`bytes=0-${FILES.get(begun)!.length - 1}`);
  });
});

describe('wrong bytes', () => {
  it('once: the file comes anew', async () => {
    let wrong = 0;
    await start(on(SHARD, (_, seen) => (passes(seen, SHARD) && wrong++ === 0 ? { wrongByte: true } : undefined)));
    expect(contents((await load()).modelFolder)).toEqual(whole);
    expect(wrong).toBe(2);
  });

  it('twice: refused, and nothing has a final name', async () => {
    await start();
    hub.fault = on(VAE, (_, seen) => (passes(seen, VAE) ? { wrongByte: true } : undefined));
    await expect(load()).rejects.toThrow(
      /diffusion_pytorch_model\.safetensors: (byte \d+ came twice|what came is not)/,
    );
    expect(existsSync(join(home, 'hub/models--sand-ai--MAGI-1/snapshots', hub.commit, 'magi1', `${MODEL}-q4`))).toBe(
      false,
    );
  });

  it('of a small file', async () => {
    await start((seen) =>
      seen.path === 'ckpt/vae/config.json' && seen.kind === 'file' ? { wrongByte: true } : undefined,
    );
    await expect(load()).rejects.toThrow(/ckpt\/vae\/config\.json: what came is not the file: git hash/);
  });

  it('a web page', async () => {
    await start(on(SHARD, () => ({ page: true })));
    await expect(load()).rejects.toThrow(/a web page came instead of the file/);
  });
});

it('a model that is quantised already is refused', async () => {
  await start();
  await expect(load({}, { model: '4.5B_distill_quant' })).rejects.toThrow(
    /4\.5B_distill_quant: is quantised already \(fp8\); 4\.5B_distill can be had in 4 bits/,
  );
  const lacking = new Map([...FILES].filter(([path]) => path !== VAE));
  await hub.close();
  await start(undefined, lacking);
  await expect(load()).rejects.toThrow(/ckpt\/vae: no checkpoint/);
});
