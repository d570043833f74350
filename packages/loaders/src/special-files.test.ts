// Files of a model that are no regular files are refused, and none is waited for; nor is more read than a config has.
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, dirname, join } from 'node:path';
import {
  locate,
  openCheckpoint,
  openFile,
  readJson,
  readNpz,
  readTokenizer,
  nodeFolder,
  withFile,
} from '@magi1/loaders';
import { FileFormatError } from '@magi1/tensor';
import { afterAll, describe, expect, it } from 'vitest';

const folder = mkdtempSync(join(tmpdir(), 'magi1-special-'));
afterAll(() => rmSync(folder, { recursive: true }));

async function json(path: string): Promise<unknown> {
  const { folder: where, file } = await locate(path);
  return readJson(where, file!);
}

const READERS: [string, (path: string) => Promise<unknown>][] = [
  ['config.json', json],
  ['special_tokens.npz', (path) => withFile(nodeFolder(dirname(path)), basename(path), readNpz)],
  ['model.safetensors', openCheckpoint],
  ['any.bin', openFile],
];

describe.runIf(process.platform !== 'win32')('a pipe', () => {
  it.each(READERS)('%s', async (file, read) => {
    const path = join(folder, file);
    execFileSync('mkfifo', [path]);
    const error: unknown = await read(path).catch((cause: unknown) => cause);
    expect(error).toBeInstanceOf(FileFormatError);
    expect((error as Error).message).toContain(`${path}: expected a file, found a special file`);
  });

  it.each(['tokenizer.json', 'spiece.model'])('%s', async (file) => {
    const tokenizer = mkdtempSync(join(folder, 'tokenizer-'));
    execFileSync('mkfifo', [join(tokenizer, file)]);
    await expect(readTokenizer(nodeFolder(tokenizer))).rejects.toThrow(
      `${file}: expected a file, found a special file`,
    );
  });
});

describe.runIf(process.platform !== 'win32')('a device without an end', () => {
  it.each(READERS)('as %s', async (_, read) => {
    await expect(read('/dev/zero')).rejects.toThrow(/\/dev\/zero: expected a file, found a special file/);
  });
});

it('a config of more bytes than any has', async () => {
  const path = join(folder, 'large.json');
  writeFileSync(path, ' '.repeat((4 << 20) + 1));
  await expect(json(path)).rejects.toThrow(/large\.json: a file of 4194305 bytes, at most 4194304 expected/);
});
