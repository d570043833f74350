import { expect, test } from 'vitest';
import {
  bound,
  digits,
  duration,
  inTurn,
  median,
  medianInterval,
  percent,
  perRun,
  quantile,
  ratioText,
  relativeL2,
  summarise,
} from './statistics.ts';

test('quantiles lie between neighbours', () => {
  expect(quantile([1, 2, 3, 4, 5], 0.5)).toBe(3);
  expect(quantile([10, 20], 0.25)).toBe(12.5);
  expect(quantile([7], 0.9)).toBe(7);
  expect(median([9, 1, 5, 3])).toBe(4);
  expect(() => quantile([], 0.5)).toThrow(RangeError);
});

test('a summary does not depend on the order and is not moved by one outlier', () => {
  const summary = summarise([5, 1, 4, 2, 100]);
  expect(summary).toMatchObject({ median: 4, mad: 2, min: 1, samples: 5 });
  expect(summary.p10).toBeCloseTo(1.4);
  expect(summary.p90).toBeCloseTo(62);
  expect(perRun(summary, 4)).toMatchObject({ median: 1, mad: 0.5, min: 0.25, samples: 5 });
  expect(() => summarise([1, NaN])).toThrow(/not times/);
});

test('the scarcer of arithmetic and memory bounds the time', () => {
  const peaks = { flopsPerSecond: 1e9, bytesPerSecond: 2e9 };
  expect(bound({ flops: 1e9, bytes: 1e9 }, peaks)).toEqual({ ms: 1000, by: 'flops' });
  expect(bound({ flops: 0, bytes: 1e9 }, peaks)).toEqual({ ms: 500, by: 'bytes' });
});

test('relative L2', () => {
  expect(relativeL2([3, 4.5], [3, 4])).toBeCloseTo(0.1);
  expect(relativeL2([0], [0])).toBe(0);
  expect(relativeL2([NaN, 1], [1, 1])).toBeNaN();
  expect(() => relativeL2([1], [1, 2])).toThrow(RangeError);
});

test('numbers have three digits', () => {
  expect([0, 0.01234, 1.2345, 12.345, 123.45, 12345].map(digits)).toEqual([
    '0',
    '0.0123',
    '1.23',
    '12.3',
    '123',
    '12345',
  ]);
  expect([0.0015, 0.5, 2.5, 1234, 12_345].map(duration)).toEqual(['1.50 us', '500 us', '2.50 ms', '1234 ms', '12.3 s']);
  expect([0.034, 0.5, 1.2].map(percent)).toEqual(['3.4 %', '50 %', '120 %']);
});

test('medianInterval covers the median in at least 95 of 100 draws', () => {
  // By the binomial distribution: of 20 values the 6th and the 15th (95.9 %), of 6 the outermost (96.9 %).
  const twenty = Array.from({ length: 20 }, (_, i) => 20 - i);
  expect(medianInterval(twenty)).toEqual([6, 15]);
  expect(medianInterval([3, 1, 2, 6, 5, 4])).toEqual([1, 6]);
  expect(medianInterval([2, 1])).toEqual([1, 2]);
  expect(() => medianInterval([])).toThrow(RangeError);
});

test('sides are measured in turn, and who comes first changes', async () => {
  const order: string[] = [];
  const side = (name: string) => () => Promise.resolve(order.push(name));
  expect(await inTurn(3, [side('a'), side('b'), side('c')])).toEqual([
    [1, 2, 3],
    [6, 5, 4],
    [7, 8, 9],
  ]);
  expect(order.join('')).toBe('abccbaabc');
  expect(ratioText([1.25, 1, 1.125])).toEqual({ middle: '1.125', interval: '1.000 to 1.250' });
});
