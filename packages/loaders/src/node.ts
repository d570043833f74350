// Node's own modules, found at run time without an import: bundlers for browsers see nothing to resolve.
import { Magi1Error, describeValue } from '@magi1/tensor';

interface Builtins {
  readonly 'node:fs/promises': typeof import('node:fs/promises');
  readonly 'node:path': typeof import('node:path');
  readonly 'node:url': typeof import('node:url');
  readonly 'node:zlib': typeof import('node:zlib');
}

/** Undefined outside Node. */
export function nodeBuiltin<K extends keyof Builtins>(name: K): Builtins[K] | undefined {
  const { process } = globalThis as { process?: { getBuiltinModule?: (name: string) => unknown } };
  return process?.getBuiltinModule?.(name) as Builtins[K] | undefined;
}

/** @throws Magi1Error outside Node. */
export function requireNode<K extends keyof Builtins>(name: K): Builtins[K] {
  const found = nodeBuiltin(name);
  if (!found) throw new Magi1Error('files by path need Node 20.16 or later; give Blobs or other byte sources instead');
  return found;
}

const SCHEME = /^[a-z][a-z0-9+.-]+:\/\//i;

/**
 * The path of a file or folder that a user names.
 * @throws Magi1Error for what is no path, and for URLs of another kind than `file:`
 */
export function localPath(where: string | URL): string {
  if (where === '' || (typeof where !== 'string' && !((where as unknown) instanceof URL)))
    throw new Magi1Error(`a path expected, got ${describeValue(where)}`);
  if (typeof where === 'string' && !SCHEME.test(where)) return where;
  const { protocol } = new URL(where);
  if (protocol === 'file:') return requireNode('node:url').fileURLToPath(where);
  throw new Magi1Error(
    `${String(where)}: nothing is read over ${protocol.slice(0, -1)} here; download it and name the file or folder on the disk`,
  );
}
