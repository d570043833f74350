// Moving files so that nothing of anybody else's is replaced, and reading what is there without throwing.
import { copyFileSync, linkSync, lstatSync, readdirSync, renameSync, rmSync, statSync, unlinkSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { dirname, join } from 'node:path';

export const codeOf = (error: unknown): string => (error as NodeJS.ErrnoException).code ?? '';

/** Also of a link to nothing. */
export const exists = (path: string): boolean => lstatSync(path, { throwIfNoEntry: false }) !== undefined;

/** What is there, behind links; undefined for nothing. */
export function statOf(path: string): Stats | undefined {
  try {
    return statSync(path);
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return undefined;
    throw error;
  }
}

export const namesIn = (folder: string): string[] =>
  statOf(folder)?.isDirectory() === true ? readdirSync(folder).sort() : [];

/** In words, for the errors that a disk gives. */
export function reasonOf(error: unknown): string {
  const code = codeOf(error);
  const words = {
    ENOSPC: 'no space is left on the disk',
    EDQUOT: 'the disk quota is used up',
    EFBIG: 'the file grows beyond what is allowed',
    ENOENT: 'its folder or file is gone',
    EROFS: 'the disk is read-only',
    EACCES: 'it may not be written',
    EIO: 'the disk reports an error',
    ENAMETOOLONG: 'the name is too long',
  }[code];
  if (words !== undefined) return `${words} (${code})`;
  return error instanceof Error ? error.message : String(error);
}

const NO_LINKS = ['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EACCES'];

/** Moves a file or folder to a name that is free; false when it is not. Both are on one file system. */
export function moveToFree(from: string, to: string): boolean {
  if (exists(to)) return false;
  try {
    if (statSync(from).isDirectory()) {
      renameSync(from, to); // fails where a folder with something in it, or a file, has come up
      return true;
    }
    linkSync(from, to);
  } catch (error) {
    if (['EEXIST', 'ENOTEMPTY', 'ENOTDIR'].includes(codeOf(error))) return false;
    if (!NO_LINKS.includes(codeOf(error)) || exists(to)) throw error;
    renameSync(from, to);
    return true;
  }
  unlinkSync(from);
  return true;
}

/** Moves a file over another one, which is replaced at once or not at all; also between file systems. */
export function moveOver(from: string, to: string): void {
  try {
    renameSync(from, to);
  } catch (error) {
    if (codeOf(error) !== 'EXDEV') throw error;
    const near = join(dirname(to), `.magi1-${crypto.randomUUID()}`);
    try {
      copyFileSync(from, near);
      renameSync(near, to);
    } finally {
      rmSync(near, { force: true });
    }
    rmSync(from);
  }
}
