import { expect, test } from 'vitest';
import { OpError } from '@magi1/tensor';
import type { Tensor, TensorWindow, WebGpuCapabilities } from '@magi1/tensor';
import { rowRanges } from './row-ranges.ts';

const limit = (maxBindingBytes: number) => ({ maxBindingBytes }) as WebGpuCapabilities;
const tensor = { byteLength: 960 } as Tensor;

test('what fits is bound whole', () => {
  const [range, ...more] = rowRanges('op', 10, [48, 96], limit(960));
  expect(more).toEqual([]);
  expect(range!.window(tensor, 48)).toBe(tensor);
});

test('pieces cover all rows, start aligned and stay within the limit', () => {
  const ranges = rowRanges('op', 1000, [96, 48], limit(5000));
  expect(ranges[0]!.start).toBe(0);
  ranges.forEach((range, i) => {
    expect(range.start + range.count).toBe(ranges[i + 1]?.start ?? 1000);
    for (const bytes of [96, 48]) {
      expect((range.start * bytes) % 256).toBe(0);
      expect(range.count * bytes).toBeLessThanOrEqual(5000);
      expect(range.window(tensor, bytes)).toEqual({
        tensor,
        byteStart: range.start * bytes,
        byteLength: range.count * bytes,
      });
    }
  });
});

test('rows that may start anywhere need no alignment, only room for what comes before them', () => {
  const rows = { start: 52, stride: 100, span: 40 };
  const ranges = rowRanges('op', 50, [rows], limit(1024));
  expect(ranges.length).toBeGreaterThan(1);
  ranges.forEach((range, i) => {
    expect(range.start + range.count).toBe(ranges[i + 1]?.start ?? 50);
    const { byteStart, byteLength } = range.window(tensor, rows) as TensorWindow;
    const first = 52 + 100 * range.start;
    expect(byteStart).toBe(first - (first % 256));
    expect(byteStart + byteLength).toBe(first + 100 * (range.count - 1) + 40);
    expect(byteLength).toBeLessThanOrEqual(1024);
  });
});

test('few rows of a tensor that is too large are a window of it', () => {
  const [range, ...more] = rowRanges('op', 2, [{ start: 300, stride: 100, span: 40 }], limit(512));
  expect(more).toEqual([]);
  const window = range!.window(tensor, { start: 300, stride: 100, span: 40 });
  expect(window).toEqual({ tensor, byteStart: 256, byteLength: 184 });
});

test('rows too long for any piece are refused', () => {
  const refused = () => rowRanges('op', 100, [4 * 77], limit(8192));
  expect(refused).toThrow(OpError);
  expect(refused).toThrow('op: 64 rows of 308 bytes exceed one binding of 8192 bytes');
});
