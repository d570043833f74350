// What npm runs in a package's folder before it packs it: builds, drops what no source stands for any more, and puts
// licence and notice beside it.
import { copyFileSync, existsSync, readdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { ensureBuilt, ensureInstalled } from './bootstrap.mjs';
import { ROOT } from './processes.mjs';

const here = process.cwd();
await ensureInstalled();
await ensureBuilt('packages/magi1');
for (const file of readdirSync(join(here, 'dist'), { recursive: true, encoding: 'utf8' })) {
  const source = file.replace(/(\.d)?\.[jt]s$/, '');
  const known = source === file || ['.ts', '.d.ts'].some((ending) => existsSync(join(here, 'src', source + ending)));
  if (!known || file.endsWith('.map')) rmSync(join(here, 'dist', file));
}
for (const name of ['LICENSE', 'NOTICE']) copyFileSync(join(ROOT, name), join(here, name));
