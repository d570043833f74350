import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { byteCount } from './cli/command.ts';
import { formatBytes, formatLimit, formatNeed } from './wording.ts';

const amounts = fc.oneof(
  fc.double({ min: 0.5, max: 2 ** 50, noNaN: true }),
  fc.integer({ min: 1, max: 2 ** 24 }),
  // Just below and above what two digits hold.
  fc
    .tuple(
      fc.integer({ min: 1, max: 99_999 }),
      fc.constantFrom(10, 20, 30),
      fc.double({ min: -2, max: 2, noNaN: true }),
    )
    .map(([hundredths, power, off]) => Math.max(1, (hundredths / 100) * 2 ** power + off)),
);
const typed = (text: string) => byteCount({ budget: text }, 'budget')!;

describe('amounts in messages', () => {
  it('suffice for the need when they are typed as they read', () => {
    fc.assert(
      fc.property(amounts, (bytes) => {
        expect(typed(formatNeed(bytes))).toBeGreaterThanOrEqual(bytes);
        expect(typed(formatNeed(bytes).replace(' ', ''))).toBeLessThanOrEqual(1.01 * bytes + 12);
      }),
      { numRuns: 2000 },
    );
  });

  it('tell a limit from a need that is above it', () => {
    fc.assert(
      fc.property(amounts, fc.double({ min: 1e-9, max: 0.01, noNaN: true }), (limit, more) => {
        expect(formatLimit(limit)).not.toBe(formatNeed(limit * (1 + more)));
        if (limit >= 1) expect(typed(formatLimit(limit))).toBeLessThanOrEqual(limit);
      }),
      { numRuns: 2000 },
    );
  });
});

it('one byte is one', () => {
  expect([formatBytes(1), formatLimit(1.5), formatBytes(2)]).toEqual(['1 byte', '1 byte', '2 bytes']);
});
