import { expect, test } from 'vitest';
import { OpError } from '@magi1/tensor';
import type { Tensor, TensorWindow, WebGpuCapabilities } from '@magi1/tensor';
import { rowRanges } from './row-ranges.ts';
import type { BytesOfRows } from './row-ranges.ts';

const limit = (maxBindingBytes: number) => ({ maxBindingBytes }) as WebGpuCapabilities;
const bytes = (byteLength: number) => ({ byteLength, shape: [byteLength], dtype: 'u8' }) as unknown as Tensor;

test('what fits is bound whole', () => {
  const [x, y] = [bytes(480), bytes(960)];
  const [range, ...more] = rowRanges('op', 10, { x: [x, 48], y: [y, 96] }, limit(960));
  expect(more).toEqual([]);
  expect(range!.bindings.x).toBe(x);
  expect(range!.bindings.y).toBe(y);
});

test('pieces cover all rows, start aligned and stay within the limit', () => {
  const operands = { x: [bytes(96000), 96], y: [bytes(48000), 48] } as const;
  const ranges = rowRanges('op', 1000, operands, limit(5000));
  expect(ranges[0]!.start).toBe(0);
  ranges.forEach(({ start, count, bindings }, i) => {
    expect(start + count).toBe(ranges[i + 1]?.start ?? 1000);
    for (const name of ['x', 'y'] as const) {
      const [tensor, rowBytes] = operands[name];
      expect((start * rowBytes) % 256).toBe(0);
      expect(count * rowBytes).toBeLessThanOrEqual(5000);
      expect(bindings[name]).toEqual({ tensor, byteStart: start * rowBytes, byteLength: count * rowBytes });
    }
  });
});

test('rows that may start anywhere need no alignment, only room for what comes before them', () => {
  const rows: BytesOfRows = (start, end) => [52 + 100 * start, 52 + 100 * (end - 1) + 40];
  const ranges = rowRanges('op', 50, { x: [bytes(5052), rows] }, limit(1024));
  expect(ranges.length).toBeGreaterThan(1);
  ranges.forEach(({ start, count, bindings }, i) => {
    expect(start + count).toBe(ranges[i + 1]?.start ?? 50);
    const { byteStart, byteLength } = bindings.x as TensorWindow;
    const [first, end] = rows(start, start + count);
    expect(byteStart).toBe(first - (first % 256));
    expect(byteStart + byteLength).toBe(end);
    expect(byteLength).toBeLessThanOrEqual(1024);
  });
});

test('pieces are as long as their own rows allow', () => {
  // Eighty rows share their bytes.
  const rows: BytesOfRows = (start, end) => [10 * Math.max(start - 80, 0), 10 * Math.max(end - 80, 1)];
  const ranges = rowRanges('op', 120, { x: [bytes(400), rows] }, limit(300));
  expect(ranges.map(({ count }) => count)).toEqual([110, 10]);
});

test('few rows of a tensor that is too large are a window of it', () => {
  const x = bytes(960);
  const [range, ...more] = rowRanges('op', 2, { x: [x, (s, e) => [300 + 100 * s, 240 + 100 * e]] }, limit(512));
  expect(more).toEqual([]);
  expect(range!.bindings.x).toEqual({ tensor: x, byteStart: 256, byteLength: 184 });
});

test('rows too long for any piece are refused, with the operand, its bytes and the limit', () => {
  const refused = () => rowRanges('op', 100, { x: [bytes(6400), 64], y: [bytes(30800), 308] }, limit(8192));
  expect(refused).toThrow(OpError);
  expect(refused).toThrow(
    "op: y u8[30800] can only be cut to pieces of 19712 bytes, which exceed this device's largest binding of 8192 bytes",
  );
});
