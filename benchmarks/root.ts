// Where the repository is: this code runs compiled, from a folder of its own.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

function findRoot(): string {
  for (let folder = dirname(fileURLToPath(import.meta.url)); ; folder = dirname(folder)) {
    if (existsSync(join(folder, 'pnpm-workspace.yaml'))) return folder;
    if (folder === dirname(folder)) throw new Error('no pnpm-workspace.yaml above the benchmarks');
  }
}

export const ROOT = findRoot();
export const PEERS = join(ROOT, 'benchmarks', 'peers');
