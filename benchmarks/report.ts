// What was measured, as text for the terminal, as Markdown for docs/benchmarks.md and as JSON.
import { provenanceText } from './provenance.ts';
import type { Provenance } from './provenance.ts';
import type { SideBySide, SideResult } from './sideBySide.ts';
import { isWrong } from './sideBySide.ts';
import { bound, digits, duration, percent } from './statistics.ts';
import type { Summary } from './statistics.ts';
import { NOT_QUICK } from './table.ts';
import type { CaseReport, DeviceReport } from './table.ts';
import { markdownTable, textTable } from './tables.ts';
import type { Column } from './tables.ts';

export interface Results extends Provenance {
  readonly devices: readonly DeviceReport[];
  readonly sideBySide?: SideBySide | undefined;
}

const right = 'right' as const;

const peaksLine = ({ peaks }: DeviceReport) =>
  `peaks ${digits(peaks.flopsPerSecond / 1e9)} GFLOP/s, ${digits(peaks.bytesPerSecond / 1e9)} GB/s (${peaks.bytesBy})`;

const rate = (amount: number, { ms }: CaseReport) => (ms === undefined ? '' : digits(amount / ms.median / 1e6));

function share(report: CaseReport, device: DeviceReport): string {
  if (report.ms === undefined) return report.notRun ?? `FAILED: ${report.failure!}`;
  const least = bound(report, device.peaks);
  return least.ms === 0 ? '' : `${percent(least.ms / report.ms.median)} of ${least.by}`;
}

/** One sample has no percentiles. */
function timeColumns<T extends { readonly ms?: Summary | undefined }>(): Column<T>[] {
  const percentile =
    (pick: 'p10' | 'p90') =>
    ({ ms }: T) =>
      ms === undefined || ms.samples === 1 ? '' : duration(ms[pick]);
  return [
    { title: 'median', align: right, cell: ({ ms }) => (ms === undefined ? '' : duration(ms.median)) },
    { title: 'p10', align: right, cell: percentile('p10') },
    { title: 'p90', align: right, cell: percentile('p90') },
    { title: 'samples', align: right, cell: ({ ms }) => (ms === undefined ? '' : String(ms.samples)) },
  ];
}

function caseColumns(device: DeviceReport): Column<CaseReport>[] {
  return [
    { title: 'op', cell: ({ op }) => op },
    { title: 'case', cell: ({ name }) => name },
    ...timeColumns<CaseReport>(),
    { title: 'GFLOP/s', align: right, cell: (report) => rate(report.flops, report) },
    { title: 'GB/s', align: right, cell: (report) => rate(report.bytes, report) },
    { title: 'share of peak', cell: (report) => share(report, device) },
  ];
}

export function deviceText(device: DeviceReport): string {
  return [
    `${device.label}: ${peaksLine(device)}; ${countText(device)}, ${digits(device.seconds)} s`,
    textTable(
      caseColumns(device),
      device.cases.filter(({ notRun }) => notRun !== NOT_QUICK),
    ),
  ].join('\n');
}

function countText({ cases }: DeviceReport): string {
  const failed = cases.filter(({ failure }) => failure !== undefined).length;
  const notRun = cases.filter(({ notRun }) => notRun !== undefined).length;
  return `${cases.length - failed - notRun} measured, ${failed} failed, ${notRun} not run`;
}

const SIDE_COLUMNS: readonly Column<SideResult>[] = [
  { title: 'on', cell: ({ group }) => group },
  { title: 'what', cell: ({ task }) => task },
  { title: 'who', cell: ({ name }) => name },
  ...timeColumns<SideResult>(),
  {
    title: 'GFLOP/s',
    align: right,
    cell: ({ ms, flops }) => (ms === undefined ? '' : digits(flops / ms.median / 1e6)),
  },
  { title: 'relative L2', align: right, cell: (result) => errorText(result) },
  { title: 'magi1 is faster by', cell: ({ ratios }) => ratioText(ratios) },
];

function errorText(result: SideResult): string {
  if (result.failure !== undefined) return result.failure;
  return `${result.error!.toExponential(1)}${isWrong(result) ? ' WRONG' : ''}`;
}

