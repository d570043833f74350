import { expect, test } from 'vitest';
import { rowsOf, tableOf } from './runs.ts';

const spent = (wall: number, firstStep?: number) => ({
  wall,
  processor: 2 * wall,
  ...(firstStep !== undefined && { firstStep }),
});

test('a table gives both builds, their ratio pair by pair, and how far the other is from itself', () => {
  const rounds = [
    [spent(110, 30), spent(100, 60), spent(90, 60)],
    [spent(220, 40), spent(200, 80), spent(202, 80)],
    [spent(120, 50), spent(100, 100), spent(101, 100)],
  ];
  const lines = tableOf(rowsOf('video', rounds)).split('\n');
  expect(lines.map((line) => line.split(/ {2,}/))).toEqual([
    ['program', 'time', 'here', 'there', 'here/there', '95 % interval', 'there/there', '95 % interval', 'pairs'],
    [
      'video',
      'processor, to the first step',
      '40.0 ms',
      '80.0 ms',
      '0.500',
      '0.500 to 0.500',
      '1.000',
      '1.000 to 1.000',
      '3',
    ],
    ['video', 'processor', '240 ms', '200 ms', '1.100', '1.100 to 1.200', '1.010', '0.900 to 1.010', '3'],
    ['video', 'clock', '120 ms', '100 ms', '1.100', '1.100 to 1.200', '1.010', '0.900 to 1.010', '3'],
  ]);
});

test('a program that does not denoise has no first step', () => {
  const rows = rowsOf('--help', [[spent(1), spent(1), spent(1)]]);
  expect(rows.map(({ figure }) => figure)).toEqual(['processor', 'clock']);
});
