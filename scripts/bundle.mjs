// The command line as few files, packages/magi1/dist/bundle: the compiled program, which takes longer to load from its
// hundreds of modules. packages/magi1/bin/magi1.js takes it where it is no older than what the compiler wrote last.
import { existsSync, mkdirSync, readdirSync, renameSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from './processes.mjs';

const PACKAGE = join(ROOT, 'packages', 'magi1');
const FOLDER = join(PACKAGE, 'dist', 'bundle');
const WEEK = 7 * 24 * 3600e3;

/**
 * Writes the bundle. Names of chunks hold hashes of their contents, and those of earlier bundles stay for `keep`
 * milliseconds: programs that run may import them yet.
 */
export async function bundle({ keep = WEEK } = {}) {
  const { rolldown } = await import('rolldown');
  const started = new Date();
  const build = await rolldown({
    cwd: PACKAGE,
    input: { main: join(PACKAGE, 'dist', 'cli', 'main.js') },
    platform: 'node',
    // Packages of others stay outside, where their licences are. `C:` begins a path.
    external: (name) => /^(?!@magi1\/|\w:)[@\w]/.test(name),
    plugins: [
      {
        name: 'place',
        // Finds the pocket model from where it is itself.
        resolveId: (name) => (/\/pocket\.js$/.test(name) ? { id: '../pocket.js', external: true } : null),
      },
    ],
    onLog(level, log) {
      throw new Error(`bundling: ${level}: ${log.message}`);
    },
  });
  const { output } = await build.generate({
    format: 'esm',
    minify: false,
    comments: { jsdoc: false },
    chunkFileNames: '[name]-[hash].js',
  });
  await build.close();
  mkdirSync(FOLDER, { recursive: true });
  // The entry comes last, renamed into place, so that whoever reads it finds all that it imports. It is as old as what it
  // was made of, in case the compiler wrote meanwhile.
  const [entry, ...chunks] = output;
  for (const file of [...chunks, entry]) {
    if (file.type !== 'chunk') throw new Error(`bundling: ${file.fileName} is no code`);
    const path = join(FOLDER, file.fileName);
    if (file === entry || !existsSync(path)) {
      const temporary = `${path}.${process.pid}.tmp`;
      writeFileSync(temporary, file.code);
      renameSync(temporary, path);
    }
    utimesSync(path, started, started);
  }
  const current = new Set(output.map(({ fileName }) => fileName));
  for (const name of readdirSync(FOLDER).filter((each) => !current.has(each))) {
    const path = join(FOLDER, name);
    const changed = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity;
    if (changed < started.getTime() - keep) rmSync(path, { force: true });
  }
}

/** npm run build: after the compiler. */
export async function main() {
  await bundle();
}
