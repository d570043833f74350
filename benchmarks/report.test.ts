// What stands beside the figures: where they come from, of how many samples they are, and whether others were at work.
import { expect, test } from 'vitest';
import { isBusy, othersShare, provenanceText, watchRun } from './provenance.ts';
import type { Provenance } from './provenance.ts';
import { markdown } from './report.ts';
import { summarise } from './statistics.ts';
import type { CaseReport, DeviceReport } from './table.ts';

const idle: Provenance = {
  date: '2026-01-02T03:04:05.678Z',
  commit: '0123abc with changes',
  machine: { cpu: 'A CPU', cores: 4, memoryGiB: 8, platform: 'linux x64', node: '20.19.0' },
  load: { atStart: 0.25, atEnd: 4.1, others: 0.012 },
};
const withLoad = (load: Partial<Provenance['load']>): Provenance => ({ ...idle, load: { ...idle.load, ...load } });

test('commit, date, machine and load are said, and a busy machine is', () => {
  expect(provenanceText(idle)).toBe(
    '2026-01-02, commit 0123abc with changes; A CPU, 4 cores, 8 GiB; Node 20.19.0, linux x64; ' +
      "load average 0.25 at the start and 4.10 at the end, other processes took 1.2 % of the processors' time.",
  );
  for (const busy of [withLoad({ atStart: 2 }), withLoad({ others: 0.1 })]) {
    expect(isBusy(busy)).toBe(true);
    expect(provenanceText(busy)).toMatch(/time\. \*\*The machine was busy/);
  }
});

test('own work is not that of others', () => {
  expect(othersShare(500, 400, 1000)).toBe(0.1);
  expect(othersShare(390, 400, 1000)).toBe(0);
  expect(othersShare(0, 0, 0)).toBe(0);
});

test('a run knows its commit and machine', () => {
  const { date, commit, machine } = watchRun()();
  expect(commit).toMatch(/^[0-9a-f]{7,}( with changes)?$|^unknown$/);
  expect(machine.node).toBe(process.versions.node);
  expect(Date.parse(date)).toBeLessThanOrEqual(Date.now());
});

test('every row tells its samples; one sample has no percentiles', () => {
  const report = (name: string, real: boolean, times: readonly number[]): CaseReport => {
    return { op: 'op', name, real, flops: 1e6, bytes: 1e6, ms: summarise(times) };
  };
  const peaks = { flopsPerSecond: 1e9, bytesPerSecond: 1e9, bytesBy: 'a copy' } as DeviceReport['peaks'];
  const cases = [
    report('slow', true, [2000]),
    report('fast', true, [1, 2, 3]),
    report('smallOnce', false, [7]),
    report('small', false, [4, 5, 6]),
  ];
  const text = markdown({
    ...idle,
    devices: [{ label: 'wasm', backend: 'wasm', features: [], peaks, seconds: 1, cases }],
  });
  expect(text).toContain(provenanceText(idle));
  expect(text).toContain('| op | slow | 2000 ms |  |  | 1 |');
  expect(text).toContain('| op | fast | 2.00 ms | 1.20 ms | 2.80 ms | 3 |');
  expect(text).toContain('| op | smallOnce | 7.00 ms (1 sample) |');
  expect(text).toContain('| op | small | 5.00 ms |');
});
