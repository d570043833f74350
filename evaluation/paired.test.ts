// Differences of paired clips, against numbers worked out by hand and against drawn ones.
import { expect, test } from 'vitest';
import { differences, pairedLine } from './paired.ts';

const clip = (colour: number, direction?: number) => ({
  colour,
  shape: 1,
  count: 1,
  ...(direction !== undefined && { direction }),
});

test('compares what both clips have, value by value and in the mean', () => {
  const before = [clip(1, 1), clip(1), clip(1, 1), clip(0)];
  const after = [clip(1, 0), clip(0), clip(1, 1), clip(0)];
  const found = new Map(differences(before, after, 4).map((each) => [each.name, each]));
  expect(found.get('colour')).toMatchObject({ before: 0.75, after: 0.5 });
  expect(found.get('shape')).toMatchObject({ before: 1, after: 1, margin: 0 });
  expect(found.get('direction')).toMatchObject({ before: 1, after: 0.5 }); // of the two that ask for one
  expect(found.get('mean')).toMatchObject({ before: 3.75 / 4, after: 3 / 4 });
  // Parts of -1/4, 0, 0, 0: their mean is -1/16, the spread (3/16)^2 + 3 (1/16)^2 times 4/3.
  expect(found.get('colour')!.margin).toBeCloseTo(1.96 * Math.sqrt(((9 + 3) / 256) * (4 / 3)), 12);
  expect(pairedLine(found.get('colour')!)).toMatch(/^colour +75\.0 % +50\.0 % +-25\.00 points \(95 %: \+-49\.0\)$/);
});

test('seeds of one prompt count as one draw', () => {
  const before = Array.from({ length: 8 }, () => clip(1));
  const after = before.map((_, i) => clip(i % 4 === 0 ? 0 : 1));
  const margin = (prompts: number) => differences(before, after, prompts).find(({ name }) => name === 'colour')!.margin;
  expect(margin(4)).toBeGreaterThan(margin(8)); // both fail together
});

test('an interval holds the true difference as often as it says', () => {
  let seed = 1;
  const random = () => (seed = (seed * 48271) % 2147483647) / 2147483647;
  const trials = 400;
  let held = 0;
  for (let trial = 0; trial < trials; trial++) {
    const before = Array.from({ length: 200 }, () => clip(random() < 0.9 ? 1 : 0));
    const after = before.map(() => clip(random() < 0.8 ? 1 : 0));
    const { before: from, after: to, margin } = differences(before, after, 200)[0]!;
    if (Math.abs(to - from + 0.1) <= margin) held++;
  }
  expect(held / trials).toBeGreaterThan(0.9);
  expect(held / trials).toBeLessThan(0.99);
});
