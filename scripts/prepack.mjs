// What npm runs in a package's folder before it packs it: builds, drops what no source stands for any more, older bundles
// among it, and puts licence and notice beside it.
import { copyFileSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { basename, join } from 'node:path';
import { ensureBuilt, ensureInstalled } from './bootstrap.mjs';
import { bundle } from './bundle.mjs';
import { ROOT } from './processes.mjs';

const here = process.cwd();
await ensureInstalled();
await ensureBuilt('packages/magi1');
if (basename(here) === 'magi1') await bundle({ keep: 0 });
for (const file of readdirSync(join(here, 'dist'), { recursive: true, encoding: 'utf8' })) {
  if (/^bundle\b/.test(file)) continue;
  const source = file.replace(/(\.d)?\.[jt]s$/, '');
  const known = source === file || ['.ts', '.d.ts'].some((ending) => existsSync(join(here, 'src', source + ending)));
  if (!known || file.endsWith('.map')) rmSync(join(here, 'dist', file));
}
for (const name of ['LICENSE', 'NOTICE']) copyFileSync(join(ROOT, name), join(here, name));
