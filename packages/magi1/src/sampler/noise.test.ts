import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { logUniform, philox4x32, seededNoise, unitVector } from './noise.ts';

function philox(counter: number[], key: [number, number]): string {
  const block = Uint32Array.from(counter);
  philox4x32(block, ...key);
  return Array.from(block, (word) => word.toString(16).padStart(8, '0')).join(' ');
}

describe('philox4x32', () => {
  it('gives the known answers of its authors (Random123)', () => {
    const ones = 0xffffffff;
    expect(philox([0, 0, 0, 0], [0, 0])).toBe('6627e8d5 e169c58d bc57ac4c 9b00dbd8');
    expect(philox([ones, ones, ones, ones], [ones, ones])).toBe('408f276d 41c83b0e a20bc7c6 6d5451fd');
    expect(philox([0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344], [0xa4093822, 0x299f31d0])).toBe(
      'd16cfe09 94fdcceb 5001e420 24126ea1',
    );
  });
});

describe('series', () => {
  const word = fc.oneof(
    fc.integer({ min: 0, max: 0xffffffff }),
    fc.constantFrom(0, 1, 0x7fffffff, 0x80000000, 0xffffffff),
  );

  it('agree with the engine to a few 1e-15', () => {
    fc.assert(
      fc.property(word, (w) => {
        const log = Math.log((w + 0.5) / 2 ** 32);
        expect(Math.abs(logUniform(w) - log)).toBeLessThanOrEqual(4e-16 * Math.max(1, Math.abs(log)) + 1e-16);
        const angle = (w / 2 ** 32) * 2 * Math.PI - Math.PI / 4;
        const out = new Float64Array(2);
        unitVector(w, out, 0);
        expect(Math.abs(out[0]! - Math.cos(angle))).toBeLessThan(2e-15);
        expect(Math.abs(out[1]! - Math.sin(angle))).toBeLessThan(2e-15);
      }),
      { numRuns: 2000 },
    );
  });
});

describe('seededNoise', () => {
  const count = 1 << 20;
  const noise = seededNoise(1234, count);

  it('has the same bits everywhere', () => {
    const bits = new Uint32Array(noise.buffer);
    let hash = 0x811c9dc5;
    for (const word of bits) hash = Math.imul(hash ^ word, 0x01000193) >>> 0;
    expect([...bits.subarray(0, 4)].map((b) => b.toString(16))).toEqual(KNOWN_BITS);
    expect(hash.toString(16)).toBe(KNOWN_HASH);
  });

  it('is a stream: any part can be made alone', () => {
    for (const [offset, length] of [
      [0, 5],
      [1, 2],
      [3, 1],
      [6, 9],
      [1021, 64],
    ] as const)
      expect(seededNoise(1234, length, offset)).toEqual(noise.slice(offset, offset + length));
    expect(seededNoise(1234, 0)).toHaveLength(0);
  });

  it('depends on all 64 bits of the seed', () => {
    const first = [0n, 1n, 1n << 32n, (1n << 64n) - 1n].map((seed) => seededNoise(seed, 1)[0]!);
    expect(new Set(first).size).toBe(4);
    expect(seededNoise(-1, 3)).toEqual(seededNoise((1n << 64n) - 1n, 3));
    expect(seededNoise(7, 3)).toEqual(seededNoise(7n, 3));
    for (const seed of [1.5, NaN, Infinity, 2 ** 60])
      expect(() => seededNoise(seed, 1)).toThrow('seed: expected a whole number');
  });

  it('has the moments of a standard normal', () => {
    const moment = (power: number): number => noise.reduce((sum, z) => sum + z ** power, 0) / count;
    // Each bound is 4 standard errors.
    expect(Math.abs(moment(1))).toBeLessThan(4 / Math.sqrt(count));
    expect(Math.abs(moment(2) - 1)).toBeLessThan(4 * Math.sqrt(2 / count));
    expect(Math.abs(moment(3))).toBeLessThan(4 * Math.sqrt(15 / count));
    expect(Math.abs(moment(4) - 3)).toBeLessThan(4 * Math.sqrt(96 / count));
  });

  it('follows the normal distribution (Kolmogorov-Smirnov) and has uncorrelated neighbours', () => {
    const sorted = noise.slice().sort();
    let distance = 0;
    sorted.forEach((z, i) => (distance = Math.max(distance, Math.abs(normalCdf(z) - (i + 0.5) / count))));
    expect(distance * Math.sqrt(count)).toBeLessThan(1.95); // p = 0.001
    for (const lag of [1, 2, 3, 4]) {
      let sum = 0;
      for (let i = lag; i < count; i++) sum += noise[i]! * noise[i - lag]!;
      expect(Math.abs(sum) / Math.sqrt(count)).toBeLessThan(4);
    }
  });
});

/** Abramowitz and Stegun 26.2.17, error below 7.5e-8. */
function normalCdf(z: number): number {
  const k = 1 / (1 + 0.2316419 * Math.abs(z));
  const poly = k * (0.31938153 + k * (-0.356563782 + k * (1.781477937 + k * (-1.821255978 + k * 1.330274429))));
  const tail = (Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI)) * poly;
  return z >= 0 ? 1 - tail : tail;
}

// The same values come from a Python version with the C library's log, cos and sin: all 2^20 agree bit for bit.
const KNOWN_BITS = ['be8c3af8', 'c000c77b', 'bf4661f3', 'bfb74bf6'];
const KNOWN_HASH = 'd7f8d9fd';
