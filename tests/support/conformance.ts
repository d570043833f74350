// Where the golden vectors are: beside the repository when the shared folder is there, else the copies in fixtures.
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

export interface ConformanceRoot {
  /** Folder with t5/, and in the shared one dit/, vae/, e2e/, media/ too. */
  readonly root: string;
  readonly kind: 'shared' | 'fixtures';
}

const repository = join(dirname(fileURLToPath(import.meta.url)), '..', '..');
let said = false;

/** The conformance folder to test with; says so once when only the repository's own copies are at hand. */
export function conformanceRoots(): ConformanceRoot {
  const shared = join(repository, '..', 'shared', 'conformance');
  if (existsSync(shared)) return { root: shared, kind: 'shared' };
  if (!said) {
    said = true;
    console.warn('conformance: ../shared/conformance is not beside the repository; using tests/fixtures only');
  }
  return { root: join(repository, 'tests', 'fixtures'), kind: 'fixtures' };
}
