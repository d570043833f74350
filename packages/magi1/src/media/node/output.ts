// Where results go: checks before any work, names of temporary files, the sidecar.
import { rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, extname, join, resolve } from 'node:path';
import { Magi1Error } from '@magi1/tensor';
import { outputKind, type OutputKind } from '../output-kind.ts';

async function statOrUndefined(path: string): Promise<Awaited<ReturnType<typeof stat>> | undefined> {
  try {
    return await stat(path);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'ENOENT' || code === 'ENOTDIR') return undefined;
    throw new Magi1Error(`output ${path}: cannot be looked at (${code ?? String(error)})`);
  }
}

/** Makes a file in `folder` and removes it: permission bits alone say little to root or on a read-only disk. */
async function requireWritableFolder(folder: string, output: string): Promise<void> {
  const probe = join(folder, `.magi1-${process.pid}-${crypto.randomUUID()}`);
  try {
    await writeFile(probe, '', { flag: 'wx' });
    await rm(probe);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    throw new Magi1Error(
      `output ${output}: ${folder} is not writable (${code ?? String(error)}); choose another place`,
    );
  }
}

/** Throws unless `path` can be written: an mp4 in an existing folder, or a folder (its parent must exist). Leaves nothing behind. */
export async function checkOutputPath(path: string): Promise<OutputKind> {
  const kind = outputKind(path);
  const target = resolve(path);
  const existing = await statOrUndefined(target);
  if (existing !== undefined) {
    if (kind === 'mp4' && !existing.isFile()) {
      throw new Magi1Error(`output ${path}: it exists and is no regular file; name another file`);
    }
    if (kind === 'png' && !existing.isDirectory()) {
      throw new Magi1Error(`output ${path}: a file of that name exists; name a folder, or a file ending in .mp4`);
    }
    if (kind === 'png') await requireWritableFolder(target, path);
  }
  const parent = dirname(target);
  const folder = await statOrUndefined(parent);
  if (folder === undefined)
    throw new Magi1Error(`output ${path}: the folder ${parent} does not exist; create it first`);
  if (!folder.isDirectory()) throw new Magi1Error(`output ${path}: ${parent} is not a folder`);
  if (kind === 'mp4' || existing === undefined) await requireWritableFolder(parent, path);
  return kind;
}

/** Throws unless a PNG file can be written there: in an existing folder that is writable. Leaves nothing behind. */
export async function checkPngPath(path: string): Promise<void> {
  if (extname(path).toLowerCase() !== '.png') throw new Magi1Error(`output ${path}: a name ending in .png expected`);
  const target = resolve(path);
  const [existing, folder] = [await statOrUndefined(target), await statOrUndefined(dirname(target))];
  if (existing !== undefined && !existing.isFile())
    throw new Magi1Error(`output ${path}: it exists and is no regular file; name another file`);
  if (folder?.isDirectory() !== true)
    throw new Magi1Error(`output ${path}: the folder ${dirname(target)} does not exist; create it first`);
  await requireWritableFolder(dirname(target), path);
}

/** `clip.mp4` -> `clip.<word>.mp4`, in the same folder so that a rename stays on one file system. */
export function besides(path: string, word: string): string {
  const extension = extname(path);
  return join(dirname(path), `${basename(path, extension)}.${word}${extension}`);
}

/** Where a writer puts unfinished output: the path itself while nothing is there to lose, else a name beside it. */
export async function workingPath(path: string): Promise<string> {
  return (await statOrUndefined(path)) === undefined ? path : besides(path, 'partial');
}

/** Writes to a name beside `path` and renames, so that a reader never meets half a file. */
export async function writeWhole(path: string, data: Uint8Array | string): Promise<void> {
  const temporary = `${path}.${process.pid}.tmp`;
  try {
    await writeFile(temporary, data);
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

/** Writes the facts of a run as `<output>.json` beside the output; returns that path. */
export async function writeSidecar(output: string, facts: object): Promise<string> {
  const path = `${resolve(output)}.json`;
  await writeWhole(path, `${JSON.stringify(facts, null, 2)}\n`);
  return path;
}
