// Checkpoints as users have them: folders of shards, compressed shards, lists of files; streamed in bounded memory.
import { mkdir, mkdtemp, open, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { bytesSource, encodeSafetensors, openCheckpoint, openFile, openSafetensors, ZstdSource } from '@magi1/loaders';
import type { Folder, StreamProgress } from '@magi1/loaders';
import { asBytes, FileFormatError } from '@magi1/tensor';
import type { HostTensor } from '@magi1/tensor';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { blobFolder } from '../../../tests/support/blob-folder.ts';
import { conformanceRoots } from '../../../tests/support/conformance.ts';
import { concat, zstdFrame } from './testing-zstd.ts';

let root: string;
beforeAll(async () => void (root = await mkdtemp(join(tmpdir(), 'loaders-'))));
afterAll(() => rm(root, { recursive: true }));

function ramp(length: number, start: number): HostTensor {
  return { dtype: 'f32', shape: [length], data: Float32Array.from({ length }, (_, i) => start + i) };
}

const FIRST = new Map([
  ['layer.0.weight', ramp(5, 0)],
  ['layer.0.bias', ramp(2, 10)],
]);
const SECOND = new Map([['layer.1.weight', ramp(50_000, 20)]]);
const SHARD_1 = 'model-00001-of-00002.safetensors';
const SHARD_2 = 'model-00002-of-00002.safetensors';
const MAP: Record<string, string> = { 'layer.0.weight': SHARD_1, 'layer.0.bias': SHARD_1, 'layer.1.weight': SHARD_2 };

async function folder(files: Record<string, Uint8Array | string>): Promise<string> {
  const path = await mkdtemp(join(root, 'checkpoint-'));
  for (const [name, content] of Object.entries(files)) await writeFile(join(path, name), content);
  return path;
}
const index = (weightMap: Record<string, string>) => JSON.stringify({ metadata: {}, weight_map: weightMap });

async function sharded(change: Record<string, Uint8Array | string | undefined> = {}): Promise<string> {
  const files: Record<string, Uint8Array | string | undefined> = {
    'model.safetensors.index.json': index(MAP),
    [SHARD_1]: await encodeSafetensors(FIRST),
    [SHARD_2]: await encodeSafetensors(SECOND),
    ...change,
  };
  return folder(
    Object.fromEntries(Object.entries(files).filter(([, content]) => content !== undefined)) as Record<
      string,
      Uint8Array
    >,
  );
}

async function values(path: string | Folder): Promise<Map<string, number[]>> {
  const checkpoint = await openCheckpoint(path);
  const found = new Map<string, number[]>();
  for await (const { name, tensor } of checkpoint.stream()) found.set(name, Array.from(tensor.data));
  await checkpoint.close();
  return found;
}

const EXPECTED = new Map([...FIRST, ...SECOND].map(([name, { data }]) => [name, [...data]]));

describe('shards and index', () => {
  test('a folder, its index file, and the same files as Blobs', async () => {
    const path = await sharded();
    expect(await values(path)).toEqual(EXPECTED);
    expect(await values(join(path, 'model.safetensors.index.json'))).toEqual(EXPECTED);
    const names = [SHARD_2, 'model.safetensors.index.json', SHARD_1];
    const blobs = names.map(async (name) => [name, new Blob([await readFile(join(path, name))])] as const);
    expect(await values(blobFolder(new Map(await Promise.all(blobs)), 'files'))).toEqual(EXPECTED);
  });

  test('compressed shards are preferred to plain ones', async () => {
    const wrong = await encodeSafetensors(new Map([['layer.1.weight', ramp(50_000, 99)]]));
    const path = await sharded({
      [SHARD_2]: wrong,
      [`${SHARD_2}.zst`]: zstdFrame(await encodeSafetensors(SECOND), {
        checksum: true,
        contentSize: true,
        block: 5000,
      }),
      [SHARD_1]: undefined,
      [`${SHARD_1}.zst`]: zstdFrame(await encodeSafetensors(FIRST)),
    });
    expect(await values(path)).toEqual(EXPECTED);
  });

  test.each<[string, Record<string, Uint8Array | string | undefined>, RegExp]>([
    ['a missing shard', { [SHARD_2]: undefined }, /shard model-00002-of-00002\.safetensors.* is missing/],
    [
      'an index that names a tensor its shard lacks',
      { 'model.safetensors.index.json': index({ ...MAP, 'layer.9.weight': SHARD_1 }) },
      /model-00001.*lacks tensor "layer\.9\.weight"/,
    ],
    [
      'an index that leaves the folder',
      { 'model.safetensors.index.json': index({ x: '../x' }) },
      /same folder, found "\.\.\/x"/,
    ],
    ['an empty index', { 'model.safetensors.index.json': index({}) }, /names no tensors/],
    ['an index without a map', { 'model.safetensors.index.json': '{}' }, /'weight_map'/],
    ['an index that is not JSON', { 'model.safetensors.index.json': '{' }, /invalid JSON/],
    ['shards without an index', { 'model.safetensors.index.json': undefined }, /no index file/],
    ['two indices', { 'other.safetensors.index.json': index(MAP) }, /more than one index/],
    ['a corrupt compressed shard', { [`${SHARD_2}.zst`]: 'not zstd' }, /no zstd frame/],
  ])('%s is an error', async (_, change, message) => {
    const error: unknown = await openCheckpoint(await sharded(change)).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(FileFormatError);
    expect((error as Error).message).toMatch(message);
  });

  test('a tensor in two shards is an error', async () => {
    const twice = await encodeSafetensors(new Map([...SECOND, ['layer.0.bias', ramp(2, 0)]]));
    await expect(openCheckpoint(await sharded({ [SHARD_2]: twice }))).rejects.toThrow(
      /"layer\.0\.bias" is in .*model-00001.* and in .*model-00002/,
    );
  });

  test('folders without a checkpoint', async () => {
    await expect(openCheckpoint(join(root, 'nowhere'))).rejects.toThrow(/nowhere: there is no such file or folder/);
    await expect(openCheckpoint(await folder({}))).rejects.toThrow(/no checkpoint, .* it is empty/);
    await expect(openCheckpoint(await folder({ 'a.txt': 'x' }))).rejects.toThrow(/found a\.txt/);
    const bytes = await encodeSafetensors(FIRST);
    await expect(openCheckpoint(await folder({ 'a.safetensors': bytes, 'b.safetensors': bytes }))).rejects.toThrow(
      /which checkpoint\?/,
    );
    const single = await folder({ 'diffusion_pytorch_model.safetensors': bytes, 'other.safetensors': bytes });
    const opened = await openCheckpoint(single);
    expect(opened.names()).toEqual(['layer.0.bias', 'layer.0.weight']);
    await opened.close();
    const odd = join(await folder({}), 'folder.safetensors');
    await mkdir(odd);
    await expect(openFile(odd)).rejects.toThrow(/expected a file, found a folder/);
  });
});

describe('stream', () => {
  test('goes through the shards in file order, whatever order is asked for, and reports progress', async () => {
    const checkpoint = await openCheckpoint(await sharded());
    const progress: StreamProgress[] = [];
    const order: string[] = [];
    const wanted = ['layer.1.weight', 'layer.0.weight'];
    for await (const { name } of checkpoint.stream(wanted, { onProgress: (step) => progress.push(step) }))
      order.push(name);
    expect(order).toEqual(['layer.0.weight', 'layer.1.weight']);
    expect(
      progress.map(({ shardIndex, shardCount, bytes, total, tensor }) => [
        shardIndex,
        shardCount,
        bytes,
        total,
        tensor,
      ]),
    ).toEqual([
      [0, 2, 0, 200_020, undefined],
      [0, 2, 20, 200_020, 'layer.0.weight'],
      [1, 2, 20, 200_020, undefined],
      [1, 2, 200_020, 200_020, 'layer.1.weight'],
    ]);
    expect(progress[3]).toMatchObject({ shardBytes: 200_000, shardTotal: 200_000 });
    await expect(checkpoint.stream(['layer.7']).next()).rejects.toThrow(/no tensor named "layer\.7" among its 3/);
    await checkpoint.close();
  });

  test('stops at once when aborted', async () => {
    const checkpoint = await openCheckpoint(await sharded());
    const controller = new AbortController();
    const seen: string[] = [];
    const run = async (): Promise<void> => {
      for await (const { name } of checkpoint.stream(undefined, { signal: controller.signal })) {
        seen.push(name);
        controller.abort(new Error('enough'));
      }
    };
    await expect(run()).rejects.toThrow('enough');
    expect(seen).toHaveLength(1);
    await checkpoint.close();
  });

  test('holds one tensor, whatever the size of the file', async () => {
    // A sparse file of 64 tensors of 8 MiB: half a GiB without the disk space.
    const size = 8 << 20;
    const count = 64;
    const entries = Array.from(
      { length: count },
      (_, i) => `"t${i}":{"dtype":"BF16","shape":[${size / 2}],"data_offsets":[${i * size},${(i + 1) * size}]}`,
    );
    const json = new TextEncoder().encode(`{${entries.join(',')}}`);
    const head = new Uint8Array(8 + json.length);
    new DataView(head.buffer).setBigUint64(0, BigInt(json.length), true);
    head.set(json, 8);
    const path = join(root, 'large.safetensors');
    const handle = await open(path, 'w');
    await handle.write(head);
    await handle.truncate(head.length + count * size);
    await handle.close();

    const checkpoint = await openCheckpoint(path);
    const before = process.memoryUsage().arrayBuffers;
    const buffers = new Set<ArrayBufferLike>();
    let peak = 0;
    let seen = 0;
    for await (const { tensor } of checkpoint.stream(undefined, { reuseBuffer: true })) {
      seen++;
      buffers.add(tensor.data.buffer);
      peak = Math.max(peak, process.memoryUsage().arrayBuffers - before);
    }
    expect([seen, buffers.size]).toEqual([count, 1]);
    expect(peak).toBeLessThan(size + (1 << 20));
    await checkpoint.close();
  });
});

describe('zstd', () => {
  /** Same generator as wrote files/words-200000.zst. */
  function words(length: number): Uint8Array {
    const list = ['alpha ', 'beta ', 'gamma ', 'delta ', 'epsilon ', 'zeta ', 'eta ', 'theta '];
    let state = 12345;
    let text = '';
    while (text.length < length) {
      state = Number((BigInt(state) * 1103515245n + 12345n) & 0x7fffffffn);
      text += list[(state >> 16) & 7]!.repeat(1 + ((state >> 20) & 1));
      if (((state >> 24) & 63) === 0) text += '\0'.repeat(5000);
    }
    return new TextEncoder().encode(text.slice(0, length));
  }
  const source = (bytes: Uint8Array) => new ZstdSource(bytesSource(bytes, 'test.zst'));

  test('a frame of the real compressor, forwards, backwards and in pieces', async () => {
    const zst = source(await readFile(join(import.meta.dirname, '../../../tests/files', 'words-200000.zst')));
    const expected = words(200_000);
    expect(Buffer.compare(await zst.read(0, 200_000), expected)).toBe(0);
    await zst.expectEnd(200_000);
    expect(await zst.read(100, 50)).toEqual(expected.subarray(100, 150));
    expect(await zst.read(131_000, 500)).toEqual(expected.subarray(131_000, 131_500));
    const [a, b] = await Promise.all([zst.read(199_000, 1000), zst.read(5, 10)]);
    expect([a, b]).toEqual([expected.subarray(199_000), expected.subarray(5, 15)]);
    await expect(zst.read(199_999, 2)).rejects.toThrow(
      /truncated, 200001 decompressed bytes are needed but it ends at 200000/,
    );
    await expect(zst.expectEnd(199_999)).rejects.toThrow(/bytes after/);
  });

  test('several frames, skippable frames, tiny and empty ones', async () => {
    const skippable = Uint8Array.of(0x51, 0x2a, 0x4d, 0x18, 3, 0, 0, 0, 1, 2, 3);
    const data = words(1000);
    const frames = [
      zstdFrame(data.subarray(0, 1)),
      skippable,
      zstdFrame(new Uint8Array(0), { checksum: true }),
      zstdFrame(data.subarray(1, 9), { block: 1 }),
      zstdFrame(data.subarray(9), { checksum: true, contentSize: true, block: 100 }),
      zstdFrame(new Uint8Array(1000), { checksum: true }),
      skippable,
    ];
    const zst = source(concat(frames));
    expect(Buffer.compare(await zst.read(0, 2000), concat([data, new Uint8Array(1000)]))).toBe(0);
    await zst.expectEnd(2000);
  });

  test('corrupt data is refused, wherever it is damaged', async () => {
    const good = new Uint8Array(await readFile(join(import.meta.dirname, '../../../tests/files', 'words-200000.zst')));
    const expected = words(200_000);
    for (let at = 0; at < good.length; at += 7) {
      const bad = good.slice();
      bad[at]! ^= 1 << (at & 7);
      const zst = source(bad);
      const result: unknown = await zst
        .read(0, 200_000)
        .then(async (bytes) => (await zst.expectEnd(200_000), bytes))
        .catch((error: unknown) => error);
      if (result instanceof Uint8Array) expect(Buffer.compare(result, expected)).toBe(0);
      else expect(result, `byte ${at}`).toBeInstanceOf(FileFormatError);
    }
    for (const length of [0, 3, 5, 12, 1000, good.length - 1]) {
      const zst = source(good.slice(0, length));
      await expect(zst.read(0, 200_000).then(() => zst.expectEnd(200_000))).rejects.toThrow(FileFormatError);
    }
  });

  test('a window beyond 128 MiB and a needed dictionary are refused before memory is taken', async () => {
    const window = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 18 << 3, 1, 0, 0);
    await expect(
      source(window)
        .read(0, 0)
        .then(() => source(window).read(0, 1)),
    ).rejects.toThrow(/window of 268435456 bytes/);
    const dictionary = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 1, 0, 7, 1, 0, 0);
    await expect(source(dictionary).read(0, 1)).rejects.toThrow(/dictionary/);
    const block = Uint8Array.of(0x28, 0xb5, 0x2f, 0xfd, 0, 0, 0xfb, 0xff, 0xff, 7);
    await expect(source(block).read(0, 1)).rejects.toThrow(/invalid block/);
  });

  test('a bomb is decoded a block at a time', async () => {
    // 64 MiB of zeros in RLE blocks of 4 bytes: 2 KiB of input that must not become 64 MiB of memory.
    const block = 128 << 10;
    const bomb = source(zstdFrame(new Uint8Array(64 << 20)));
    const piece = new Uint8Array(block);
    for (let index = 0; index < 512; index++) {
      await bomb.read(index * block, block, piece);
      // The frame header, the block asked for, and at most two more: fzstd starts once it has 18 bytes.
      expect(bomb.compressedPosition).toBeLessThanOrEqual(6 + 4 * (index + 3));
    }
    await bomb.expectEnd(64 << 20);
  });

  test('the size of a compressed safetensors file is checked at its end', async () => {
    const bytes = await encodeSafetensors(FIRST);
    const read = async (data: Uint8Array) => {
      const file = await openSafetensors(source(zstdFrame(data)));
      for (const name of file.tensors.keys()) await file.readTensor(name);
    };
    await read(bytes);
    await expect(read(concat([bytes, Uint8Array.of(0)]))).rejects.toThrow(/bytes after the last tensor/);
    await expect(read(bytes.slice(0, -1))).rejects.toThrow(/truncated/);
  });
});