const ratioText = (ratios: SideResult['ratios']) =>
  Object.entries(ratios)
    .map(([name, ratio]) => `${ratio.toFixed(2)}${name.replace('magi1, ', ' with ').replace('magi1', '')}`)
    .join(', ');

export const sideText = ({ results, behind }: SideBySide): string =>
  [textTable(SIDE_COLUMNS, results), verdict(behind)].join('\n');

const verdict = (behind: readonly string[]): string =>
  behind.length === 0 ? 'Behind nobody.' : ['BEHIND:', ...behind.map((line) => `- ${line}`)].join('\n');

const HEAD = `# Benchmarks

Written by \`npm run bench\`; do not edit. A sample is several runs between two syncs, inputs uploaded before; median, 10th and 90th percentile of one run, and the number of samples; from one sample there are no percentiles.
The share is the least time that the device's own measured peaks allow, over the median: peak FLOP/s from multiply-adds in registers (or the best case, if that is higher), peak bytes per second from copies larger than the caches. Data that fits the caches can pass 100 %. FLOPs and bytes are an op's least.
`;

const SIDE_HEAD = `Products and attention (f32, softmax included) in one process, interleaved round by round, same numbers. relative L2: magi1 against rows in float64, the others against magi1. The factor is the median over rounds of their time over ours. tfjs has no attention: product, softmax, product, with layout changes and repeated heads left out of its time (on wasm head by head, which is its fastest). jax-js is jitted and gets repeated heads on wasm, which is faster for it. Both use one thread on wasm in Node.
`;

export function markdown(results: Results): string {
  const { devices, sideBySide } = results;
  const parts = [
    HEAD,
    `${provenanceText(results)}\n`,
    markdownTable<DeviceReport>(
      [
        { title: 'device', cell: ({ label }) => label },
        { title: 'peak GFLOP/s', align: right, cell: ({ peaks }) => digits(peaks.flopsPerSecond / 1e9) },
        { title: 'peak GB/s', align: right, cell: ({ peaks }) => digits(peaks.bytesPerSecond / 1e9) },
        { title: 'cases', cell: (device) => countText(device) },
      ],
      devices,
    ),
  ];
  if (sideBySide !== undefined) {
    parts.push(
      `\n## Side by side with other libraries\n\n${SIDE_HEAD}`,
      ...(sideBySide.adapter === undefined ? [] : [`WebGPU on ${sideBySide.adapter}.\n`]),
      markdownTable(SIDE_COLUMNS, sideBySide.results),
      `\n${verdict(sideBySide.behind)}`,
    );
  }
  for (const device of devices) {
    const real = device.cases.filter((report) => report.real);
    if (real.every(({ ms }) => ms === undefined)) continue;
    parts.push(`\n## Real shapes: ${device.label}\n`, markdownTable(caseColumns(device), real));
  }
  parts.push(
    `\n## Small cases, medians\n\nOf at least ${FEW} samples where no number of samples is given.\n`,
    smallCases(devices),
  );
  return `${parts.join('\n')}\n`;
}

/** Medians of fewer samples are marked where there is no column for their number. */
const FEW = 3;

function medianText({ median, samples }: Summary): string {
  const number = samples >= FEW ? '' : samples === 1 ? ' (1 sample)' : ` (${samples} samples)`;
  return `${duration(median)}${number}`;
}

/** One row per case, one column per device. */
function smallCases(devices: readonly DeviceReport[]): string {
  const key = ({ op, name }: CaseReport) => `${op} ${name}`;
  const byKey = devices.map((device) => new Map(device.cases.map((report) => [key(report), report])));
  const rows = (devices[0]?.cases ?? []).filter(({ real }) => !real);
  return markdownTable<CaseReport>(
    [
      { title: 'op', cell: ({ op }) => op },
      { title: 'case', cell: ({ name }) => name },
      ...devices.map(({ label }, i) => ({
        title: label,
        align: right,
        cell: (row: CaseReport) => {
          const report = byKey[i]!.get(key(row));
          return report?.ms === undefined ? (report?.notRun ?? 'FAILED') : medianText(report.ms);
        },
      })),
    ],
    rows,
  );
}
