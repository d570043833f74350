// A Folder of Blobs by path, as a browser hands them over: what another kind of Folder takes.
import { NotFoundError, blobSource } from '@magi1/loaders';
import type { Folder } from '@magi1/loaders';

export function blobFolder(files: ReadonlyMap<string, Blob>, name: string, prefix = ''): Folder {
  return {
    name,
    list: async ({ signal } = {}) => {
      signal?.throwIfAborted();
      const below = [...files.keys()].filter((path) => path.startsWith(prefix));
      if (below.length === 0) throw new NotFoundError(`${name}: there is no such folder`);
      return Promise.resolve([...new Set(below.map((path) => path.slice(prefix.length).split('/')[0]!))].sort());
    },
    open: async (path, { signal } = {}) => {
      signal?.throwIfAborted();
      const blob = files.get(prefix + path);
      if (blob === undefined) throw new NotFoundError(`${name}/${path}: there is no such file`);
      return Promise.resolve(blobSource(blob, `${name}/${path}`));
    },
    at: (path) => blobFolder(files, `${name}/${path}`, `${prefix}${path}/`),
  };
}
