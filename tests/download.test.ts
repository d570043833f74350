// Downloading from a hub that cuts, stalls, lies, redirects and refuses: a file has its name only once it is right, and
// what has come is never fetched twice.
import { createHash } from 'node:crypto';
import { existsSync, lstatSync, mkdirSync, readFileSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { PUBLISHED_MODELS, downloadModel, planDownload, readModelFolder } from '@magi1/core';
import type { DownloadProgress, HttpRetry } from '@magi1/core';
import { hubSettings } from '../packages/magi1/src/hub/node/settings.ts';
import { TINY_MODEL } from './support/cli.ts';
import { repositoryFiles, someBytes, startHub } from './support/hub.ts';
import type { Fault, Seen, TestHub, TestHubOptions } from './support/hub.ts';
import { temporaryFolder } from './support/tiny-model.ts';

vi.mock('node:fs/promises', async (original) => {
  const all = await original<typeof import('node:fs/promises')>();
  return { ...all, statfs: vi.fn(all.statfs) };
});

const SIZE = 300_000;
const FILES = repositoryFiles(SIZE);
const MODEL = '4.5B_distill';
const WEIGHTS = 'ckpt/magi/4.5B_distill/inference_weight.distill';
const SHARD = `${WEIGHTS}/model-00002-of-00002.safetensors`;
const T5 = 'ckpt/t5/t5-v1_1-xxl';
const NEEDED = [...FILES.keys()].filter(
  (path) => /^ckpt\/(magi\/4.5B_distill|t5|vae)\//.test(path) && !path.endsWith('h5'),
);
const REPOSITORY = 'sand-ai/MAGI-1';

let hub: TestHub;
let home: string;

beforeEach(() => {
  home = temporaryFolder();
  for (const name of ['HF_TOKEN', 'HF_HUB_CACHE', 'HUGGINGFACE_HUB_CACHE', 'HF_HUB_OFFLINE']) vi.stubEnv(name, '');
  vi.stubEnv('HF_HOME', home);
});
afterEach(async () => {
  vi.unstubAllEnvs();
  await hub.close();
});

async function start(fault?: TestHub['fault'], options: Partial<TestHubOptions> = {}): Promise<void> {
  hub = await startHub({ files: FILES, ...options });
  hub.fault = fault;
  vi.stubEnv('HF_ENDPOINT', hub.endpoint);
}

const quick = { firstWait: 0.01, stallTimeout: 5 };
const load = (more: object = {}) => downloadModel(REPOSITORY, { model: MODEL, ...quick, ...more });
const cache = () => join(home, 'hub', 'models--sand-ai--MAGI-1');
const snapshot = () => join(cache(), 'snapshots', hub.commit);
const on = (path: string, fault: (number: number) => Fault | undefined) => (seen: Seen, number: number) =>
  seen.path === path && seen.kind === 'large' ? fault(number) : undefined;

/** Regular files and links below a folder. */
function filesBelow(folder: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((path) => !lstatSync(join(folder, path)).isDirectory())
    .sort();
}

function expectComplete(folder: string): void {
  for (const path of NEEDED) expect(readFileSync(join(folder, path)).equals(FILES.get(path)!), path).toBe(true);
  expect(filesBelow(home).filter((path) => path.includes('incomplete') || path.includes('magi1-download'))).toEqual([]);
}

describe('the cache', () => {
  it("has the layout of Hugging Face's libraries, and only what the model needs", async () => {
    await start();
    const { modelFolder, files, bytes, fetchedBytes } = await load();
    expectComplete(snapshot());
    expect(filesBelow(snapshot())).toEqual([...NEEDED, `magi1/${MODEL}/config.json`].sort());
    expect(fetchedBytes).toBe(bytes);
    expect(files).toBe(NEEDED.length);
    expect(readFileSync(join(cache(), 'refs/main'), 'utf8')).toBe(hub.commit);
    const blob = createHash('sha256').update(FILES.get(SHARD)!).digest('hex');
    expect(readlinkSync(join(snapshot(), SHARD))).toBe(
      relative(dirname(join(snapshot(), SHARD)), join(cache(), 'blobs', blob)),
    );
    const small = FILES.get('ckpt/vae/config.json')!;
    const git = createHash('sha1').update(`blob ${small.length}\0`).update(small).digest('hex');
    expect(existsSync(join(cache(), 'blobs', git))).toBe(true);
    const model = await readModelFolder(modelFolder);
    expect(model.missing).toEqual([]);
    expect(model.config.engine_config).toMatchObject({ distill: true, fp8_quant: false });
    expect(await model.folders.transformer.list()).toContain('model.safetensors.index.json');
  });

  it('is not filled twice', async () => {
    await start();
    await load();
    hub.seen.length = 0;
    expect((await load()).fetchedBytes).toBe(0);
    expect(hub.seen.filter(({ kind, path }) => kind !== 'api' && !path.endsWith('.index.json'))).toEqual([]);
  });

  it('keeps what other programs put there: a blob without a link is linked, one of another size replaced', async () => {
    await start();
    const blobs = join(cache(), 'blobs');
    mkdirSync(blobs, { recursive: true });
    const blobOf = (path: string) => join(blobs, createHash('sha256').update(FILES.get(path)!).digest('hex'));
    const vae = 'ckpt/vae/diffusion_pytorch_model.safetensors';
    writeFileSync(blobOf(vae), FILES.get(vae)!);
    writeFileSync(blobOf(SHARD), FILES.get(SHARD)!.subarray(0, 100));
    const { bytes, fetchedBytes } = await load();
    expect(fetchedBytes).toBe(bytes - SIZE);
    expectComplete(snapshot());
  });

  it('gives another model what the two share', async () => {
    await start();
    await load();
    const { fetchedBytes, modelFolder } = await load({ model: '4.5B_base' });
    expect(fetchedBytes).toBe(2 * SIZE); // the indices are the same
    expect((await readModelFolder(modelFolder)).missing).toEqual([]);
  });
});

describe('a plain folder', () => {
  it('is the model folder, with facts for huggingface_hub beside it', async () => {
    await start();
    const localDir = join(temporaryFolder(), 'magi');
    expect((await load({ localDir })).modelFolder).toBe(localDir);
    expectComplete(localDir);
    expect((await readModelFolder(localDir)).missing).toEqual([]);
    const [commit, etag] = readFileSync(join(localDir, `.cache/huggingface/download/${SHARD}.metadata`), 'utf8').split(
      '\n',
    );
    expect([commit, etag]).toEqual([hub.commit, createHash('sha256').update(FILES.get(SHARD)!).digest('hex')]);
    expect((await load({ localDir })).fetchedBytes).toBe(0);
  });

  it('takes over files that were copied there once they are checked, and fetches those that are other ones', async () => {
    await start();
    const localDir = temporaryFolder();
    const other = someBytes(SIZE, 99);
    for (const [path, content] of [
      [SHARD, FILES.get(SHARD)!],
      [`${T5}/pytorch_model-00001-of-00002.bin`, other],
    ] as const) {
      mkdirSync(dirname(join(localDir, path)), { recursive: true });
      writeFileSync(join(localDir, path), content);
    }
    const plan = await planDownload(REPOSITORY, { model: MODEL, localDir });
    expect(plan.files.filter(({ state }) => state === 'unchecked')).toHaveLength(2);
    const seen = new Set<string>();
    const { bytes, fetchedBytes } = await load({
      localDir,
      onProgress: ({ activity, path }: DownloadProgress) => seen.add(`${activity} ${path}`),
    });
    expect(bytes - fetchedBytes).toBe(SIZE);
    expect([...seen]).toContain(`checking ${SHARD}`);
    expectComplete(localDir);
  });

  it('keeps an edited config, and refuses that of another model before anything is fetched', async () => {
    await start();
    const localDir = temporaryFolder();
    await load({ localDir });
    const path = join(localDir, 'config.json');
    const edited = readFileSync(path, 'utf8').replace('"num_steps": 64', '"num_steps": 8');
    writeFileSync(path, edited);
    await load({ localDir });
    expect(readFileSync(path, 'utf8')).toBe(edited);
    await expect(load({ localDir, model: '4.5B_base' })).rejects.toThrow(
      /config\.json: is not the config of 4\.5B_base; name another folder/,
    );
  });
});

describe('a connection', () => {
  it('that is cut again and again is taken up where it was', async () => {
    await start(on(SHARD, (number) => (number < 9 ? { cutAfter: 33_333 } : undefined)));
    const retries: HttpRetry[] = [];
    const { bytes, fetchedBytes } = await load({ onRetry: (retry: HttpRetry) => retries.push(retry) });
    expectComplete(snapshot());
    expect(fetchedBytes).toBe(bytes);
    expect(retries).toHaveLength(8);
    const starts = hub.seen.filter(({ kind, path }) => kind === 'large' && path === SHARD);
    expect(starts.map(({ range }) => range)).toEqual(
      Array.from({ length: 9 }, (_, i) => `bytes=${33_333 * i}-${SIZE - 1}`),
    );
  });

  it('that is always cut before the first byte ends the download after some attempts, and what came is kept', async () => {
    await start(on(SHARD, (number) => ({ cutAfter: number === 1 ? 100_000 : 0 })));
    await expect(load()).rejects.toThrow(
      /^sand-ai\/MAGI-1\/ckpt.*00002\.safetensors: the connection failed \(.*\), 6 times in a row$/,
    );
    const partial = filesBelow(home).filter((path) => path.endsWith('.incomplete'));
    expect(partial.map((path) => lstatSync(join(home, path)).size)).toEqual([100_000]);
    expect(existsSync(join(snapshot(), SHARD))).toBe(false);
    hub.fault = undefined;
    hub.seen.length = 0;
    await load();
    expect(hub.seen.find(({ kind, path }) => kind === 'large' && path === SHARD)!.range).toBe('bytes=100000-299999');
    expectComplete(snapshot());
  });

  it('that stalls counts as cut', async () => {
    await start(on(SHARD, (number) => (number === 1 ? { stallAfter: 50_000 } : undefined)));
    const retries: HttpRetry[] = [];
    await load({ stallTimeout: 0.3, onRetry: (retry: HttpRetry) => retries.push(retry) });
    expect(retries.map(({ reason }) => reason)).toEqual(['nothing came for 0.3 seconds']);
    expectComplete(snapshot());
  });

  it('may be ended by a signal at any time', async () => {
    await start(on(SHARD, () => ({ pace: 200_000 })));
    const controller = new AbortController();
    const onProgress = ({ bytes }: DownloadProgress) => bytes > 100_000 && controller.abort(new Error('enough'));
    await expect(load({ signal: controller.signal, onProgress })).rejects.toThrow('enough');
    expect(filesBelow(home).filter((path) => path.includes('magi1-download'))).toEqual([]);
    hub.fault = undefined;
    await load();
    expectComplete(snapshot());
  });

  it('to no hub at all is an error that names it', async () => {
    await start();
    const gone = await startHub({ files: FILES });
    await gone.close();
    await expect(load({ endpoint: gone.endpoint, attempts: 2 })).rejects.toThrow(
      `${gone.endpoint}/api/models/sand-ai/MAGI-1/revision/main: the connection failed (ECONNREFUSED), 2 times in a row`,
    );
    await expect(load({ endpoint: 'http://127.0.0.1:9' })).rejects.toThrow('no connection (bad port)');
  });
});

describe('a server', () => {
  it.each<[string, Fault]>([
    ['503', { status: 503 }],
    ['503 with a time to wait', { status: 503, headers: { 'retry-after': '0' } }],
    ['429 with a date', { status: 429, headers: { 'retry-after': new Date().toUTCString() } }],
    ["429 with the hub's own header", { status: 429, headers: { ratelimit: '"resolvers";r=0;t=0' } }],
    ['500', { status: 500 }],
  ])('that says %s twice is asked again', async (_, fault) => {
    await start((_seen, number) => (number <= 2 ? fault : undefined));
    await load();
    expectComplete(snapshot());
  });

  it('that asks to wait is not asked before', async () => {
    await start(on(SHARD, (number) => (number === 1 ? { status: 429, headers: { 'retry-after': '1' } } : undefined)));
    const began = performance.now();
    const retries: HttpRetry[] = [];
    await load({ onRetry: (retry: HttpRetry) => retries.push(retry) });
    expect(performance.now() - began).toBeGreaterThan(990);
    expect(retries).toMatchObject([{ reason: 'the server answers 429', waitSeconds: 1 }]);
  });

  it('that asks to wait for an hour is left alone', async () => {
    await start(on(SHARD, () => ({ status: 429, headers: { 'retry-after': '3600' } })));
    await expect(load()).rejects.toThrow(/00002\.safetensors: the server answers 429; it asks to wait 3600 seconds$/);
  });

  it('that sends a wrong byte once is asked for the file once more', async () => {
    await start(on(SHARD, (number) => (number === 1 ? { wrongByte: true } : undefined)));
    const { bytes, fetchedBytes } = await load();
    expect(fetchedBytes).toBe(bytes + SIZE);
    expectComplete(snapshot());
  });

  it.each([SHARD, 'ckpt/vae/config.json'])('that always sends a wrong byte of %s leaves no such file', async (path) => {
    await start((seen) => (seen.path === path ? { wrongByte: true } : undefined));
    await expect(load()).rejects.toThrow(
      /what came is not the file: (SHA-256|git hash) [0-9a-f]+ expected, twice came/,
    );
    expect(existsSync(join(snapshot(), path))).toBe(false);
    expect(filesBelow(home).filter((file) => file.endsWith('.incomplete'))).toEqual([]);
  });

  it.each<[string, Fault, RegExp]>([
    ['a larger size', { saysSize: SIZE + 1 }, /: 300000 bytes expected, the server has 300001$/],
    ['a smaller size', { saysSize: SIZE - 1 }, /: 300000 bytes expected, the server has 299999$/],
    ['a web page', { page: true }, /: a web page came instead of the file; is there a proxy or a login page/],
    ['another range', { otherRange: true }, /: asked for bytes 0 to 300000, the server sends bytes 1-299999\/300000$/],
    ['404', { status: 404 }, /: there is no such file \(the server answers 404\)$/],
    ['403', { status: 403 }, /: the server answers 403$/],
  ])('that answers with %s is refused', async (_, fault, message) => {
    await start(on(SHARD, () => fault));
    await expect(load()).rejects.toThrow(message);
    expect(existsSync(join(snapshot(), SHARD))).toBe(false);
  });

  it('that knows no ranges sends all of it after a cut', async () => {
    await start(on(SHARD, (number) => ({ ignoresRange: true, ...(number < 3 && { cutAfter: 90_000 * number }) })));
    await load();
    expectComplete(snapshot());
  });

  it('finds a broken beginning of an earlier download out', async () => {
    await start();
    const etag = createHash('sha256').update(FILES.get(SHARD)!).digest('hex');
    mkdirSync(join(cache(), 'blobs'), { recursive: true });
    writeFileSync(join(cache(), 'blobs', `${etag}.incomplete`), someBytes(70_000, 7));
    const plan = await planDownload(REPOSITORY, { model: MODEL });
    expect(plan.files.find(({ path }) => path === SHARD)).toMatchObject({ partial: 70_000 });
    expect(plan.bytes - plan.missingBytes).toBe(70_000);
    await load();
    expectComplete(snapshot());
  });

  it('is sent the token, and nobody else is', async () => {
    await start(undefined, { token: 'hf_secret' });
    vi.stubEnv('HF_TOKEN', 'hf_secret\n');
    await load();
    expectComplete(snapshot());
    expect(new Set(hub.seen.map(({ kind, token }) => `${kind} ${token}`))).toEqual(
      new Set(['api Bearer hf_secret', 'file Bearer hf_secret', 'large undefined']),
    );
  });

  it('that mirrors the hub is followed from page to page, wherever its links lead', async () => {
    await start(undefined, { linksTo: 'http://127.0.0.1:9', pageSize: 3, token: 'hf_secret' });
    await load({ token: 'hf_secret' });
    expectComplete(snapshot());
  });
});

describe('refusals', () => {
  it.each<[string, Partial<TestHubOptions>, object, RegExp]>([
    [
      'without a token',
      { token: 'hf_a' },
      {},
      /no such public repository at .* \(401\); if it is private, give a token in HF_TOKEN/,
    ],
    ['with a wrong one', { token: 'hf_a' }, { token: 'hf_b' }, /the hub does not take the token \(401\)/],
    ['of a revision', {}, { revision: 'v2' }, /^sand-ai\/MAGI-1: has no revision "v2"$/],
    ['of a repository', { repository: 'other/one' }, {}, /there is no such repository at http.* \(404\)$/],
    [
      'of a model',
      {},
      { model: '24B_base' },
      /has no ckpt\/magi\/24B_base\/inference_weight; its models: 4\.5B_base, 4\.5B_distill$/,
    ],
    ['of an unknown model', {}, { model: '7B' }, /^model: one of 4\.5B_base, .*24B_distill_quant expected, got 7B$/],
    [
      'of a revision that is a path',
      {},
      { revision: '../../x' },
      /^revision "\.\.\/\.\.\/x": a branch, a tag or a commit/,
    ],
  ])('%s', async (_, options, more, message) => {
    await start(undefined, options);
    await expect(load(more)).rejects.toThrow(message);
    expect(filesBelow(home)).toEqual([]);
  });

  it('of a name that is none', async () => {
    await start();
    for (const name of ['MAGI-1', 'https://huggingface.co/sand-ai/MAGI-1', 'a/../b', 'a/b/c'])
      await expect(downloadModel(name, { model: MODEL })).rejects.toThrow('a name as in sand-ai/MAGI-1 expected');
  });

  it.each<[string, Fault, RegExp]>([
    [
      'gated',
      { status: 403, headers: { 'x-error-code': 'GatedRepo' } },
      /access is not granted \(403\); accept its terms at http.*\/sand-ai\/MAGI-1/,
    ],
    ['a web page', { page: true }, /a web page came instead of an answer; is there a proxy or a login page/],
    ['not JSON', { status: 200 }, /the answer is not valid JSON$/],
  ])('by the API: %s', async (_, fault, message) => {
    await start((seen) => (seen.kind === 'api' ? fault : undefined));
    await expect(load()).rejects.toThrow(message);
  });

  it.each([
    [`${T5}/config.json`, /lacks ckpt\/t5\/t5-v1_1-xxl\/config\.json$/],
    [`${T5}/spiece.model`, /lacks ckpt\/t5\/t5-v1_1-xxl\/tokenizer\.json or ckpt\/t5\/t5-v1_1-xxl\/spiece\.model$/],
    [SHARD, /inference_weight\.distill: shard model-00002-of-00002\.safetensors, named in .*, is missing$/],
  ])('of a repository without %s, before anything is fetched', async (path, message) => {
    await start(undefined, { files: new Map([...FILES].filter(([name]) => name !== path)) });
    await expect(load()).rejects.toThrow(message);
    expect(filesBelow(home)).toEqual([]);
  });

  it('of a link to the next page that is no URL, with the address that gave it', async () => {
    await start(undefined, { linksTo: 'http://[bad' });
    await expect(load()).rejects.toThrow(
      new RegExp(
        `^${hub.endpoint}/api/models/sand-ai/MAGI-1/tree/\\w+: the hub's link to the next page, "http://\\[bad`,
      ),
    );
  });

  it.each([
    ['/api/models/sand-ai/MAGI-1/revision/main', 'the server redirects without an end (redirect count exceeded)'],
    ['ftp://127.0.0.1/', 'no connection (URL scheme must be a HTTP(S) scheme)'],
  ])('of a redirect that leads nowhere, at once: %s', async (location, message) => {
    await start(() => ({ status: 302, headers: { location } }));
    const onRetry = vi.fn();
    await expect(load({ onRetry })).rejects.toThrow(message);
    expect(onRetry).not.toHaveBeenCalled();
  });

  it.each(['http://user:pw@127.0.0.1:1', 'user:pw@hub', 'http://user:p%40w@hub'])(
    'of an endpoint with a password, which is not shown: %s',
    async (endpoint) => {
      await start();
      vi.stubEnv('HF_ENDPOINT', endpoint);
      for (const options of [{}, { endpoint }]) {
        const error: unknown = await load(options).catch((reason: unknown) => reason);
        expect(String(error)).toMatch(
          /(HF_ENDPOINT|endpoint): a URL without a user and a password expected, got one of/,
        );
        expect(String(error)).not.toMatch(/user:|p%40w|pw/);
      }
      const { httpFolder } = await import('@magi1/loaders');
      const folder = httpFolder(endpoint, { files: new Map([['a', 1]]) });
      const read = folder.open('a').then((file) => file.read(0, 1));
      const error = await read.catch((reason: unknown) => reason as Error);
      expect(String(error)).not.toMatch(/user:|p%40w|pw@/);
      expect(hub.seen).toEqual([]);
    },
  );

  it('of paths that lead out of the folder', async () => {
    const evil = new Map([...FILES, ['ckpt/vae/../../../evil', someBytes(10, 1)], [`${T5}\\..\\x`, someBytes(10, 1)]]);
    evil.set(`${WEIGHTS}/model.safetensors.index.json`, Buffer.from('{"weight_map":{"a":"../../../../evil"}}'));
    await start(undefined, { files: evil });
    await expect(load()).rejects.toThrow(/must name a file in the same folder/);
    evil.set(`${WEIGHTS}/model.safetensors.index.json`, FILES.get(`${WEIGHTS}/model.safetensors.index.json`)!);
    await load();
    expect(filesBelow(home).filter((path) => path.includes('evil'))).toEqual([]);
  });

  it('of a disk that is too small', async () => {
    await start();
    vi.mocked(statfs).mockResolvedValueOnce({ bavail: 100, bsize: 1000 } as never);
    await expect(load()).rejects.toThrow(/: 1\.44 MiB are still to come, and the disk has 97\.65 KiB left$/);
    expect(filesBelow(home)).toEqual([]);
  });

  it('of a folder that is a file', async () => {
    await start();
    const localDir = join(temporaryFolder(), 'file');
    writeFileSync(localDir, '');
    await expect(load({ localDir })).rejects.toThrow(/^\/.*file.*: /);
    expect(readFileSync(localDir, 'utf8')).toBe('');
  });

  it('of a second download at the same time', async () => {
    await start((seen) => (seen.kind === 'large' ? { pace: 400_000 } : undefined));
    const first = load();
    await vi.waitFor(() => expect(filesBelow(home).join()).toContain('magi1-download'), { timeout: 5000 });
    await expect(load()).rejects.toThrow(/download of sand-ai\/MAGI-1: process \d+ is writing it/);
    await first;
    expectComplete(snapshot());
  });
});

it('a .zst beside a shard is taken instead of it, as when the checkpoint is opened', async () => {
  await start(undefined, { files: new Map([...FILES, [`${SHARD}.zst`, someBytes(5000, 3)]]) });
  const plan = await planDownload(REPOSITORY, { model: MODEL });
  expect(plan.files.map(({ path }) => path)).toContain(`${SHARD}.zst`);
  expect(plan.files.map(({ path }) => path)).not.toContain(SHARD);
});

it('every published model can be planned', async () => {
  const weights = (folder: string) => [`${folder}/model.safetensors`, someBytes(2000, 1)] as const;
  const folders = ['4.5B_base/inference_weight', '4.5B_distill/inference_weight.distill'];
  folders.push('4.5B_distill_quant/inference_weight.fp8.distill', '24B_base/inference_weight');
  folders.push('24B_distill/inference_weight.distill', '24B_distill_quant/inference_weight.fp8.distill');
  await start(undefined, { files: new Map([...FILES, ...folders.map((folder) => weights(`ckpt/magi/${folder}`))]) });
  for (const [i, model] of PUBLISHED_MODELS.entries()) {
    const { files, modelFolder } = await planDownload(REPOSITORY, { model });
    expect(files.map(({ path }) => path)).toContain(`ckpt/magi/${folders[i]!}/model.safetensors`);
    expect(modelFolder.endsWith(join('magi1', model))).toBe(true);
  }
});

it('a model opens over the network as it does from the disk', async () => {
  const { httpFolder } = await import('@magi1/core');
  const { openCheckpoint } = await import('@magi1/loaders');
  const files = new Map(
    filesBelow(TINY_MODEL).map((path) => [path.replaceAll('\\', '/'), readFileSync(join(TINY_MODEL, path))] as const),
  );
  await start((seen, number) => (seen.kind !== 'api' && number % 3 === 1 ? { cutAfter: 5000 } : undefined), { files });
  const sizes = new Map([...files].map(([path, bytes]) => [path, bytes.length]));
  const folder = httpFolder(`${hub.endpoint}/${REPOSITORY}/resolve/main`, { files: sizes, firstWait: 0.01 });
  for (const part of ['vae', 't5/t5-v1_1-xxl']) {
    const [near, far] = await Promise.all([openCheckpoint(join(TINY_MODEL, part)), openCheckpoint(folder.at(part))]);
    expect(far.names()).toEqual(near.names());
    for (const name of near.names().filter((_, i) => i % 9 === 0))
      expect(await far.read(name), name).toEqual(await near.read(name));
    await Promise.all([near.close(), far.close()]);
  }
  const model = await readModelFolder(folder);
  expect(model.missing).toEqual([]);
  await expect(folder.at('none').list()).rejects.toThrow(/none: there is no such folder/);
  await expect(folder.open('vae/none')).rejects.toThrow(/vae\/none: there is no such file/);
});

describe('settings', () => {
  beforeEach(() => start());
  it.each<[string, Record<string, string>, object]>([
    ['nothing', { HOME: '/h' }, { cache: expect.stringMatching(/[\\/]\.cache[\\/]huggingface[\\/]hub$/) as string }],
    ['XDG_CACHE_HOME', { XDG_CACHE_HOME: '/x' }, { cache: '/x/huggingface/hub' }],
    ['HF_HOME', { XDG_CACHE_HOME: '/x', HF_HOME: '/y' }, { cache: '/y/hub' }],
    ['HF_HOME with a variable', { HF_HOME: '$A/y', A: '/a' }, { cache: '/a/y/hub' }],
    ['HF_HUB_CACHE', { HF_HOME: '/y', HF_HUB_CACHE: '/z' }, { cache: '/z' }],
    ['HF_TOKEN', { HF_TOKEN: ' hf_a\n' }, { token: 'hf_a' }],
    ['no implicit token', { HF_TOKEN: 'hf_a', HF_HUB_DISABLE_IMPLICIT_TOKEN: '1' }, { token: undefined }],
    ['HF_ENDPOINT', { HF_ENDPOINT: 'https://mirror' }, { endpoint: 'https://mirror' }],
  ])('%s', (_, variables, expected) => {
    expect(hubSettings(variables)).toMatchObject(expected);
  });

  it('a token that was stored by a login', () => {
    writeFileSync(join(home, 'token'), 'hf_stored');
    expect(hubSettings({ HF_HOME: home }).token).toBe('hf_stored');
  });

  it.each([
    [{ HF_HUB_OFFLINE: '1' }, 'HF_HUB_OFFLINE is set: nothing can be downloaded'],
    [{ HF_ENDPOINT: 'mirror' }, 'HF_ENDPOINT: a URL as in https://huggingface.co expected, got "mirror"'],
    [{ HF_TOKEN: 'hf_\nx' }, 'HF_TOKEN: holds characters that no token has'],
  ])('%o are refused', (variables, message) => {
    expect(() => hubSettings(variables)).toThrow(message);
  });
});
