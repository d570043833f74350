// Runs the case tables of all ops on one device, smallest work first, until its time is used up.
import type { AnyCase, AnyOp, Device } from '@magi1/tensor';
import { casesOf } from './inputs.ts';
import { measureCase } from './measure.ts';
import type { Effort } from './measure.ts';
import { measurePeaks } from './peaks.ts';
import type { Peaks } from './peaks.ts';
import { bound } from './statistics.ts';
import type { Summary } from './statistics.ts';

export interface CaseReport {
  readonly op: string;
  readonly name: string;
  /** A layer's real shape, not one chosen to find errors. */
  readonly real: boolean;
  readonly flops: number;
  readonly bytes: number;
  readonly ms?: Summary;
  /** Why there is no time. */
  readonly notRun?: string;
  readonly failure?: string;
}

export interface DeviceReport {
  readonly label: string;
  readonly backend: string;
  readonly features: readonly string[];
  readonly peaks: Peaks;
  readonly seconds: number;
  /** In the order of the case tables. */
  readonly cases: readonly CaseReport[];
}

export interface TableOptions {
  readonly ops: readonly AnyOp[];
  /** For this device in all. */
  readonly seconds: number;
  readonly quick: boolean;
  readonly progress: (text: string) => void;
}

const FULL: Effort = { sampleMs: 5, totalMs: 60, samples: 3, slowMs: 1500 };
const QUICK: Effort = { sampleMs: 5, totalMs: 25, samples: 2, slowMs: 300 };
const QUICK_PEAKS: Effort = { sampleMs: 10, totalMs: 60, samples: 2, slowMs: 300 };

export const NOT_QUICK = 'not in a quick run';

/** Of what the peaks allow: half of them and two runs are expected. What needs more than the time left is not begun. */
const EXPECTED = 4;
/** A quick run takes real shapes that need at most this long at the device's peaks. */
const QUICK_BOUND_MS = 40;

interface Entry {
  readonly op: AnyOp;
  readonly opCase: AnyCase;
  readonly flops: number;
  readonly bytes: number;
}

export async function measureTable(device: Device, label: string, options: TableOptions): Promise<DeviceReport> {
  const start = performance.now();
  const left = () => options.seconds * 1e3 - (performance.now() - start);
  options.progress(`${label}: peaks`);
  const probed = await measurePeaks(device, options.quick ? QUICK_PEAKS : undefined);
  const entries = options.ops.flatMap((op) => casesOf(op).map((opCase) => ({ op, opCase, ...costOf(op, opCase) })));
  const order = entries.map((entry, i) => ({ entry, i })).sort((a, b) => work(a.entry, probed) - work(b.entry, probed));
  const cases = new Array<CaseReport>(entries.length);
  for (const [done, { entry, i }] of order.entries()) {
    options.progress(`${label}: ${done + 1}/${entries.length} ${entry.op.name} ${entry.opCase.name}`);
    cases[i] = await measureEntry(device, entry, probed, left(), options.quick);
  }
  // What a kernel reached, the device can do.
  const best = Math.max(...cases.map(({ flops, ms }) => (ms === undefined ? 0 : (1e3 * flops) / ms.median)));
  const peaks = { ...probed, flopsPerSecond: Math.max(probed.flopsPerSecond, best) };
  const { backend, info } = device;
  return { label, backend, features: info.features, peaks, seconds: (performance.now() - start) / 1e3, cases };
}

const costOf = (op: AnyOp, opCase: AnyCase) => op.cost(opCase.inputs, opCase.params);
const work = (entry: Entry, peaks: Peaks) => bound(entry, peaks).ms;

async function measureEntry(
  device: Device,
  { op, opCase, flops, bytes }: Entry,
  peaks: Peaks,
  leftMs: number,
  quick: boolean,
): Promise<CaseReport> {
  const report = { op: op.name, name: opCase.name, real: opCase.benchmarkOnly === true, flops, bytes };
  const notRun = whyNot(device, op, report, bound(report, peaks).ms, leftMs, quick);
  if (notRun !== undefined) return { ...report, notRun };
  try {
    return { ...report, ms: await measureCase(device, op, opCase, quick ? QUICK : FULL) };
  } catch (error) {
    return { ...report, failure: String(error instanceof Error ? error.message : error).split('\n')[0]! };
  }
}

function whyNot(
  device: Device,
  op: AnyOp,
  { real }: { readonly real: boolean },
  boundMs: number,
  leftMs: number,
  quick: boolean,
): string | undefined {
  const { backend } = device;
  if (backend !== 'reference' && op[backend] === undefined) return `no ${backend} version`;
  if (backend === 'reference' && real) return 'too large for the reference';
  if (quick && backend !== 'reference' && !real) return NOT_QUICK;
  if (quick && boundMs > QUICK_BOUND_MS) return 'too long for a quick run';
  if (boundMs * EXPECTED > leftMs || leftMs <= 0) return 'time used up';
  return undefined;
}
