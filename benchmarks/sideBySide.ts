// Matrix products and attention side by side with other libraries: one process, interleaved round by round.
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { openContestants } from './contestants.ts';
import type { Contestant, Prepared, Task, TaskInputs } from './tasks.ts';
import { exactRows } from './exact.ts';
import { normals } from './inputs.ts';
import { PEERS } from './root.ts';
import { duration, median, relativeL2, summarise } from './statistics.ts';
import type { Summary } from './statistics.ts';

export interface SideResult {
  readonly task: string;
  readonly kind: Task['kind'];
  readonly group: 'webgpu' | 'wasm';
  readonly library: string;
  readonly name: string;
  readonly threads?: number | undefined;
  readonly flops: number;
  /** Milliseconds; undefined when it failed. */
  readonly ms?: Summary | undefined;
  /** Ours against exact rows, others against ours. */
  readonly error?: number | undefined;
  readonly failure?: string | undefined;
  /** Their time over ours, the median over rounds: above 1 we are faster. By the name of ours. */
  readonly ratios: Readonly<Record<string, number>>;
}

export interface SideBySide {
  readonly adapter?: string | undefined;
  readonly results: readonly SideResult[];
  /** Where somebody else is faster, or we are wrong. */
  readonly behind: readonly string[];
}

const matmul = (m: number, k: number, n: number): Task => ({
  kind: 'matmul',
  name: `matmul ${m}x${k}x${n}`,
  size: [m, k, n],
});
const attention = (heads: number, kvHeads: number, headDim: number, queries: number, keys: number): Task => ({
  kind: 'attention',
  name: `attention ${heads}/${kvHeads} heads x ${headDim}, ${queries}x${keys}`,
  ...{ heads, kvHeads, headDim, queries, keys },
});

const TASKS: readonly Task[] = [
  matmul(512, 512, 512),
  matmul(1024, 1024, 1024),
  matmul(256, 4096, 1024),
  attention(8, 8, 64, 1024, 1024),
  attention(24, 8, 128, 576, 576),
  attention(24, 8, 128, 576, 2304),
];

interface Limits {
  readonly rounds: number;
  /** So many rounds are run even when `ms` is over, if that does not take PATIENCE times as long. */
  readonly leastRounds: number;
  readonly ms: number;
  /** Who is expected to take longer for one run, judging by the tasks before, is left out. */
  readonly runMs: number;
}
const PATIENCE = 8;
const LIMITS: Omit<Limits, 'runMs'> = { rounds: 15, leastRounds: 3, ms: 8e3 };
const QUICK_LIMITS: Limits = { rounds: 9, leastRounds: 1, ms: 2e3, runMs: 3e3 };
const QUICK_TASKS = [TASKS[0]!, TASKS[3]!];

/** Another library's result that far from ours is wrong and does not count; ours that far from exact is an error. */
const WRONG = { theirs: 1e-3, ours: 1e-5 };
const SAMPLE_MS = 30;
const MOST_REPEATS = 32;
const SLOW_MS = 1500;

const flopsOf = (task: Task) =>
  task.kind === 'matmul'
    ? 2 * task.size[0] * task.size[1] * task.size[2]
    : 4 * task.heads * task.headDim * task.queries * task.keys;

export const peersInstalled = (): boolean => existsSync(join(PEERS, 'node_modules', '.package-lock.json'));

