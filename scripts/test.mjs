// npm test [-- --no-webgpu] [--install-adapter] [test files]: everything that must hold, ending with the one line
// `N passed, N failed`. Lint results are reused while no file changed; tests always run.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { CACHE, ensureBuilt, ensureInstalled, filesBelow, fingerprint, once } from './bootstrap.mjs';
import { importProblems } from './check-imports.mjs';
import { foreground, ROOT, say, Stop } from './processes.mjs';
import { ensureSystem } from './system.mjs';

const FLAGS = ['--no-webgpu', '--install-adapter', '--dry-run'];

/** @param {string} name @param {readonly string[]} args a program of node_modules and its arguments */
const tool = (name, ...args) => foreground(process.execPath, [join(ROOT, 'node_modules', ...name.split('/')), ...args]);

/**
 * The checks that are no tests; each counts as one.
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
        const problems = importProblems();
        for (const problem of problems) say(problem);
        return problems.length === 0;
      },
    },
    {
      name: 'no circular imports (dpdm)',
      reuse: /\.ts$/,
      run: async () =>
        0 ===
        (await tool(
          'dpdm/lib/bin/dpdm.js',
          ...['--no-warning', '--no-tree', '--no-progress', '--transform', '--exit-code', 'circular:1'],
          ...['--exclude', '/(dist|node_modules)/', 'packages/*/src/**/*.ts'],
        )),
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

/** @returns {Promise<{ passed: number, failed: number }>} */
async function runChecks() {
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

/**
 * Runs vitest and counts by its report; a file that cannot be loaded and a crash count as one failure each.
 * @param {readonly string[]} filters
 * @param {NodeJS.ProcessEnv} env
 */
async function runTests(filters, env) {
  const report = join(CACHE, 'vitest.json');
  rmSync(report, { force: true });
  const status = await foreground(
    process.execPath,
    [
      join(ROOT, 'node_modules', 'vitest', 'vitest.mjs'),
      'run',
      ...['--reporter=default', '--reporter=json', `--outputFile.json=${relative(ROOT, report)}`],
      ...filters,
    ],
    { env },
  );
  if (!existsSync(report)) return { passed: 0, failed: 1, skipped: [] };
  /** @type {{ testResults: { name: string, status: string, assertionResults: { status: string, fullName: string }[] }[] }} */
  const { testResults } = JSON.parse(readFileSync(report, 'utf8'));
  const all = testResults.flatMap(({ assertionResults }) => assertionResults);
  const passed = all.filter((test) => test.status === 'passed').length;
  const broken = testResults.filter(
    (file) => file.status === 'failed' && !file.assertionResults.some((test) => test.status === 'failed'),
  ).length;
  const failed = all.filter((test) => test.status === 'failed').length + broken;
  const skipped = all.filter((test) => !['passed', 'failed'].includes(test.status)).map((test) => test.fullName);
  return { passed, failed: status !== 0 && failed === 0 ? 1 : failed, skipped };
}

/** @param {readonly string[]} args */
export async function main(args) {
  const noWebgpu = args.includes('--no-webgpu');
  const dryRun = args.includes('--dry-run');
  const unknown = args.filter((arg) => arg.startsWith('--') && !FLAGS.includes(arg));
  if (unknown.length > 0)
    throw new Stop(`npm test: ${FLAGS.join(', ')} or test files expected, got ${unknown.join(' ')}`);
  await ensureInstalled();
  const system = await ensureSystem({ webgpu: !noWebgpu, installAdapter: args.includes('--install-adapter'), dryRun });
  if (dryRun) return 0;
  const notice =
    '*** --no-webgpu: tests/*-webgpu.test.ts and tests/compile-time.test.ts are left out, and the WebGPU devices of all other tests ***';
  if (noWebgpu) say(notice);

  const checked = await runChecks();
  const env = { ...process.env, ...system, ...(noWebgpu ? { MAGI1_NO_WEBGPU: '1' } : {}) };
  const tested = await runTests(
    args.filter((arg) => !arg.startsWith('--')),
    env,
  );

  if (tested.skipped.length > 0) {
    console.log(`\n${tested.skipped.length} skipped:`);
    for (const name of tested.skipped) console.log(`  ${name}`);
  }
  if (noWebgpu) console.log(notice);
  const failed = checked.failed + tested.failed;
  console.log(`${checked.passed + tested.passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}
