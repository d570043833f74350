// npm run check: what `npm test` checks before the tests: types, imports, import cycles, lint and format. Results are
// reused while no file changed.
import { join, normalize, sep } from 'node:path';
import { ensureBuilt, ensureInstalled, filesBelow, fingerprint, once } from './bootstrap.mjs';
import { builtinProblems, importProblems } from './check-imports.mjs';
import { foreground, ROOT, say, Stop } from './processes.mjs';

/** @param {string} name @param {readonly string[]} args a program of node_modules and its arguments */
const tool = (name, ...args) => foreground(process.execPath, [join(ROOT, 'node_modules', ...name.split('/')), ...args]);

/**
 * The checks other than tests; each counts as one.
 * @returns {{ name: string, run: () => Promise<boolean>, reuse?: RegExp }[]}
 */
function checks() {
  return [
    {
      name: 'types (tsc -b)',
      run: async () => {
        try {
          await ensureBuilt('.');
          return true;
        } catch (error) {
          if (error instanceof Stop) return false; // the compiler has said why
          throw error;
        }
      },
    },
    {
      name: 'imports point one way and are declared',
      run: async () => {
        const problems = [...importProblems(), ...builtinProblems()];
        for (const problem of problems) say(problem);
        return problems.length === 0;
      },
    },
    {
      name: 'no circular imports, types counted',
      reuse: /\.ts$/,
      run: async () => {
        const cycles = await importCycles(join(ROOT, 'packages', '*', 'src', '**', '*.ts'));
        for (const cycle of cycles) say(cycle);
        if (cycles.length > 0) say(CYCLE_REMEDY);
        return cycles.length === 0;
      },
    },
    {
      name: 'eslint',
      reuse: /\.(ts|mjs|js|json|yaml)$/,
      run: async () => 0 === (await tool('eslint/bin/eslint.js', '.', '--max-warnings', '0')),
    },
    {
      name: 'prettier',
      reuse: /./,
      run: async () => 0 === (await tool('prettier/bin/prettier.cjs', '--check', '--log-level', 'warn', '.')),
    },
  ];
}

const CYCLE_REMEDY = 'Move what the files of a cycle share, types included, into a file that imports none of them.';

/**
 * The one circle of types that is let be: a tensor holds its device, a device makes tensors and executes ops, and an op's
 * calls, dispatches and steps hold tensors. What these files import from each other at run time is no circle.
 */
const LET_BE = ['tensor.ts', 'device.ts', 'op.ts', 'webgpu/kernel.ts', 'wasm/kernel.ts'].map((file) =>
  ['packages', 'tensor', 'src', ...file.split('/')].join(sep),
);

/**
 * One line per import cycle, e.g. `a.ts imports b.ts, which imports a.ts`. Types count, but for those of LET_BE.
 * @param {string} pattern glob of the files
 */
export async function importCycles(pattern) {
  const { parseCircular, parseDependencyTree } = await import('dpdm');
  const exclude = /[/\\](dist|node_modules)[/\\]/;
  // What import() loads is evaluated later: a cycle through it does no harm.
  /** @param {boolean} transform whether the compiler removes imports of types first */
  const cycles = async (transform) =>
    parseCircular(await parseDependencyTree(pattern, { context: ROOT, cwd: ROOT, transform, exclude }), true);
  const letBe = (/** @type {string[]} */ files) => files.every((file) => LET_BE.includes(normalize(file)));
  const withTypes = (await cycles(false)).filter((files) => !letBe(files));
  const atRunTime = (await cycles(true)).filter(letBe);
  return [...withTypes, ...atRunTime].map(([first = '', ...others]) =>
    [`${first} imports ${others[0] ?? 'itself'}`, ...[...others.slice(1), ...(others.length > 0 ? [first] : [])]].join(
      ', which imports ',
    ),
  );
}

/** @returns {Promise<{ passed: number, failed: number }>} */
export async function runChecks() {
  const files = filesBelow(ROOT);
  const count = { passed: 0, failed: 0 };
  for (const { name, run, reuse } of checks()) {
    const started = performance.now();
    const id = `check-${name.replace(/\W+/g, '-')}`;
    const result =
      reuse === undefined
        ? (await run())
          ? 'done'
          : 'failed'
        : await once(
            id,
            fingerprint(
              files.filter((file) => reuse.test(file)),
              'times',
            ),
            run,
          );
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    console.log(
      `${result === 'failed' ? 'FAILED' : 'ok'}  ${name} (${result === 'unchanged' ? 'unchanged' : `${seconds} s`})`,
    );
    count[result === 'failed' ? 'failed' : 'passed']++;
  }
  return count;
}

/** @param {readonly string[]} args */
export async function main(args) {
  if (args.length > 0) throw new Stop(`npm run check takes no arguments, got ${args.join(' ')}`);
  await ensureInstalled();
  const { failed } = await runChecks();
  return failed === 0 ? 0 : 1;
}
