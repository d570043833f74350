// Imports point one way, loaders -> tensor <- kernels <- magi1, and name only what the package declares. Tests, which run
// in the workspace, may use its development dependencies too.
import { readdirSync, readFileSync } from 'node:fs';
import { builtinModules } from 'node:module';
import { join, relative, sep } from 'node:path';
import { filesBelow } from './bootstrap.mjs';
import { ROOT } from './processes.mjs';

/** Workspace packages that each may import. @type {Record<string, string[]>} */
const ALLOWED = {
  tensor: [],
  kernels: ['@magi1/tensor'],
  loaders: ['@magi1/tensor'],
  magi1: ['@magi1/tensor', '@magi1/kernels', '@magi1/loaders'],
};
/** Rooms of magi1 that compute or describe: none knows files, so none imports the loaders. */
const WITHOUT_FILES = ['config', 'layouts', 'media', 'nn', 'sampler', 't5', 'text', 'transformer', 'vae'];

/** Module names in `import`, `export ... from` and `import()`; comments do not count. @param {string} source */
export function importsOf(source) {
  const code = source.replace(/^\s*(\/\/|\*|\/\*).*$/gm, '');
  const pattern = /(?:^\s*(?:import|export)\s[^'"`;]*?from\s*|^\s*import\s*|\bimport\(\s*)['"]([^'"]+)['"]/gm;
  return [...code.matchAll(pattern)].map((match) => /** @type {string} */ (match[1]));
}

/** @param {string} name */
const packageOf = (name) =>
  name
    .split('/')
    .slice(0, name.startsWith('@') ? 2 : 1)
    .join('/');

/** One line per import that breaks a rule. */
export function importProblems() {
  const root = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8'));
  return readdirSync(join(ROOT, 'packages')).flatMap((name) => {
    const folder = join(ROOT, 'packages', name);
    const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
    const declared = Object.keys({
      ...manifest.dependencies,
      ...manifest.peerDependencies,
      ...manifest.optionalDependencies,
    });
    const forTests = [...declared, ...Object.keys({ ...manifest.devDependencies, ...root.devDependencies })];
    const sources = filesBelow(join(folder, 'src')).filter((file) => /\.(ts|mjs)$/.test(file));
    return sources.flatMap((file) => {
      const test = /\.test\.ts$|[/\\]testing[^/\\]*$/.test(file);
      const where = relative(ROOT, file);
      return importsOf(readFileSync(file, 'utf8')).flatMap((imported) => {
        if (imported.startsWith('node:')) return [];
        if (imported.startsWith('.')) {
          const inside = !relative(folder, join(file, '..', imported)).startsWith(`..${sep}`);
          return inside || test ? [] : [`${where}: '${imported}' leaves the package`];
        }
        const target = packageOf(imported);
        if (builtinModules.includes(target)) return [`${where}: write 'node:${imported}'`];
        if (!(test ? forTests : declared).includes(target))
          return [`${where}: '${target}' is not in ${name}'s package.json`];
        if (target.startsWith('@magi1/') && !test && !(ALLOWED[name] ?? []).includes(target)) {
          return [`${where}: ${name} must not import '${target}'`];
        }
        const room = relative(join(folder, 'src'), file).split(sep)[0] ?? '';
        if (name === 'magi1' && target === '@magi1/loaders' && !test && WITHOUT_FILES.includes(room))
          return [`${where}: ${room}/ computes and knows no files, so it must not import '@magi1/loaders'`];
        return [];
      });
    });
  });
}
