// Programs outside the packages are compiled, because Node 20 does not run TypeScript.
import { existsSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { adapterEnvironment } from './adapter.mjs';
import { ensureBuilt, ensureInstalled } from './bootstrap.mjs';
import { foreground, ROOT, Stop } from './processes.mjs';

/**
 * Builds a folder with an index.ts and runs it.
 * @param {string} folder @param {readonly string[]} nodeArgs @param {readonly string[]} args
 */
export async function runCompiled(folder, nodeArgs, args) {
  await ensureInstalled();
  await ensureBuilt(folder);
  const compiled = join(ROOT, 'node_modules', '.cache', 'tsc', folder);
  const entry = join(compiled, 'index.js');
  if (!existsSync(entry)) throw new Stop(`${entry} is missing after the build.`);
  // Below node_modules no package.json further up counts, and .js would mean CommonJS.
  writeFileSync(join(compiled, 'package.json'), '{ "type": "module" }\n');
  const { env } = await adapterEnvironment();
  return foreground(process.execPath, [...nodeArgs, entry, ...args], { env: { ...process.env, ...env } });
}
