// What the first call of an op costs (shaders or kernels are compiled then), of two builds in turn: processor time, since
// that hardly depends on what else the machine does. Every call has a fresh process and no disk cache of shaders.
import { execFile } from 'node:child_process';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { DeviceOptions } from '@magi1/tensor';
import { chosenCases } from './builds.ts';
import type { Build, Choice } from './builds.ts';
import { digits, inTurn, median, ratioText } from './statistics.ts';
import { textTable } from './tables.ts';

const run = promisify(execFile);

export interface ColdOptions extends Choice {
  readonly calls: number;
  readonly say: (text: string) => void;
}

interface Row {
  readonly op: string;
  readonly name: string;
  /** Milliseconds of processor time, call by call. */
  readonly times: readonly (readonly number[])[];
}

/** Cases that take the kernels which models take; of other ops the smallest one is called. */
const USUAL: Readonly<Record<string, string>> = {
  attention: 'dim8',
  linear: 'f32.tiles',
  matmul: 'tiles',
  softmax: 'odd',
};

export const COLD_OPS = Object.keys(USUAL);

/** Prints a table for one device: one case of every op, or with `caseText` all that have it in their name. */
export async function compareCold(
  label: string,
  options: DeviceOptions,
  builds: readonly Build[],
  given: ColdOptions,
): Promise<void> {
  const all = chosenCases(builds[0]!, given);
  const cases = all.filter(({ op, opCase }) => {
    const ofOp = all.filter((entry) => entry.op === op);
    const usual = ofOp.find((entry) => entry.opCase.name === USUAL[op.name]) ?? ofOp[0];
    return given.caseText !== undefined || opCase === usual!.opCase;
  });
  const rows: Row[] = [];
  for (const { op, opCase } of cases) {
    const call = (root: string) => () => coldCall(root, options, op.name, opCase.name);
    given.say(`${label}: ${op.name} ${opCase.name}, ${given.calls} cold calls`);
    const rounds = await inTurn(
      given.calls,
      builds.map(({ root }) => call(root)),
    );
    const times = builds.map((_, i) => rounds.map((round) => round[i]!));
    rows.push({ op: op.name, name: opCase.name, times });
  }
  const columns = (title: string, i: number) => [
    { title, align: 'right' as const, cell: ({ times }: Row) => `${digits(median(times[i]!))} ms` },
    {
      title: 'least to most',
      align: 'right' as const,
      cell: ({ times }: Row) => `${digits(Math.min(...times[i]!))} to ${digits(Math.max(...times[i]!))}`,
    },
  ];
  const ratio = ({ times }: Row) => times[0]!.map((mine, i) => mine / times[1]![i]!);
  const table = textTable<Row>(
    [
      { title: 'op', cell: ({ op }) => op },
      { title: 'case', cell: ({ name }) => name },
      ...columns('here', 0),
      ...(builds.length === 1
        ? []
        : [
            ...columns('there', 1),
            { title: 'here/there', align: 'right' as const, cell: (row: Row) => ratioText(ratio(row)).middle },
            { title: '95 % interval', cell: (row: Row) => ratioText(ratio(row)).interval },
          ]),
      { title: 'calls', align: 'right', cell: ({ times }) => String(times[0]!.length) },
    ],
    rows,
  );
  process.stdout.write(`${label}: processor time of the first call\n${table}\n\n`);
}

async function coldCall(root: string, options: DeviceOptions, op: string, opCase: string): Promise<number> {
  const child = join(import.meta.dirname, 'coldCall.js');
  const env = { ...process.env, MESA_SHADER_CACHE_DISABLE: 'true' };
  const { stdout } = await run(process.execPath, [child, root, JSON.stringify(options), op, opCase], { env });
  const milliseconds = Number(stdout.trim().split('\n').at(-1));
  if (!(milliseconds >= 0)) throw new Error(`${op} ${opCase} of ${root}: no time, got "${stdout}"`);
  return milliseconds;
}
