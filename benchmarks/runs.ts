// Whole programs of two builds in turn, each run in a process of its own. The other build runs twice a round: how far it
// seems to be from itself is the noise.
import { spawn } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { DeviceOptions } from '@magi1/tensor';
import { builtFile } from './builds.ts';
import type { BenchDevice } from './devices.ts';
import { duration, inTurn, median, ratioText } from './statistics.ts';
import { textTable } from './tables.ts';

/** Milliseconds of one run: by the clock, and of processor time on all its threads. */
export interface Spent {
  readonly wall: number;
  readonly processor: number;
  /** Processor time until the program says `denoising: ...`, which it does just before the first step. */
  readonly firstStep?: number;
}

/** One figure of a program, in this build, in the other, and in the other again. */
export interface Row {
  readonly program: string;
  readonly figure: string;
  readonly rounds: readonly (readonly [here: number, there: number, again: number])[];
}

/** Prints a table. */
export async function compareRuns(
  roots: readonly [here: string, there: string],
  devices: readonly BenchDevice[],
  { pairs, say }: { readonly pairs: number; readonly say: (text: string) => void },
): Promise<void> {
  const [here, there] = roots.map((root) => join(builtFile(root, 'magi1', ''), '..', 'bin', 'magi1.js')) as [
    string,
    string,
  ];
  const programs: [name: string, args: readonly string[]][] = [['magi1 --help', ['--help']]];
  for (const { label, options } of devices) programs.push([`pocket video, ${label}`, generateArgs(options)]);
  const rows: Row[] = [];
  for (const [program, args] of programs) {
    say(`${program}: ${pairs} pairs`);
    const sides = [here, there, there].map((main) => () => spend(main, args));
    await inTurn(1, sides.slice(0, 2)); // files and shaders come into their caches
    rows.push(...rowsOf(program, await inTurn(pairs, sides)));
  }
  process.stdout.write(`${tableOf(rows)}\n\n`);
}

function generateArgs({ backend, threads, adapter }: DeviceOptions): string[] {
  const args = ['generate', '--prompt', 'a red circle moves to the right', '--seed', '7', '--device', backend!];
  if (threads !== undefined) args.push('--threads', String(threads));
  if (adapter !== undefined) args.push('--adapter', adapter);
  return args;
}

const FIGURES = { 'processor, to the first step': 'firstStep', processor: 'processor', clock: 'wall' } as const;

export function rowsOf(program: string, rounds: readonly (readonly Spent[])[]): Row[] {
  return Object.entries(FIGURES).flatMap(([figure, key]) => {
    const values = rounds.map((round) => round.map((spent) => spent[key]));
    const seen = values.every((round) => round.every((value) => value !== undefined));
    return seen ? [{ program, figure, rounds: values as unknown as Row['rounds'] }] : [];
  });
}

export function tableOf(rows: readonly Row[]): string {
  const side = (i: 0 | 1) => (row: Row) => duration(median(row.rounds.map((round) => round[i])));
  const change = ({ rounds }: Row) => ratioText(rounds.map(([here, there]) => here / there));
  const noise = ({ rounds }: Row) => ratioText(rounds.map(([, there, again]) => again / there));
  return textTable<Row>(
    [
      { title: 'program', cell: ({ program }) => program },
      { title: 'time', cell: ({ figure }) => figure },
      { title: 'here', align: 'right', cell: side(0) },
      { title: 'there', align: 'right', cell: side(1) },
      { title: 'here/there', align: 'right', cell: (row) => change(row).middle },
      { title: '95 % interval', cell: (row) => change(row).interval },
      { title: 'there/there', align: 'right', cell: (row) => noise(row).middle },
      { title: '95 % interval', cell: (row) => noise(row).interval },
      { title: 'pairs', align: 'right', cell: ({ rounds }) => String(rounds.length) },
    ],
    rows,
  );
}

async function spend(main: string, args: readonly string[]): Promise<Spent> {
  const folder = mkdtempSync(join(tmpdir(), 'magi1-runs-'));
  const output = args[0] === 'generate' ? ['--output', join(folder, 'frames')] : [];
  try {
    const start = performance.now();
    const child = spawn(process.execPath, [join(import.meta.dirname, 'runProbe.js'), main, ...args, ...output], {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe'],
    });
    const ended = new Promise<{ status: number | null; wall: number }>((resolve, reject) => {
      child.once('error', reject);
      child.once('exit', (status) => resolve({ status, wall: performance.now() - start }));
    });
    const [{ status, wall }, errors, told] = await Promise.all([
      ended,
      text(child.stderr!),
      text(child.stdio[3] as NodeJS.ReadableStream),
    ]);
    if (status !== 0) throw new Error(`${[main, ...args].join(' ')} ended with status ${String(status)}:\n${errors}`);
    return { wall, ...(JSON.parse(told) as Omit<Spent, 'wall'>) };
  } finally {
    rmSync(folder, { recursive: true });
  }
}
