// Where the time goes: what every call of an op takes, gathered by a device while a profile is taken, as a table and as a
// trace for chrome://tracing or https://ui.perfetto.dev.
import type { AnyOp, Cost, OpCall } from './op.ts';

/** One call of an op. Times are milliseconds, counted from the beginning of the profile. */
export interface OpTime {
  readonly op: string;
  /** What `device.mark` named last before the call was recorded, or ''. */
  readonly stage: string;
  readonly start: number;
  readonly milliseconds: number;
  /** Its `cost`: arithmetic, and bytes that it must read and write at least. */
  readonly flops: number;
  readonly bytes: number;
}

/** A stretch between two calls of `device.mark`, as the host saw it: with all that happened beside the ops. */
export interface StageTime {
  readonly stage: string;
  readonly start: number;
  readonly milliseconds: number;
}

/**
 * How op times were taken: by the `host` around each step that it ran; by `GPU timestamps` around each dispatch, each of
 * which had a pass of its own; or by `submission and wait`, one op at a time, which counts what handing over costs; or
 * nothing was `computed` at all (the meta device: calls and costs only).
 */
export type ProfileClock = 'host' | 'GPU timestamps' | 'submission and wait' | 'not computed';

export interface Profile {
  readonly clock: ProfileClock;
  /** Of the whole profile, by the host's clock. */
  readonly milliseconds: number;
  /** Every call, in the order in which they were recorded. */
  readonly ops: readonly OpTime[];
  readonly stages: readonly StageTime[];
}

/** All calls of an op in a stage. */
export interface OpTotal {
  readonly stage: string;
  readonly op: string;
  readonly calls: number;
  readonly milliseconds: number;
  readonly flops: number;
  readonly bytes: number;
}

/** A call while the profile is taken. Its times are those of `performance.now()`. */
export class Timing {
  readonly op: string;
  readonly stage: string;
  readonly cost: Cost;
  start: number | undefined;
  milliseconds = 0;

  constructor(op: string, stage: string, cost: Cost) {
    this.op = op;
    this.stage = stage;
    this.cost = cost;
  }

  /** It was at work for so long; may be called several times. */
  add(from: number, to: number): void {
    this.start ??= from;
    this.milliseconds += to - from;
  }
}

/** Gathers a profile. */
export class Profiler {
  readonly clock: ProfileClock;
  readonly #origin = performance.now();
  readonly #timings: Timing[] = [];
  readonly #stages: StageTime[] = [];
  #stage = '';
  #stageStart = 0;

  constructor(clock: ProfileClock) {
    this.clock = clock;
  }

