// Checksums as Node has them, in any pieces and after any state.
import { createHash } from 'node:crypto';
import { expect, test } from 'vitest';
import { someBytes } from '../../../../tests/support/hub.ts';
import { Sha256 } from './sha256.ts';

const expected = (bytes: Uint8Array) => createHash('sha256').update(bytes).digest('hex');

test.each([0, 1, 55, 56, 63, 64, 65, 119, 120, 128, 1000, 100_003])('of %s bytes', (length) => {
  const bytes = someBytes(length, length);
  expect(new Sha256().update(bytes).digest()).toBe(expected(bytes));
});

test('in pieces, and from a state that was kept between them', () => {
  const bytes = someBytes(5000, 1);
  let hash = new Sha256();
  for (let at = 0, step = 1; at < bytes.length; at += step, step = (step * 7) % 211) {
    hash = new Sha256(hash.state);
    expect(hash.length).toBe(at);
    hash.update(bytes.subarray(at, at + step));
  }
  expect(hash.digest()).toBe(expected(bytes));
});

test.each(['', '3:00:', '1:xyz:00', `1:${'0'.repeat(64)}:`])('"%s" is no state', (state) => {
  expect(() => new Sha256(state)).toThrow(/state of a checksum/);
});
