// The repository's root: this is run compiled, from a cache folder.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(folder: string): string {
  if (existsSync(join(folder, 'pnpm-workspace.yaml'))) return folder;
  const above = dirname(folder);
  if (above === folder) throw new Error('pnpm-workspace.yaml not found above the evaluation');
  return findRoot(above);
}

export const ROOT = findRoot(dirname(fileURLToPath(import.meta.url)));
