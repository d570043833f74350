// Where downloaded files lie: the cache that Python's huggingface_hub has as well, or a plain folder. A file grows under
// another name and takes its own when it is complete.
import { mkdir, readFile, readlink, rename, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve } from 'node:path';
import { codeOf } from '../../media/node/move.ts';
import type { HubFile, HubRepository } from '../repository.ts';

/** Complete, of the right size but never checked, or not there. */
export type FileState = 'here' | 'unchecked' | 'missing';

export interface Store {
  /** The folder that holds the repository's files by their paths. */
  readonly root: string;
  /** A name for the folder that a download at work reserves. */
  readonly lock: string;
  /** From `root`: the folder that is the model's, with its config. */
  modelFolder(model: string): string;
  state(file: HubFile): Promise<FileState>;
  /** The file itself, which may not be there. */
  path(file: HubFile): string;
  /** Where a file grows. */
  partial(file: HubFile): string;
  /** Gives a complete file its name. */
  place(file: HubFile): Promise<void>;
  /** A file that was found under its name has turned out to be the right one. */
  confirm(file: HubFile): Promise<void>;
  /** All files of a model are there. */
  finish(): Promise<void>;
}

/** Of a file, behind links; undefined where there is none. */
export async function sizeOf(path: string): Promise<number | undefined> {
  try {
    const facts = await stat(path);
    return facts.isFile() ? facts.size : undefined;
  } catch (error) {
    if (['ENOENT', 'ENOTDIR'].includes(codeOf(error))) return undefined;
    throw error;
  }
}

async function inFolder(path: string): Promise<string> {
  await mkdir(dirname(path), { recursive: true });
  return path;
}

/** A small file, at once or not at all. Under the store's lock: what a run that was killed left is written over. */
export async function writeWhole(path: string, text: string): Promise<void> {
  const growing = `${await inFolder(path)}.incomplete`;
  await writeFile(growing, text);
  await rename(growing, path);
}

/** `blobs` by content, `snapshots` of links by commit, `refs` from branches and tags to commits. */
export function cacheStore(cache: string, { name, commit, revision }: HubRepository): Store {
  const called = `models--${name.replace('/', '--')}`;
  const home = join(resolve(cache), called);
  const root = join(home, 'snapshots', commit);
  const blob = ({ etag }: HubFile) => join(home, 'blobs', etag);
  const path = (file: HubFile) => join(root, file.path);
  const partial = (file: HubFile) => `${blob(file)}.incomplete`;
  const link = async (file: HubFile): Promise<void> => {
    const from = await inFolder(path(file));
    const target = relative(dirname(from), blob(file));
    if ((await readlink(from).catch(() => undefined)) === target) return;
    await rm(from, { force: true });
    try {
      await symlink(target, from);
    } catch (error) {
      // Windows without the right to make links: the file itself lies there, as huggingface_hub has it then.
      if (!['EPERM', 'ENOTSUP', 'ENOSYS'].includes(codeOf(error))) throw error;
      await rename(blob(file), from);
    }
  };
  return {
    root,
    lock: join(resolve(cache), '.locks', called, 'magi1-download'),
    modelFolder: (model) => join('magi1', model),
    async state(file) {
      if ((await sizeOf(path(file))) === file.size) return 'here';
      if ((await sizeOf(blob(file))) !== file.size) return 'missing';
      return 'here';
    },
    path,
    partial,
    async place(file) {
      await rename(partial(file), blob(file));
      await link(file);
    },
    confirm: link,
    async finish() {
      if (revision === commit) return;
      await writeWhole(join(home, 'refs', ...revision.split('/')), commit);
    },
  };
}

/** The repository's paths below a folder; what is known of them is in `.cache/huggingface`, in huggingface_hub's format. */
export function localStore(folder: string, { commit }: HubRepository): Store {
  const root = resolve(folder);
  const facts = join(root, '.cache', 'huggingface', 'download');
  const path = (file: HubFile) => join(root, file.path);
  const partial = (file: HubFile) => join(facts, `${file.path}.${file.etag}.incomplete`);
  const metadata = (file: HubFile) => join(facts, `${file.path}.metadata`);
  const confirm = async (file: HubFile): Promise<void> => {
    await writeWhole(metadata(file), `${commit}\n${file.etag}\n${Date.now() / 1000}\n`);
  };
  return {
    root,
    lock: join(facts, 'magi1-download'),
    modelFolder: () => '.',
    async state(file) {
      if ((await sizeOf(path(file))) !== file.size) return 'missing';
      const text = await readFile(metadata(file), 'utf8').catch(() => '');
      const [, etag, time] = text.split('\n');
      const changed = (await stat(path(file))).mtimeMs / 1000 > Number(time) + 1;
      return etag === file.etag && !changed ? 'here' : 'unchecked';
    },
    path,
    partial,
    async place(file) {
      await rename(partial(file), await inFolder(path(file)));
      await confirm(file);
    },
    confirm,
    finish: async () => {
      await writeWhole(join(root, '.cache', 'huggingface', '.gitignore'), '*\n');
    },
  };
}
