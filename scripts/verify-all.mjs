// npm run verify:all [-- PATH]: magi1 verify on every device, one after the other; writes docs/conformance.md.
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus } from 'node:os';
import { join, relative, resolve } from 'node:path';
import { adapterEnvironment, LAVAPIPE, SWIFTSHADER } from './adapter.mjs';
import { CACHE } from './bootstrap.mjs';
import { CLI, prepare } from './magi1.mjs';
import { capture, ROOT, say, Stop } from './processes.mjs';

/**
 * What `magi1 verify --json` prints.
 * @typedef {object} Case
 * @property {string} path
 * @property {string} kind
 * @property {string} what
 * @property {number | null} maxAbs
 * @property {number | null} relL2
 * @property {unknown} tolerance
 * @property {string} status
 * @property {number} seconds
 *
 * @typedef {object} Report
 * @property {string} device
 * @property {string | null} [adapter]
 * @property {number} seconds
 * @property {number} passed
 * @property {number} failed
 * @property {number} unknown
 * @property {Case[]} cases
 */

/** `-dirty` where tracked files differ from the commit. */
const revision = () => execFileSync('git', ['describe', '--always', '--dirty'], { cwd: ROOT, encoding: 'utf8' }).trim();

/** @param {number | null | undefined} value */
const number = (value) => (typeof value === 'number' ? value.toPrecision(3) : '-');

/** @param {unknown} tolerance */
function tolerances(tolerance) {
  if (typeof tolerance === 'number') return number(tolerance);
  if (typeof tolerance !== 'object' || tolerance === null) return tolerance === undefined ? '-' : String(tolerance);
  return Object.entries(tolerance)
    .map(([name, value]) => `${name} ${typeof value === 'number' ? number(value) : String(value)}`)
    .join(', ');
}

/** @param {readonly (readonly string[])[]} rows the first one is the header */
function table(rows) {
  const lines = rows.map((row) => `| ${row.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`);
  const [header = '', ...rest] = lines;
  return [header, `|${(rows[0] ?? []).map(() => ' --- |').join('')}`, ...rest].join('\n');
}

/** The case of a kind that errs most, by relative L2 where there is one. @param {readonly Case[]} cases */
const worst = (cases) => cases.reduce((a, b) => ((b.relL2 ?? b.maxAbs ?? -1) > (a.relL2 ?? a.maxAbs ?? -1) ? b : a));

/** @param {string} title @param {Report} report */
function section(title, report) {
  const kinds = [...new Set(report.cases.map(({ kind }) => kind))].sort();
  const rows = kinds.map((kind) => {
    const cases = report.cases.filter((one) => one.kind === kind);
    const most = worst(cases);
    /** @param {string} status */
    const count = (status) => String(cases.filter((one) => one.status.startsWith(status)).length);
    const seconds = cases.reduce((sum, one) => sum + one.seconds, 0).toFixed(1);
    const where = `${most.path}: ${most.what}`;
    return [
      kind,
      count('pass'),
      count('fail'),
      seconds,
      number(most.maxAbs),
      number(most.relL2),
      tolerances(most.tolerance),
      where,
    ];
  });
  const header = ['kind', 'passed', 'failed', 'seconds', 'max abs', 'relative L2', 'tolerance', 'worst case'];
  const failures = report.cases.filter((one) => !one.status.startsWith('pass'));
  return [
    `## ${title}`,
    `${report.passed} passed, ${report.failed} failed, ${report.unknown} unknown in ${report.seconds.toFixed(0)} s.`,
    table([header, ...rows]),
    ...(failures.length === 0
      ? []
      : [`Not passed:\n\n${failures.map((one) => `- ${one.path}: ${one.what} (${one.status})`).join('\n')}`]),
  ].join('\n\n');
}

/**
 * @param {string} where what was verified, as the reader knows it
 * @param {readonly { title: string, report: Report }[]} results
 */
export function renderConformance(where, results) {
  const summary = results.map(({ title, report }) => [
    title,
    ...[report.passed, report.failed, report.unknown].map(String),
    report.seconds.toFixed(0),
  ]);
  return `${[
    '# Conformance',
    `Written by \`npm run verify:all\` on ${new Date().toISOString().slice(0, 10)}, commit ${revision()}: every golden under \`${where}\`, in f32, on each device; Node ${process.versions.node}, ${cpus().length} cores. Worst errors are per kind, and say which case has them.`,
    table([['device', 'passed', 'failed', 'unknown', 'seconds'], ...summary]),
    ...results.map(({ title, report }) => section(title, report)),
  ].join('\n\n')}\n`;
}

/** @param {readonly string[]} args */
export async function main(args) {
  await prepare();
  const { adapters, env } = await adapterEnvironment();
  const shared = join(ROOT, '..', 'shared', 'conformance');
  const path =
    args[0] === undefined
      ? existsSync(shared)
        ? shared
        : join(ROOT, 'tests', 'fixtures')
      : resolve(process.env.INIT_CWD ?? '.', args[0]);
  for (const software of [LAVAPIPE, SWIFTSHADER]) {
    if (!adapters.some(({ name }) => name === software))
      throw new Stop(`verify:all needs the adapter ${software}; npm test -- --install-adapter installs it.`);
  }
  const devices = [
    { title: 'reference', flags: ['--device', 'reference'] },
    { title: 'wasm', flags: ['--device', 'wasm'] },
    ...adapters.map(({ name, description }) => ({
      title: `webgpu, ${description}`,
      flags: ['--device', 'webgpu', '--adapter', name],
    })),
  ];
  mkdirSync(CACHE, { recursive: true });
  const results = [];
  let clean = true;
  for (const { title, flags } of devices) {
    say(`verify on ${title} ...`);
    const run = await capture(process.execPath, [CLI, 'verify', path, ...flags, '--json'], {
      env: { ...process.env, ...env },
      showErrors: true,
    });
    /** @type {Report} */
    let report;
    try {
      report = JSON.parse(run.stdout);
    } catch {
      throw new Stop(
        `verify on ${title} ended with status ${run.status} and without a report:\n${run.stdout.slice(-2000)}`,
      );
    }
    writeFileSync(
      join(
        CACHE,
        `verify-${flags
          .filter((flag) => !flag.startsWith('--'))
          .join('-')
          .replace(/\W+/g, '-')}.json`,
      ),
      run.stdout,
    );
    say(
      `  ${report.passed} passed, ${report.failed} failed, ${report.unknown} unknown in ${report.seconds.toFixed(0)} s`,
    );
    if (run.status !== 0) clean = false;
    results.push({ title, report });
  }
  const file = join(ROOT, 'docs', 'conformance.md');
  mkdirSync(join(ROOT, 'docs'), { recursive: true });
  const before = existsSync(file) ? readFileSync(file, 'utf8') : '';
  const text = renderConformance(relative(ROOT, path).replaceAll('\\', '/'), results);
  if (text !== before) writeFileSync(file, text);
  say(`written: ${relative(ROOT, file)}`);
  return clean ? 0 : 1;
}