  mark(stage: string): void {
    if (stage === this.#stage) return;
    this.#endStage();
    this.#stage = stage;
  }

  /** A call is recorded. */
  call(op: AnyOp, { inputs, params }: OpCall): Timing {
    return this.add(op.name, op.cost(inputs, params));
  }

  protected add(op: string, cost: Cost): Timing {
    const timing = new Timing(op, this.#stage, cost);
    this.#timings.push(timing);
    return timing;
  }

  /** No more calls will come. */
  finish(): Promise<Profile> {
    const milliseconds = this.#endStage();
    const computed = this.clock !== 'not computed';
    // A call that never ran, as after an abort, has no time.
    const ops = this.#timings.flatMap(({ op, stage, cost, start = this.#origin, milliseconds }, i) =>
      computed && this.#timings[i]!.start === undefined
        ? []
        : [{ op, stage, start: start - this.#origin, milliseconds, ...cost }],
    );
    return Promise.resolve({ clock: this.clock, milliseconds, ops, stages: this.#stages });
  }

  /** What was before the first mark is no stage of its own when nothing was recorded in it. */
  #endStage(): number {
    const now = performance.now() - this.#origin;
    if (this.#stage !== '' || this.#timings.length > 0)
      this.#stages.push({ stage: this.#stage, start: this.#stageStart, milliseconds: now - this.#stageStart });
    this.#stageStart = now;
    return now;
  }
}

/** Calls added up by stage and op: stages in their order, the dearest op first. */
export function opTotals({ ops }: Profile): OpTotal[] {
  const stages = new Map<string, Map<string, OpTotal>>();
  for (const { stage, op, milliseconds, flops, bytes } of ops) {
    const totals = stages.get(stage) ?? new Map<string, OpTotal>();
    const before = totals.get(op) ?? { calls: 0, milliseconds: 0, flops: 0, bytes: 0 };
    totals.set(op, {
      ...{ stage, op },
      calls: before.calls + 1,
      milliseconds: before.milliseconds + milliseconds,
      flops: before.flops + flops,
      bytes: before.bytes + bytes,
    });
    stages.set(stage, totals);
  }
  return [...stages.values()].flatMap((totals) =>
    [...totals.values()].sort((a, b) => b.milliseconds - a.milliseconds || b.flops - a.flops),
  );
}

const HEADS = ['op', 'calls', 'total ms', 'mean ms', 'share', 'GFLOP/s', 'GB/s'];
const WIDTHS = [20, 8, 11, 10, 9, 9, 8];

/** The totals as text, a block for each stage; shares are those of the time that all ops took. */
export function profileTable(profile: Profile): string {
  const totals = opTotals(profile);
  const all = sumOf(totals);
  const row = (cells: readonly string[]) =>
    cells.map((cell, i) => (i === 0 ? cell.padEnd(WIDTHS[i]!) : cell.padStart(WIDTHS[i]!))).join('');
  const lines: string[] = [];
  const names = new Set([...profile.stages, ...totals].map(({ stage }) => stage));
  for (const name of names) {
    const ofStage = totals.filter(({ stage }) => stage === name);
    const wall = sumOf(profile.stages.filter(({ stage }) => stage === name));
    const inOps = `${sumOf(ofStage).toFixed(1)} ms in ops`;
    lines.push(`${name || 'before any stage'}: ${wall.toFixed(1)} ms, ${inOps}`);
    if (ofStage.length > 0) lines.push(row(HEADS));
    for (const { op, calls, milliseconds, flops, bytes } of ofStage) {
      const rate = (amount: number) => (milliseconds === 0 ? '-' : (amount / milliseconds / 1e6).toFixed(2));
      const share = all === 0 ? '-' : `${((100 * milliseconds) / all).toFixed(1)} %`;
      const times = [milliseconds.toFixed(1), (milliseconds / calls).toFixed(3)];
      lines.push(row([op, String(calls), ...times, share, rate(flops), rate(bytes)]));
    }
    lines.push('');
  }
  lines.push(
    `in all: ${profile.milliseconds.toFixed(1)} ms, ${all.toFixed(1)} ms in ops; clock of the ops: ${profile.clock}`,
  );
  return lines.join('\n');
}

const sumOf = (times: readonly { readonly milliseconds: number }[]) =>
  times.reduce((sum, { milliseconds }) => sum + milliseconds, 0);

/** The trace as JSON: stages on one track, ops on another, with their costs. */
export function chromeTrace({ clock, milliseconds, ops, stages }: Profile): object {
  const track = (tid: number, name: string) => ({ name: 'thread_name', ph: 'M', pid: 1, tid, args: { name } });
  const span = (tid: number, name: string, time: StageTime, args: object) => ({
    ...{ name, cat: time.stage, ph: 'X', pid: 1, tid },
    ...{ ts: time.start * 1000, dur: time.milliseconds * 1000, args },
  });
  return {
    displayTimeUnit: 'ms',
    otherData: { clock, milliseconds },
    traceEvents: [
      track(1, 'stages'),
      track(2, `ops (${clock})`),
      ...stages.map((time) => span(1, time.stage || 'before any stage', time, {})),
      ...ops.map((time) => span(2, time.op, time, { stage: time.stage, flops: time.flops, bytes: time.bytes })),
    ],
  };
}