const { root: kit, kind } = conformanceRoots();
// Not copied into the repository: conformanceRoots says so when they are not beside it.
if (kind === 'shared')
  describe('conformance folders', () => {
    function same(name: string, a: HostTensor, b: HostTensor): void {
      expect([a.dtype, a.shape, Buffer.compare(asBytes(a.data), asBytes(b.data))], name).toEqual([b.dtype, b.shape, 0]);
    }
    test('sharded and single DiT weights are the same', async () => {
      const single = await openCheckpoint(join(kit, 'dit', 'tiny-4.5b'));
      const shards = await openCheckpoint(join(kit, 'dit', 'tiny-4.5b-sharded'));
      expect(shards.names().sort()).toEqual(single.names().sort());
      for await (const { name, tensor } of shards.stream()) same(name, tensor, await single.read(name));
      await Promise.all([single.close(), shards.close()]);
    });
    test('T5 from .bin shards and from safetensors are the same', async () => {
      const safe = await openCheckpoint(join(kit, 't5', 'model'));
      const torch = await openCheckpoint(join(kit, 't5', 'model'), { prefer: 'torch' });
      expect(torch.names().filter((name) => !safe.has(name))).toEqual(['encoder.embed_tokens.weight']);
      for (const name of safe.names()) same(name, await torch.read(name), await safe.read(name));
      same('embedding', await torch.read('encoder.embed_tokens.weight'), await torch.read('shared.weight'));
      await Promise.all([safe.close(), torch.close()]);
    });
  });
