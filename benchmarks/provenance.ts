// What the figures of a run belong to: the commit, the machine, and how busy it was with other work.
import { execFileSync } from 'node:child_process';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { ROOT } from './root.ts';
import { percent } from './statistics.ts';

export interface Provenance {
  /** ISO 8601, when the run began. */
  readonly date: string;
  /** `abc1234`, with ` with changes` where tracked files differ from it; `unknown` outside a clone. */
  readonly commit: string;
  readonly machine: Machine;
  readonly load: Load;
}

export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly platform: string;
  readonly node: string;
}

export interface Load {
  /** Runnable processes over the last minute, all of the machine's; 0 on Windows. */
  readonly atStart: number;
  readonly atEnd: number;
  /** Processor time that other processes took during the run, as a share of all cores' time. */
  readonly others: number;
}

export function revision(): string {
  const git = (...args: string[]) =>
    execFileSync('git', args, { cwd: ROOT, encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    const changed = git('status', '--porcelain', '--untracked-files=no') !== '';
    return `${git('rev-parse', '--short', 'HEAD')}${changed ? ' with changes' : ''}`;
  } catch {
    return 'unknown';
  }
}

/** Milliseconds of all cores together since they started. */
function coreTimes(): { readonly busy: number; readonly all: number } {
  const sums = { busy: 0, all: 0 };
  for (const { times } of cpus()) {
    const busy = times.user + times.nice + times.sys + times.irq;
    sums.busy += busy;
    sums.all += busy + times.idle;
  }
  return sums;
}

/** Begins a run; what it returns tells about the run until then. */
export function watchRun(): () => Provenance {
  const date = new Date().toISOString();
  const commit = revision();
  const atStart = loadavg()[0]!;
  const [cores, own] = [coreTimes(), process.cpuUsage()];
  return () => {
    const now = coreTimes();
    const { user, system } = process.cpuUsage(own);
    const others = othersShare(now.busy - cores.busy, (user + system) / 1e3, now.all - cores.all);
    const load = { atStart, atEnd: loadavg()[0]!, others };
    return { date, commit, machine: thisMachine(), load };
  };
}

/** Milliseconds of processor time: the cores', this process's, and what there was. Clocks tick, so a little may miss. */
export const othersShare = (busy: number, own: number, all: number): number =>
  Math.min(1, Math.max(0, busy - own) / Math.max(1, all));

function thisMachine(): Machine {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown CPU',
    cores: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
  };
}

/** Of what is too slow because of others, if anything: half the cores were taken before, or a tenth during the run. */
export const isBusy = ({ load, machine }: Pick<Provenance, 'load' | 'machine'>): boolean =>
  load.atStart >= machine.cores / 2 || load.others >= 0.1;

/** One line, in Markdown too. */
export function provenanceText(run: Provenance): string {
  const { date, commit, machine, load } = run;
  return (
    `${date.slice(0, 10)}, ${commit === 'unknown' ? 'unknown commit' : `commit ${commit}`}; ` +
    `${machine.cpu}, ${machine.cores} cores, ${machine.memoryGiB} GiB; Node ${machine.node}, ${machine.platform}; ` +
    `load average ${load.atStart.toFixed(2)} at the start and ${load.atEnd.toFixed(2)} at the end, ` +
    `other processes took ${percent(load.others)} of the processors' time.` +
    (isBusy(run)
      ? ' **The machine was busy with other work: times are longer and scatter more than they should.**'
      : '')
  );
}
