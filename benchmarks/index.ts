// npm run bench: every op's case table on every device, and products and attention side by side with other libraries.
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import * as kernels from '@magi1/kernels';
import { isOp } from '@magi1/tensor';
import type { AnyOp } from '@magi1/tensor';
import { compareBuilds } from './against.ts';
import { loadBuild } from './builds.ts';
import { COLD_OPS, compareCold } from './cold.ts';
import { adapterNames, chooseDevices } from './devices.ts';
import { provenanceText, watchRun } from './provenance.ts';
import { deviceText, markdown, sideText } from './report.ts';
import type { Results } from './report.ts';
import { ROOT } from './root.ts';
import { compareRuns } from './runs.ts';
import { installPeers, peersInstalled, sideBySide } from './sideBySide.ts';
import type { SideBySide } from './sideBySide.ts';
import { measureTable } from './table.ts';
import type { DeviceReport } from './table.ts';

const USAGE = `npm run bench [-- options]
  --device NAMES    wasm, webgpu, reference (comma list); all by default
  --adapter NAME    only the WebGPU adapter with this in its name
  --op NAMES        only these ops (comma list)
  --peers           side by side with tfjs and jax-js too, installing them first; without it when they are there
  --peers-only      nothing else, and with more patience
  --no-peers        not that
  --quick           real shapes that run fast, under a minute in all
  --seconds N       time for each device's table (default 120, the reference 20)
  --json FILE       the results; default benchmarks/results/DATE.json
  --markdown FILE   the tables; default docs/benchmarks.md, when everything is run
  --against DIR     compares this build with the one in DIR, another clone: the cases of both, run in turn; with --device,
                    --adapter and --op as above, and
    --case TEXT     only cases with this in their name
    --pairs N       pairs of runs per case (default 20)
    --seconds N     what would take longer per case is left out (default 20)
    --as-hardware   a software adapter gets the kernels meant for GPUs
  --cold            the first call of each op, in fresh processes: processor time; --against, --case and --as-hardware as
                    above, attention, linear, matmul and softmax unless --op names others
    --calls N       calls per case and build (default 7)
  --runs            with --against: whole programs, each run in a process of its own: --help, and the pocket model's video
                    on wasm and every adapter, by the clock and in processor time; --device, --adapter and --pairs as above
Exit status 1 when a case fails, a result is wrong or another library is faster.`;

class UsageError extends Error {}

function options() {
  const { values } = parseArgs({
    options: {
      device: { type: 'string' },
      adapter: { type: 'string' },
      op: { type: 'string' },
      peers: { type: 'boolean' },
      'peers-only': { type: 'boolean', default: false },
      'no-peers': { type: 'boolean', default: false },
      quick: { type: 'boolean', default: false },
      against: { type: 'string' },
      cold: { type: 'boolean', default: false },
      runs: { type: 'boolean', default: false },
      case: { type: 'string' },
      pairs: { type: 'string', default: '20' },
      calls: { type: 'string', default: '7' },
      'as-hardware': { type: 'boolean', default: false },
      seconds: { type: 'string' },
      json: { type: 'string' },
      markdown: { type: 'string' },
      help: { type: 'boolean', default: false },
    },
  });
  const list = (text: string | undefined) => (text ?? '').split(',').filter((name) => name !== '');
  const backends = list(values.device);
  const unknown = backends.filter((name) => !['wasm', 'webgpu', 'reference'].includes(name));
  if (unknown.length > 0) throw new UsageError(`--device ${unknown.join(', ')}: wasm, webgpu or reference`);
  const seconds = values.seconds === undefined ? undefined : Number(values.seconds);
  if (seconds !== undefined && !(seconds > 0)) throw new UsageError(`--seconds ${values.seconds}: a positive number`);
  const count = (name: 'pairs' | 'calls') => {
    const value = Number(values[name]);
    if (!(Number.isInteger(value) && value > 0)) throw new UsageError(`--${name} ${values[name]}: a whole number`);
    return value;
  };
  if (values.runs && (values.against === undefined || values.cold))
    throw new UsageError('--runs: --against DIR is needed, and --cold is something else');
  const counts = { pairs: count('pairs'), calls: count('calls') };
  return { ...values, ...counts, backends, opNames: list(values.op), seconds };
}

type Options = ReturnType<typeof options>;

function chooseOps(names: readonly string[]): AnyOp[] {
  const all = Object.values(kernels).filter(isOp);
  const missing = names.filter((name) => !all.some((op) => op.name === name));
  if (missing.length > 0) {
    throw new UsageError(`--op ${missing.join(', ')}: there are ${all.map((op) => op.name).join(', ')}`);
  }
  return names.length === 0 ? all : all.filter((op) => names.includes(op.name));
}

const say = (text: string) => process.stderr.write(`${text}\n`);

/** One line that changes, on a terminal. */
function progress(text: string): void {
  if (process.stderr.isTTY) process.stderr.write(`\r\x1b[K${text.slice(0, process.stderr.columns - 1)}`);
}

