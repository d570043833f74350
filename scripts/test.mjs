// npm test [-- --no-webgpu] [--install-adapter] [--node MAJOR] [test files]: everything that must hold, ending with the
// one line `N passed, N failed`. Lint results are reused while no file changed; tests always run, and the quick ones of
// them on a second Node too.
import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join, relative } from 'node:path';
import { CACHE, ensureInstalled } from './bootstrap.mjs';
import { runChecks } from './check.mjs';
import { ensureNode, knownNode, NODES, QUICK_SET, secondNode, withNode } from './nodes.mjs';
import { foreground, ROOT, say, Stop } from './processes.mjs';
import { ensureSystem } from './system.mjs';

const FLAGS = ['--no-webgpu', '--install-adapter', '--dry-run', '--node'];

/**
 * Runs vitest and counts by its report; a file that cannot be loaded and a crash count as one failure each.
 * @param {string} node the Node to run it
 * @param {readonly string[]} filters
 * @param {NodeJS.ProcessEnv} env
 */
async function runTests(node, filters, env) {
  const report = join(CACHE, 'vitest.json');
  rmSync(report, { force: true });
  const status = await foreground(
    node,
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

/**
 * The quick set, or those of `filters` that are in it, on a second Node. Loud where there is none for this platform.
 * @param {string} first major version of the Node that ran everything
 * @param {readonly string[]} filters
 * @param {NodeJS.ProcessEnv} env
 */
async function runOnSecondNode(first, filters, env) {
  const nothing = { passed: 0, failed: 0, skipped: [], notice: undefined };
  const major = secondNode(first);
  const gone = QUICK_SET.filter((file) => !existsSync(join(ROOT, file)));
  if (gone.length > 0) throw new Stop(`scripts/nodes.mjs: the quick set names files that are gone: ${gone.join(', ')}`);
  const files = QUICK_SET.filter((file) => filters.length === 0 || filters.some((filter) => file.includes(filter)));
  if (files.length === 0) return { ...nothing, notice: `None of these tests is in the quick set for Node ${major}.` };
  let node;
  try {
    node = await ensureNode(major);
  } catch (error) {
    if (!(error instanceof Stop)) throw error;
    say(`FAILED  quick set on Node ${NODES[major]}: ${error.message}`);
    return { ...nothing, failed: 1 };
  }
  if (node === undefined)
    return {
      ...nothing,
      notice: `*** NOT RUN on Node ${major}: npm has no Node ${NODES[major]} for ${process.platform} ${process.arch} ***`,
    };
  say(`\nThe quick set on Node ${NODES[major]}:`);
  return { ...(await runTests(node, files, withNode(node, env))), notice: undefined };
}

/** @param {readonly string[]} all */
export async function main(all) {
  const at = all.indexOf('--node');
  const major = at < 0 ? undefined : knownNode(all[at + 1]);
  const args = all.filter((_, index) => at < 0 || (index !== at && index !== at + 1));
  const noWebgpu = args.includes('--no-webgpu');
  const dryRun = args.includes('--dry-run');
  const unknown = args.filter((arg) => arg.startsWith('--') && !FLAGS.includes(arg));
  if (unknown.length > 0)
    throw new Stop(`npm test: ${FLAGS.join(', ')} or test files expected, got ${unknown.join(' ')}`);
  await ensureInstalled();
  const system = await ensureSystem({ webgpu: !noWebgpu, installAdapter: args.includes('--install-adapter'), dryRun });
  if (dryRun) return 0;
  const notice =
    '*** --no-webgpu: the tests of WebGPU alone (vitest.config.ts names their files) are left out, and the WebGPU devices of all others ***';
  if (noWebgpu) say(notice);

  const node = major === undefined ? process.execPath : await ensureNode(major);
  if (node === undefined) throw new Stop(`npm has no Node ${major} for ${process.platform} ${process.arch}.`);
  const checked = await runChecks();
  const env = { ...process.env, ...system, ...(noWebgpu ? { MAGI1_NO_WEBGPU: '1' } : {}) };
  const filters = args.filter((arg) => !arg.startsWith('--'));
  if (major !== undefined) say(`The tests run on Node ${NODES[major]}.`);
  const tested = await runTests(node, filters, major === undefined ? env : withNode(node, env));
  const first = major ?? process.versions.node.split('.')[0] ?? '';
  const again = await runOnSecondNode(String(first), filters, env);

  const skipped = [...tested.skipped, ...again.skipped];
  if (skipped.length > 0) {
    console.log(`\n${skipped.length} skipped:`);
    for (const name of skipped) console.log(`  ${name}`);
  }
  if (noWebgpu) console.log(notice);
  if (again.notice !== undefined) console.log(again.notice);
  const failed = checked.failed + tested.failed + again.failed;
  console.log(`${checked.passed + tested.passed + again.passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}
