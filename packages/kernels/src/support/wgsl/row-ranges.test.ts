import { expect, test } from 'vitest';
import { OpError } from '@magi1/tensor';
import type { Tensor, WebGpuCapabilities } from '@magi1/tensor';
import { rowRanges } from './row-ranges.ts';

const limit = (maxBindingBytes: number) => ({ maxBindingBytes }) as WebGpuCapabilities;
const tensor = {} as Tensor;

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

test('rows too long for any piece are refused', () => {
  expect(() => rowRanges('op', 100, [4 * 77], limit(8192))).toThrow(OpError);
});