async function tables(given: Options): Promise<DeviceReport[]> {
  const ops = chooseOps(given.opNames);
  const reports: DeviceReport[] = [];
  for (const { label, backend, open } of await chooseDevices(given)) {
    say(`measuring ${label}`);
    const device = await open();
    const seconds = given.seconds ?? (given.quick ? 7 : backend === 'reference' ? 20 : 120);
    try {
      const report = await measureTable(device, label, { ops, seconds, quick: given.quick, progress });
      progress('');
      process.stdout.write(`${deviceText(report)}\n\n`);
      reports.push(report);
    } finally {
      await device.dispose();
    }
  }
  return reports;
}

/** Two builds side by side, or the cold calls of this one. */
async function compare(given: Options): Promise<number> {
  const builds = [await loadBuild(ROOT)];
  if (given.against !== undefined) builds.push(await loadBuild(given.against));
  const opNames = given.cold && given.opNames.length === 0 ? COLD_OPS : given.opNames;
  const chosen = { opNames, caseText: given.case, say: progress };
  let good = true;
  for (const { label, options: plain } of await chooseDevices(given)) {
    const hardware = given['as-hardware'] && plain.backend === 'webgpu';
    const options = hardware ? { ...plain, assumeHardware: true } : plain;
    const title = hardware ? `${label}, as hardware` : label;
    if (given.cold) await compareCold(title, options, builds, { ...chosen, calls: given.calls });
    else {
      const effort = { pairs: given.pairs, secondsPerCase: given.seconds ?? 20 };
      good = (await compareBuilds(title, options, [builds[0]!, builds[1]!], { ...chosen, ...effort })) && good;
    }
  }
  return good ? 0 : 1;
}

/** Unless it is asked for, the reference is left out, and wasm on one of several threads. */
async function runs(given: Options, against: string): Promise<void> {
  const devices = (await chooseDevices(given)).filter(
    ({ backend, options }, i, all) =>
      (backend !== 'reference' || given.backends.includes(backend)) &&
      !(options.threads === 1 && all[i + 1]?.backend === 'wasm'),
  );
  await compareRuns([ROOT, against], devices, { pairs: given.pairs, say });
}

async function peers(given: Options): Promise<SideBySide | undefined> {
  const asked = given.peers === true || given['peers-only'];
  if (given['no-peers'] || (!asked && (given.quick || given.opNames.length > 0 || given.backends.length > 0))) {
    return undefined;
  }
  if (!asked && !peersInstalled()) {
    say('Not side by side with other libraries: `npm run bench -- --peers` installs them.');
    return undefined;
  }
  await installPeers(say);
  const withGpu = given.backends.length === 0 || given.backends.includes('webgpu');
  const adapter = withGpu ? (await adapterNames(given.adapter))[0] : undefined;
  if (withGpu && adapter === undefined) say('No WebGPU adapter: side by side on wasm only.');
  const result = await sideBySide({
    adapter,
    threads: availableParallelism(),
    quick: given.quick,
    kinds: given.opNames,
    longestRunMs: given['peers-only'] ? 60e3 : 10e3,
    say,
  });
  process.stdout.write(`${sideText(result)}\n`);
  return result;
}

async function save(results: Results, given: Options): Promise<void> {
  const write = (file: string, text: string) => {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, text);
    say(`written: ${file}`);
  };
  const stamp = results.date.slice(0, 19).replaceAll(':', '-');
  write(
    given.json ?? join(ROOT, 'benchmarks', 'results', `${stamp}.json`),
    `${JSON.stringify(results, undefined, 1)}\n`,
  );
  const everything =
    !given.quick &&
    results.sideBySide !== undefined &&
    given.backends.length + given.opNames.length === 0 &&
    given.adapter === undefined &&
    !given['peers-only'];
  const file = given.markdown ?? (everything ? join(ROOT, 'docs', 'benchmarks.md') : undefined);
  if (file === undefined) return;
  const { format, resolveConfig } = await import('prettier');
  const text = await format(markdown(results), { ...(await resolveConfig(file)), parser: 'markdown' });
  write(file, text);
}

async function main(): Promise<number> {
  const given = options();
  if (given.help) {
    process.stdout.write(`${USAGE}\n`);
    return 0;
  }
  // Cold calls and whole programs have processes of their own, which would count as somebody else's.
  if (given.cold) return compare(given);
  if (given.runs) {
    await runs(given, given.against!);
    return 0;
  }
  const run = watchRun();
  if (given.against !== undefined) {
    const status = await compare(given);
    process.stdout.write(`${provenanceText(run())}\n`);
    return status;
  }
  const devices = given['peers-only'] ? [] : await tables(given);
  const side = await peers(given);
  const provenance = run();
  process.stdout.write(`${provenanceText(provenance)}\n`);
  await save({ ...provenance, devices, sideBySide: side }, given);
  const failed = devices.flatMap(({ cases }) => cases).filter(({ failure }) => failure !== undefined).length;
  if (failed > 0) say(`${failed} cases failed`);
  return failed > 0 || (side?.behind.length ?? 0) > 0 ? 1 : 0;
}

try {
  // Other libraries leave threads and devices behind.
  process.exit(await main());
} catch (error) {
  const known = error instanceof UsageError || (error as { code?: string }).code?.startsWith('ERR_PARSE_ARGS') === true;
  say(known ? `${(error as Error).message}\n${USAGE}` : String((error as Error).stack));
  process.exit(known ? 2 : 1);
}
