// The door to a model: paths, file: URLs and Folders of any kind; each file of weights opened once and closed at the end.
import { existsSync, mkdirSync, readFileSync, readdirSync, readlinkSync, realpathSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { pathToFileURL } from 'node:url';
import { encodeSafetensors, nodeFolder } from '@magi1/loaders';
import type { Folder } from '@magi1/loaders';
import {
  Device,
  Magi1Pipeline,
  POCKET_MODEL,
  inspectModel,
  readConfigFile,
  readEnvironment,
  readModelFolder,
} from '@magi1/core';
import type { TextToVideoOptions, TextToVideoRequest } from '@magi1/core';
import { hostArray } from '@magi1/tensor';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { blobFolder } from './support/blob-folder.ts';
import { TINY_MODEL } from './support/cli.ts';
import { TRANSFORMER_FILE, copyTinyModel, editConfig, temporaryFolder, truncate } from './support/tiny-model.ts';

const REQUEST = { prompt: 'a cat', height: 32, width: 32, numFrames: 24 } satisfies TextToVideoRequest;
const SHARD = 'pytorch_model-00002-of-00002.bin';
const WEIGHTS = /\.(safetensors|bin)$/;

let device: Device;
let expected: Uint8Array;
beforeAll(async () => {
  device = await Device.open({ backend: 'wasm' });
  expected = await framesOf(TINY_MODEL);
});
afterAll(async () => {
  expect(device.memory().tensors).toBe(0);
  await device.dispose();
});

async function framesOf(where: string | URL | Folder): Promise<Uint8Array> {
  const pipe = await Magi1Pipeline.fromPretrained(where, { device });
  try {
    return (await pipe(REQUEST)).frames;
  } finally {
    await pipe.dispose();
  }
}

const filesBelow = (folder: string): string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));

/** A folder that counts how often each file is opened, and which are open. */
function counted(folder: Folder, opened: string[], open: Set<string>): Folder {
  return {
    name: folder.name,
    list: (options) => folder.list(options),
    at: (path) => counted(folder.at(path), opened, open),
    open: async (path, options) => {
      const source = await folder.open(path, options);
      opened.push(source.name);
      open.add(source.name);
      return {
        ...source,
        close: () => {
          open.delete(source.name);
          return source.close();
        },
      };
    },
  };
}

