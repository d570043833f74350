// Node's own modules, found at run time without an import: bundlers for browsers see nothing to resolve.
import { Magi1Error } from '@magi1/tensor';

interface Builtins {
  readonly 'node:fs/promises': typeof import('node:fs/promises');
  readonly 'node:path': typeof import('node:path');
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
