// The case tables of two builds, interleaved run by run in one process: what the machine does besides hits both alike.
import type { AnyCase, AnyOp, Device, DeviceOptions, Tensor } from '@magi1/tensor';
import { chosenCases } from './builds.ts';
import type { Build, Choice } from './builds.ts';
import { disposeAll, uploadInputs } from './inputs.ts';
import { duration, inTurn, median, ratioText } from './statistics.ts';
import { textTable } from './tables.ts';

export interface AgainstOptions extends Choice {
  readonly pairs: number;
  /** For one case in all; what is expected to take longer is not run. */
  readonly secondsPerCase: number;
  readonly say: (text: string) => void;
}

interface Row {
  readonly op: string;
  readonly name: string;
  readonly flops: number;
  /** Milliseconds of one run, medians. */
  readonly here?: number;
  readonly there?: number;
  /** Time here over time there, pair by pair. */
  readonly ratios?: readonly number[];
  readonly notRun?: string;
}

interface Side {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly run: (repeats: number) => Promise<number>;
  /** Milliseconds of the second run; the first one compiles. */
  readonly once: number;
}

/** A sample lasts at least this long. */
const SAMPLE_MS = 15;
const MOST_REPEATS = 2048;

/** Prints a table for one device; true when every case that both builds have could be run. */
export async function compareBuilds(
  label: string,
  options: DeviceOptions,
  [here, there]: readonly [Build, Build],
  given: AgainstOptions,
): Promise<boolean> {
  const devices = [await here.tensor.Device.open(options), await there.tensor.Device.open(options)] as const;
  const rows: Row[] = [];
  const longest = (given.secondsPerCase * 1e3) / (2 * given.pairs);
  const tooLong = `more than ${given.secondsPerCase} s (--seconds)`;
  let failed = false;
  try {
    for (const { op, opCase } of chosenCases(here, given)) {
      const other = there.ops.find(({ name }) => name === op.name);
      const row = { op: op.name, name: opCase.name, flops: op.cost(opCase.inputs, opCase.params).flops };
      given.say(`${label}: ${op.name} ${opCase.name}`);
      if (other === undefined) rows.push({ ...row, notRun: 'not in the other build' });
      else if (leastMs(row.flops, rows) > 10 * longest) rows.push({ ...row, notRun: tooLong });
      else {
        try {
          const mine = await enter(here, devices[0], op, opCase);
          const theirs = await enter(there, devices[1], other, opCase);
          const slow = Math.max(mine.once, theirs.once) > longest;
          rows.push({ ...row, ...(slow ? { notRun: tooLong } : await pairUp([mine, theirs], given.pairs)) });
          disposeAll([mine, theirs].flatMap(({ inputs }) => Object.values(inputs)));
        } catch (error) {
          failed = true;
          rows.push({ ...row, notRun: `FAILED: ${String(error).split('\n')[0]}` });
        }
      }
    }
  } finally {
    for (const device of devices) await device.dispose();
  }
  process.stdout.write(`${label}\n${tableOf(rows)}\n\n`);
  return !failed;
}

/** At the best rate that was seen; small cases are far from it, so this is a guess. */
function leastMs(flops: number, rows: readonly Row[]): number {
  const rates = rows.map(({ flops, here }) => (here === undefined ? 0 : flops / here));
  const best = Math.max(0, ...rates);
  return best === 0 ? 0 : flops / best;
}

async function enter({ tensor }: Build, device: Device, op: AnyOp, opCase: AnyCase): Promise<Side> {
  const inputs = uploadInputs(device, opCase);
  const run = async (repeats: number): Promise<number> => {
    const start = performance.now();
    for (let i = 0; i < repeats; i++) tensor.scope(() => void tensor.runOp(op, inputs, opCase.params));
    await device.sync();
    return (performance.now() - start) / repeats;
  };
  await run(1);
  return { inputs, run, once: await run(1) };
}

async function pairUp([here, there]: readonly [Side, Side], pairs: number): Promise<Partial<Row>> {
  const once = Math.max(here.once, there.once);
  const repeats = Math.max(1, Math.min(MOST_REPEATS, Math.ceil(SAMPLE_MS / once)));
  const times = await inTurn(pairs, [() => here.run(repeats), () => there.run(repeats)]);
  return {
    here: median(times.map(([mine]) => mine!)),
    there: median(times.map(([, theirs]) => theirs!)),
    ratios: times.map(([mine, theirs]) => mine! / theirs!),
  };
}

function tableOf(rows: readonly Row[]): string {
  return textTable<Row>(
    [
      { title: 'op', cell: ({ op }) => op },
      { title: 'case', cell: ({ name }) => name },
      { title: 'here', align: 'right', cell: ({ here }) => (here === undefined ? '' : duration(here)) },
      { title: 'there', align: 'right', cell: ({ there }) => (there === undefined ? '' : duration(there)) },
      { title: 'here/there', align: 'right', cell: ({ ratios }) => (ratios ? ratioText(ratios).middle : '') },
      { title: '95 % interval', cell: ({ ratios, notRun }) => (ratios ? ratioText(ratios).interval : notRun!) },
      { title: 'pairs', align: 'right', cell: ({ ratios }) => (ratios ? String(ratios.length) : '') },
    ],
    rows,
  );
}
