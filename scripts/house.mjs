// npm run -s house [-- --against DIR]: figures of this clone, beside those of another clone (an older commit) in DIR. A
// walk needs the clone to be built; walks.mjs says how it is counted.
//
//   lines       of packages/*/src without tests (*.test.ts, testing*.ts); blank lines and lines of comment apart
//   duplicated  lines in runs of 6 or more that stand at least twice, each place counted; white space does not matter, and
//               blank lines, comments, imports and lines without a letter or digit are passed over
//   circles     files that import themselves in the end, by whatever way; types count
//   deep        imports of a file inside another package, from anywhere in the clone
//   files       of every room: a folder of a package's src, or src itself, with all that lies below it
import { createHash } from 'node:crypto';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { filesBelow } from './bootstrap.mjs';
import { importsOf } from './check-imports.mjs';
import { capture, ROOT, Stop } from './processes.mjs';

const RUN = 6;
const isTest = /** @param {string} file */ (file) => /\.test\.ts$|[/\\]testing[^/\\]*$/.test(file);
const isComment = /** @param {string} line */ (line) => /^(\/\/|\/\*|\*)/.test(line);

/** @typedef {Map<string, number>} Figures */

/** @param {string} root @returns {Figures} */
export function figuresOf(root) {
  /** @type {Figures} */
  const figures = new Map();
  const add = (/** @type {string} */ name, n = 1) => figures.set(name, (figures.get(name) ?? 0) + n);
  const everything = filesBelow(root).filter((file) => /\.(ts|mjs)$/.test(file));
  const texts = new Map(everything.map((file) => [relative(root, file), readFileSync(file, 'utf8')]));
  const sources = [...texts.keys()].filter((file) => /^packages.[^/\\]+.src/.test(file) && !isTest(file));
  const packages = readdirSync(join(root, 'packages'));
  for (const what of ['lines of code', 'lines of comment', 'blank lines', 'duplicated lines'])
    for (const name of [...packages, 'all']) figures.set(`${what}, ${name}`, 0);
  const windows = placesOfRuns(sources, texts);
  for (const file of sources) {
    const name = /** @type {string} */ (file.split(/[/\\]/)[1]);
    const count = (/** @type {string} */ what, n = 1) => [name, 'all'].forEach((whose) => add(`${what}, ${whose}`, n));
    for (const line of (texts.get(file) ?? '')
      .trimEnd()
      .split('\n')
      .map((each) => each.trim()))
      count(line === '' ? 'blank lines' : isComment(line) ? 'lines of comment' : 'lines of code');
    count('duplicated lines', windows.get(file)?.size ?? 0);
  }
  const edges = new Map(
    sources.map((file) => [
      file,
      importsOf(texts.get(file) ?? '')
        .filter((name) => name.startsWith('.'))
        .map((name) => join(dirname(file), name)),
    ]),
  );
  figures.set('files in circular imports', sources.filter((file) => reaches(file, file, edges)).length);
  figures.set('deep imports', 0);
  for (const [file, text] of texts)
    for (const name of importsOf(text).filter((each) => each.startsWith('.'))) {
      const [, inside] = /^(packages.[^/\\]+)/.exec(join(dirname(file), name)) ?? [];
      if (inside !== undefined && !file.startsWith(inside)) add('deep imports');
    }
  for (const file of sources) {
    const [, name, , ...path] = file.split(/[/\\]/);
    add(`files, ${path.length === 1 ? `${name}/src` : `${name}/src/${path[0]}`}`);
  }
  return figures;
}

/** Line numbers of every file that lie in a run that stands somewhere else too. @param {string[]} files @param {Map<string, string>} texts */
function placesOfRuns(files, texts) {
  /** @type {Map<string, { file: string, lines: number[] }[]>} */
  const runs = new Map();
  for (const file of files) {
    const code = (texts.get(file) ?? '').replace(/^import\s[^;]*;/gm, (statement) => statement.replace(/.+/g, ''));
    const lines = code
      .split('\n')
      .map((line, number) => ({ number, text: line.trim().replace(/\s+/g, ' ') }))
      .filter(({ text }) => /\w/.test(text) && !isComment(text));
    for (let at = 0; at + RUN <= lines.length; at++) {
      const run = lines.slice(at, at + RUN);
      const key = createHash('sha1')
        .update(run.map(({ text }) => text).join('\n'))
        .digest('hex');
      const place = { file, lines: run.map(({ number }) => number) };
      runs.set(key, [...(runs.get(key) ?? []), place]);
    }
  }
  /** @type {Map<string, Set<number>>} */
  const found = new Map();
  for (const places of runs.values())
    for (const { file, lines } of places.length > 1 ? places : [])
      found.set(file, new Set([...(found.get(file) ?? []), ...lines]));
  return found;
}

/** @param {string} from @param {string} to @param {Map<string, string[]>} edges */
function reaches(from, to, edges) {
  const seen = new Set();
  const next = [...(edges.get(from) ?? [])];
  for (let file = next.pop(); file !== undefined; file = next.pop()) {
    if (file === to) return true;
    if (seen.has(file)) continue;
    seen.add(file);
    next.push(...(edges.get(file) ?? []));
  }
  return false;
}

/** @param {string} root @param {Figures} figures */
async function addWalks(root, figures) {
  if (!existsSync(join(root, 'packages', 'magi1', 'dist')))
    throw new Stop(`${root} is not built: walks need its dist folders.`);
  const { status, stdout, stderr } = await capture(process.execPath, [join(ROOT, 'scripts', 'walks.mjs'), root]);
  if (status !== 0) throw new Stop(`The walks through ${root} failed:\n${stderr}`);
  for (const [walk, { hops, entered, again }] of Object.entries(JSON.parse(stdout))) {
    figures.set(`${walk} walk, hops`, hops.length);
    figures.set(`${walk} walk, entered`, entered);
    figures.set(`${walk} walk, again`, again);
  }
}

/** @param {readonly string[]} args */
export async function main(args) {
  const [flag, folder, ...more] = args;
  if ((flag !== undefined && (flag !== '--against' || folder === undefined)) || more.length > 0)
    throw new Stop(`npm run -s house takes --against DIR or nothing, got ${args.join(' ')}`);
  const roots = [ROOT, ...(folder === undefined ? [] : [resolve(folder)])];
  const all = roots.map(figuresOf);
  for (const [i, root] of roots.entries()) await addWalks(root, /** @type {Figures} */ (all[i]));
  const isRoom = /** @param {string} name */ (name) => name.startsWith('files, ');
  const given = [...new Set(all.flatMap((figures) => [...figures.keys()]))];
  const names = [...given.filter((name) => !isRoom(name)), ...given.filter(isRoom).sort()];
  const width = Math.max(...names.map((name) => name.length));
  if (folder !== undefined) console.log(`${''.padEnd(width)}${'here'.padStart(8)}${'there'.padStart(8)}`);
  for (const name of names)
    console.log(name.padEnd(width) + all.map((figures) => String(figures.get(name) ?? '-').padStart(8)).join(''));
}
