// npm test [-- --no-webgpu] [--install-adapter] [test files]: everything that must hold, ending with the one line
// `N passed, N failed`. Lint results are reused while no file changed; tests always run.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { CACHE, ensureInstalled } from './bootstrap.mjs';
import { runChecks } from './check.mjs';
import { foreground, ROOT, say, Stop } from './processes.mjs';
import { ensureSystem } from './system.mjs';

const FLAGS = ['--no-webgpu', '--install-adapter', '--dry-run'];

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
