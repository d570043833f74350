// The process's peak, against what the process was seen to hold.
import { expect, test } from 'vitest';
import { processPeakBytes } from './process-memory.ts';

test('processPeakBytes is in bytes and keeps what was given back', () => {
  const before = process.memoryUsage.rss();
  let block: Uint8Array | undefined = new Uint8Array(96 * 2 ** 20).fill(1);
  const held = process.memoryUsage.rss();
  expect(held).toBeGreaterThanOrEqual(before + block.byteLength / 2);
  block = undefined;
  const peak = processPeakBytes();
  expect(peak).toBeGreaterThanOrEqual(held - 2 ** 20);
  expect(peak).toBeLessThan(held * 4);
});