describe('a model is opened', () => {
  it('by a file: URL', async () => {
    expect(await framesOf(pathToFileURL(TINY_MODEL))).toEqual(expected);
    expect(await framesOf(pathToFileURL(TINY_MODEL).href)).toEqual(expected);
  });

  it('from Blobs', async () => {
    const blobs = filesBelow(TINY_MODEL).map(
      (file) => [relative(TINY_MODEL, file).replaceAll('\\', '/'), new Blob([readFileSync(file)])] as const,
    );
    expect(await framesOf(blobFolder(new Map(blobs), 'picked'))).toEqual(expected);
  });

  it.each<[string, (where: string | URL) => Promise<unknown>]>([
    ['fromPretrained', (where) => Magi1Pipeline.fromPretrained(where, { device })],
    ['fromConfigFile', (where) => Magi1Pipeline.fromConfigFile(where, { device })],
    ['a LoRA', (source) => Magi1Pipeline.fromPretrained(TINY_MODEL, { device, loras: [{ source }] })],
    [
      'the special tokens',
      (specialTokenPath) => {
        const environment = { ...readEnvironment({ PAD_HQ: '1' }), specialTokenPath };
        return Magi1Pipeline.fromPretrained(TINY_MODEL, { device, environment });
      },
    ],
  ])('not over http: %s', async (_, open) => {
    const message =
      'https://example.org/model: nothing is read over https here; download it and name the file or folder';
    await expect(open('https://example.org/model')).rejects.toThrow(message);
    await expect(open(new URL('https://example.org/model'))).rejects.toThrow(message);
  });

  it('not from a folder without one', async () => {
    await expect(Magi1Pipeline.fromPretrained(temporaryFolder(), { device })).rejects.toThrow(
      /^model folder .*: holds no model, neither config\.json \(the original's layout\) nor model_index\.json \(diffusers\) is in it; name the folder that has one of them$/,
    );
  });

  it('named in messages as it was typed', async () => {
    const folder = relative('.', copyTinyModel());
    truncate(join(folder, TRANSFORMER_FILE), 100);
    rmSync(join(folder, 'vae', 'config.json'));
    const error: unknown = await Magi1Pipeline.fromPretrained(folder, { device }).catch((cause: unknown) => cause);
    const message = (error as Error).message;
    expect(message.startsWith(`${join(folder, TRANSFORMER_FILE)}: `)).toBe(true);
    expect(message).toContain(`; ${join(folder, 'vae', 'config.json')}: there is no such file`);
  });
});

function lora(layer: string, outputs: number, inputs: number): Promise<Uint8Array> {
  const factor = (shape: [number, number]) =>
    ({ dtype: 'f32', shape, data: hostArray('f32', shape[0] * shape[1]).fill(0.01) }) as const;
  return encodeSafetensors(
    new Map([
      [`${layer}.lora_A.weight`, factor([4, inputs])],
      [`${layer}.lora_B.weight`, factor([outputs, 4])],
    ]),
  );
}

describe('files of weights', () => {
  it.each(['false', 'true'])(
    'are opened once, however often they are read, and closed at the end; staged: %s',
    async (staged) => {
      const [opened, open]: [string[], Set<string>] = [[], new Set()];
      const folder = counted(nodeFolder(TINY_MODEL), opened, open);
      const environment = readEnvironment({ OFFLOAD_T5_CACHE: staged });
      const pipe = await Magi1Pipeline.fromPretrained(folder, { device, environment });
      await pipe.loadLora(await lora('videodit_blocks.layers.1.self_attention.linear_proj', 256, 512));
      pipe.fuseLora();
      expect((await pipe(REQUEST)).frames).not.toEqual(expected);
      pipe.unfuseLora(); // the next run reads those weights again
      pipe.unloadLora();
      expect((await pipe(REQUEST)).frames).toEqual(expected);
      const weights = opened.filter((file) => WEIGHTS.test(file)).sort();
      expect(weights).toEqual([...new Set(weights)]);
      expect([...open].sort()).toEqual(weights);
      await pipe.dispose();
      expect(open).toEqual(new Set());
    },
  );

  const descriptors = '/proc/self/fd';
  /** Files below a folder that this process has open. */
  const openBelow = (folder: string): string[] =>
    readdirSync(descriptors).flatMap((name) => {
      const link = join(descriptors, name);
      const file = existsSync(link) ? readlinkSync(link) : '';
      return file.startsWith(realpathSync(folder)) ? [file] : [];
    });

  const NOTHING = () => undefined;
  it.runIf(existsSync(descriptors)).each<[string, RegExp, (folder: string) => void, TextToVideoOptions?]>([
    ['a wrong shard', /00002-of-00002/, (folder) => truncate(join(folder, 't5', 't5-v1_1-xxl', SHARD), 100)],
    [
      'weights that do not fit',
      /num_layers is 2/,
      (folder) => editConfig(folder, (config) => (config.model_config!.num_layers = 2)),
    ],
    ['a missing VAE', /config.json: there is no such file/, (folder) => rmSync(join(folder, 'vae', 'config.json'))],
    [
      'a missing token table',
      /no table of special tokens/,
      (folder) => rmSync(join(folder, 'special_tokens.npz')),
      { request: { ...REQUEST, useHqToken: true } },
    ],
    ['no such device', /tpu/, NOTHING, { device: { backend: 'tpu' as 'wasm' } }],
    ['too little memory', /budget|memory/, NOTHING, { device: { backend: 'wasm', memoryBudget: 1000 } }],
    ['a call that was cancelled', /enough/, NOTHING, { signal: AbortSignal.abort(new Error('enough')) }],
  ])('are closed after %s', async (_, message, damage, options) => {
    const folder = copyTinyModel();
    damage(folder);
    await expect(Magi1Pipeline.fromPretrained(folder, { device, ...options })).rejects.toThrow(message);
    expect(openBelow(folder)).toEqual([]);
  });

  it.runIf(existsSync(descriptors))('are closed after a summary, and by dispose', async () => {
    const folder = copyTinyModel();
    await inspectModel(await readModelFolder(folder), device);
    expect(openBelow(folder)).toEqual([]);
    const pipe = await Magi1Pipeline.fromPretrained(folder, { device });
    expect(openBelow(folder)).toHaveLength(4); // transformer, two shards of T5, VAE
    await pipe.dispose();
    expect(openBelow(folder)).toEqual([]);
  });
});

it('a config of other depth than its files is refused at once, in few words', async () => {
  const folder = copyTinyModel();
  editConfig(folder, (config) => (config.model_config!.num_layers = 512));
  const start = performance.now();
  const error: unknown = await Magi1Pipeline.fromPretrained(folder, { device }).catch((cause: unknown) => cause);
  expect(performance.now() - start).toBeLessThan(1000);
  expect((error as Error).message).toMatch(
    /model\.safetensors does not fit its config: num_layers is 512, the files have 3$/,
  );
});

it('an empty path is refused', async () => {
  await expect(Magi1Pipeline.fromPretrained('', { device })).rejects.toThrow(/a path expected, got ""/);
  await expect(readModelFolder('')).rejects.toThrow(/^a path expected, got ""$/);
  await expect(readConfigFile({} as never)).rejects.toThrow(/^a path, URL or Folder .* expected, got an object$/);
  await expect(readModelFolder(POCKET_MODEL, null as never)).rejects.toThrow(/options: an object expected, got null/);
  const environment = { specialTokenPath: {} } as never;
  await expect(readModelFolder(POCKET_MODEL, { environment })).rejects.toThrow(
    /environment: what readEnvironment gives/,
  );
  mkdirSync(join(temporaryFolder(), 'x'));
  await expect(Magi1Pipeline.fromPretrained({} as Folder, { device })).rejects.toThrow(
    /a path, URL or Folder .* expected, got an object/,
  );
});
