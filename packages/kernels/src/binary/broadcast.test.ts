import { expect, test } from 'vitest';
import { broadcastPlan, broadcastShape, elementsBetween } from './broadcast.ts';

test('shapes are aligned at the last axis', () => {
  expect(broadcastShape([2, 3], [3])).toEqual([2, 3]);
  expect(broadcastShape([], [4, 1])).toEqual([4, 1]);
  expect(broadcastShape([5, 1, 2], [7, 1])).toEqual([5, 7, 2]);
  expect(broadcastShape([0, 3], [1, 3])).toEqual([0, 3]);
  expect(broadcastShape([2, 3], [2])).toBeUndefined();
});

test('neighbouring axes join where both inputs allow', () => {
  expect(broadcastPlan([2, 3, 4], [2, 3, 4])).toEqual({ dims: [24], aStrides: [1], bStrides: [1] });
  expect(broadcastPlan([6, 8, 4], [4])).toEqual({ dims: [48, 4], aStrides: [4, 1], bStrides: [0, 1] });
  expect(broadcastPlan([6, 8, 4], [6, 1, 1])).toEqual({ dims: [6, 32], aStrides: [32, 1], bStrides: [1, 0] });
  expect(broadcastPlan([3, 1], [1, 5])).toEqual({ dims: [3, 5], aStrides: [1, 0], bStrides: [0, 1] });
  expect(broadcastPlan([1, 1], [1])).toEqual({ dims: [], aStrides: [], bStrides: [] });
});

test('what a stretch of the output reads of an input is its lowest to its highest element', () => {
  const [dims, walks] = [
    [3, 2, 4],
    [
      [8, 4, 1],
      [0, 4, 1],
      [1, 0, 3],
      [0, 0, 1],
      [2, 1, 0],
    ],
  ];
  for (const strides of walks) {
    const at = (i: number) =>
      Math.floor(i / 8) * strides[0]! + (Math.floor(i / 4) % 2) * strides[1]! + (i % 4) * strides[2]!;
    for (let first = 0; first < 24; first++) {
      for (let last = first; last < 24; last++) {
        const all = Array.from({ length: last - first + 1 }, (_, i) => at(first + i));
        expect(elementsBetween(dims, strides, first, last)).toEqual([Math.min(...all), Math.max(...all)]);
      }
    }
  }
});