/** Installs the other libraries, pinned, in their own folder. */
export async function installPeers(say: (text: string) => void): Promise<void> {
  if (peersInstalled()) return;
  say('Installing the libraries to compare with (benchmarks/peers) ...');
  const child = spawn('npm', ['ci', '--no-audit', '--no-fund', '--ignore-scripts'], {
    cwd: PEERS,
    stdio: ['ignore', 2, 2],
    shell: process.platform === 'win32',
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (status !== 0) throw new Error(`npm ci in benchmarks/peers ended with status ${String(status)}, see above`);
}

export interface SideOptions {
  /** WebGPU adapter, by its whole name; none leaves WebGPU out. */
  readonly adapter: string | undefined;
  readonly threads: number;
  readonly quick: boolean;
  /** Kinds of tasks; all when empty. */
  readonly kinds: readonly string[];
  /** Another library that is expected to take longer for one run is left out. */
  readonly longestRunMs: number;
  readonly say: (text: string) => void;
}

export async function sideBySide({
  adapter,
  threads,
  quick,
  kinds,
  longestRunMs,
  say,
}: SideOptions): Promise<SideBySide> {
  const contestants = await openContestants(adapter, threads);
  const results: SideResult[] = [];
  const wanted = (quick ? QUICK_TASKS : TASKS).filter(({ kind }) => kinds.length === 0 || kinds.includes(kind));
  for (const task of wanted) {
    for (const group of ['webgpu', 'wasm'] as const) {
      const present = contestants.filter((contestant) => contestant.group === group);
      if (present.length === 0) continue;
      say(`side by side on ${group}: ${task.name}`);
      const earlier = results.filter((result) => result.group === group);
      results.push(
        ...(await compare(task, present, earlier, quick ? QUICK_LIMITS : { ...LIMITS, runMs: longestRunMs })),
      );
    }
  }
  for (const contestant of contestants) await contestant.dispose();
  return { adapter, results, behind: whereBehind(results) };
}

interface Entrant {
  readonly contestant: Contestant;
  readonly prepared?: Prepared;
  readonly repeats: number;
  readonly error?: number;
  failure?: string;
  readonly times: (number | undefined)[];
}

async function compare(
  task: Task,
  contestants: readonly Contestant[],
  earlier: readonly SideResult[],
  limits: Limits,
): Promise<SideResult[]> {
  const inputs = inputsOf(task);
  const entrants: Entrant[] = [];
  let ours: Float32Array | undefined;
  for (const contestant of contestants) {
    const expected = expectedMs(task, contestant, earlier);
    if (expected > limits.runMs) {
      entrants.push({ contestant, repeats: 1, times: [], failure: `not run: about ${duration(expected)} expected` });
      continue;
    }
    const entrant = await enter(task, contestant, inputs, ours);
    if (contestant.library === 'magi1') ours ??= entrant.output;
    entrants.push(entrant);
  }
  const start = performance.now();
  for (let round = 0; round < limits.rounds; round++) {
    const spent = performance.now() - start;
    if (round > 0 && spent > (round < limits.leastRounds ? PATIENCE : 1) * limits.ms) break;
    // Who comes first changes: nobody always runs after the same neighbour.
    for (let i = 0; i < entrants.length; i++) await time(entrants[(i + round) % entrants.length]!);
  }
  for (const { prepared } of entrants) prepared?.dispose();
  return entrants.map((entrant) => resultOf(task, entrant, entrants));
}

/** By the contestant's speed at the last task of the kind; 0 when there was none, and for ours. */
function expectedMs(task: Task, { library, name }: Contestant, earlier: readonly SideResult[]): number {
  const last = earlier.findLast(
    (result) => result.name === name && result.kind === task.kind && result.ms !== undefined,
  );
  return library === 'magi1' || last === undefined ? 0 : (last.ms!.median * flopsOf(task)) / last.flops;
}

async function enter(
  task: Task,
  contestant: Contestant,
  inputs: TaskInputs,
  ours: Float32Array | undefined,
): Promise<Entrant & { output?: Float32Array }> {
  const times: number[] = [];
  try {
    const prepared = await contestant.prepare(task, inputs);
    const start = performance.now();
    const output = await prepared.result();
    const first = performance.now() - start;
    const error = contestant.library === 'magi1' ? againstExact(task, inputs, output) : relativeL2(output, ours!);
    // The first run compiled; a second one tells how long they take, unless one is enough anyway.
    const once = first > SLOW_MS ? first : await milliseconds(() => prepared.run(1));
    const repeats = Math.max(1, Math.min(MOST_REPEATS, Math.ceil(SAMPLE_MS / once)));
    return { contestant, prepared, repeats, error, times, output };
  } catch (error) {
    // Ours must not fail; of the others it is a result.
    if (contestant.library === 'magi1') throw error;
    return { contestant, repeats: 1, times, failure: firstLine(error) };
  }
}

async function time(entrant: Entrant): Promise<void> {
  const { prepared, repeats, times, contestant } = entrant;
  if (prepared === undefined || entrant.failure !== undefined) return;
  try {
    times.push((await milliseconds(() => prepared.run(repeats))) / repeats);
  } catch (error) {
    if (contestant.library === 'magi1') throw error;
    entrant.failure = firstLine(error);
  }
}

function resultOf(task: Task, entrant: Entrant, all: readonly Entrant[]): SideResult {
  const { contestant, times, error, failure } = entrant;
  const good = failure === undefined && times.length > 0;
  const ratios: Record<string, number> = {};
  for (const other of all) {
    if (!good || contestant.library === 'magi1' || other.contestant.library !== 'magi1') continue;
    ratios[other.contestant.name] = median(times.map((value, round) => value! / other.times[round]!));
  }
  return {
    task: task.name,
    kind: task.kind,
    group: contestant.group,
    library: contestant.library,
    name: contestant.name,
    threads: contestant.threads,
    flops: flopsOf(task),
    ms: good ? summarise(times as number[]) : undefined,
    error,
    failure,
    ratios,
  };
}

/** We must be ahead of every right result with as many threads as the other has, or else with all of ours. */
export function whereBehind(results: readonly SideResult[]): string[] {
  const behind: string[] = [];
  for (const result of results) {
    const { task, group, name, library, error, threads } = result;
    if (library === 'magi1') {
      if (!(error! <= WRONG.ours))
        behind.push(`${task} on ${group}: ${name} is wrong (relative L2 ${error!.toExponential(1)})`);
      continue;
    }
    if (isWrong(result)) continue;
    const ours = results.filter((other) => other.task === task && other.group === group && other.library === 'magi1');
    const equal = ours.find((other) => other.threads === threads) ?? ours.at(-1);
    const ratio = equal === undefined ? undefined : result.ratios[equal.name];
    if (ratio !== undefined && ratio < 1) {
      behind.push(`${task} on ${group}: ${name} is ${(1 / ratio).toFixed(2)} times as fast as ${equal!.name}`);
    }
  }
  return behind;
}

export const isWrong = ({ library, error, failure }: SideResult): boolean =>
  failure !== undefined || !(error! <= (library === 'magi1' ? WRONG.ours : WRONG.theirs));

function inputsOf(task: Task): TaskInputs {
  if (task.kind === 'matmul') {
    const [m, k, n] = task.size;
    return [normals(m * k, 1), normals(k * n, 2)];
  }
  const { queries, keys, heads, kvHeads, headDim } = task;
  return [
    normals(queries * heads * headDim, 1),
    normals(keys * kvHeads * headDim, 2),
    normals(keys * kvHeads * headDim, 3),
  ];
}

function againstExact(task: Task, inputs: TaskInputs, output: Float32Array): number {
  const { rows, values } = exactRows(task, inputs);
  const width = values.length / rows.length;
  const got = new Float64Array(values.length);
  rows.forEach((row, i) => {
    got.set(output.subarray(row * width, (row + 1) * width), i * width);
  });
  return relativeL2(got, values);
}

async function milliseconds(body: () => Promise<void>): Promise<number> {
  const start = performance.now();
  await body();
  return performance.now() - start;
}

const firstLine = (error: unknown) => String(error instanceof Error ? error.message : error).split('\n')[0]!;
