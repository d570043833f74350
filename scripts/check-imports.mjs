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

/** Entry points that only Node can use: goldens are folders of files. */
const NODE_ONLY = ['@magi1/core/verify'];

/** Every entry point of the packages by the name that it is imported by, and its source. */
function entryPoints() {
  return new Map(
    readdirSync(join(ROOT, 'packages')).flatMap((name) => {
      const folder = join(ROOT, 'packages', name);
      const manifest = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'));
      return Object.entries(manifest.exports).map(([door, { 'magi1-source': source }]) => [
        manifest.name + door.slice(1),
        join(folder, source),
      ]);
    }),
  );
}

/** One line per Node built-in that a browser would be asked for when it imports an entry point. */
export function builtinProblems() {
  const entries = entryPoints();
  return [...entries].flatMap(([entry, source]) => {
    if (NODE_ONLY.includes(entry)) return [];
    /** Modules that are imported with the entry point, and by which. @type {Map<string, string | undefined>} */
    const reached = new Map([[source, undefined]]);
    const problems = [];
    for (const [file] of reached) {
      const code = readFileSync(file, 'utf8').replace(/^\s*(?:import|export)\s+type\s[^;]*;$/gm, '');
      for (const imported of importsOf(code.replace(/\bimport\(/g, ''))) {
        const target = imported.startsWith('.') ? join(file, '..', imported) : entries.get(imported);
        if (target !== undefined && !reached.has(target)) reached.set(target, file);
        if (!imported.startsWith('node:')) continue;
        const chain = [];
        for (let from = reached.get(file); from !== undefined; from = reached.get(from))
          chain.push(relative(ROOT, from));
        problems.push(
          `${entry} reaches '${imported}' by ${[relative(ROOT, file), ...chain].join(', which is imported by ')}`,
        );
      }
    }
    return problems;
  });
}

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
