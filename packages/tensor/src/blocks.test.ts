// q8 and q4: the bytes, the error, what is not finite, and agreement with what GGUF calls Q8_0 and Q4_0.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bytesOf, elementsIn, fromFloat32, hostArray, toFloat32 } from './dtype.ts';
import type { BlockDType } from './dtype.ts';
import { randomBits } from './checks/case.ts';

const CODECS = ['q8', 'q4'] as const;

interface Gguf {
  readonly blocks: string;
  readonly values: string;
}
const gguf = JSON.parse(
  readFileSync(join(import.meta.dirname, '../../../tests/files/gguf-blocks.json'), 'utf8'),
) as Record<BlockDType, Gguf> & { readonly values: string };
const bytesOfText = (text: string) => new Uint8Array(Buffer.from(text, 'base64'));
const floatsOfText = (text: string) => new Float32Array(bytesOfText(text).buffer);

/** Blocks of 32 with their scale in front, in pairs with both scales in front. */
function regrouped(codec: BlockDType, blocks: Uint8Array): Uint8Array {
  const half = bytesOf(codec, 64) / 2;
  const out = new Uint8Array(blocks.length);
  for (let at = 0; at < blocks.length; at += 2 * half) {
    out.set(blocks.subarray(at, at + 2), at);
    out.set(blocks.subarray(at + half, at + half + 2), at + 2);
    out.set(blocks.subarray(at + 2, at + half), at + 4);
    out.set(blocks.subarray(at + half + 2, at + 2 * half), at + 2 + half);
  }
  return out;
}

function normals(count: number, seed: number): Float32Array {
  const bits = randomBits(seed);
  const uniform = () => (bits() + 0.5) / 2 ** 32;
  return Float32Array.from({ length: count }, () => Math.sqrt(-2 * Math.log(uniform())) * Math.cos(7 * uniform()));
}

const squares = (values: ArrayLike<number>) => Array.from(values).reduce((sum, value) => sum + value * value, 0);
const difference = (a: Float32Array, b: Float32Array) => a.map((value, i) => value - b[i]!);

test('a group of q8, byte by byte', () => {
  const values = Float32Array.from({ length: 64 }, (_, i) => (i < 32 ? 4 * (i - 16) : (63 - i) / 4));
  values[0] = -127 * 0.5;
  values[32] = 127 * 0.0625;
  const bytes = fromFloat32('q8', values);
  expect(bytes.length).toBe(68);
  expect([...bytes.subarray(0, 4)]).toEqual([0x00, 0x38, 0x00, 0x2c]); // 0.5 and 0.0625
  expect([...bytes.subarray(4, 8)]).toEqual([256 - 127, 256 - 120, 256 - 112, 256 - 104]);
  expect([...bytes.subarray(36, 39)]).toEqual([127, 120, 116]);
  expect(toFloat32('q8', bytes)).toEqual(values);
});

test('a group of q4, byte by byte', () => {
  const codes = Array.from({ length: 32 }, (_, i) => (i % 16) - 8);
  const values = Float32Array.from([...codes.map((code) => 0.25 * code), ...codes.map((code) => -2 * code)]);
  const bytes = fromFloat32('q4', values);
  expect(bytes.length).toBe(36);
  expect([...bytes.subarray(0, 4)]).toEqual([0x00, 0x34, 0x00, 0xc0]); // 0.25 and -2
  const nibbles = Array.from({ length: 16 }, (_, i) => i | (i << 4));
  expect([...bytes.subarray(4)]).toEqual([...nibbles, ...nibbles]);
  expect([...toFloat32('q4', bytes)].map((value) => value + 0)).toEqual([...values].map((value) => value + 0));
});

describe.each(CODECS)('%s', (codec) => {
  test('reads what GGUF holds, bit by bit, and writes the same again', () => {
    const { blocks, values } = gguf[codec];
    const bytes = regrouped(codec, bytesOfText(blocks));
    const read = toFloat32(codec, bytes);
    expect(read).toEqual(floatsOfText(values));
    const again = toFloat32(codec, fromFloat32(codec, read));
    expect(again.map((value) => value + 0)).toEqual(read.map((value) => value + 0));
  });

  test('no block has a larger squared error than GGUF gives it', () => {
    const values = floatsOfText(gguf.values);
    const ours = difference(toFloat32(codec, fromFloat32(codec, values)), values);
    const theirs = difference(floatsOfText(gguf[codec].values), values);
    for (let at = 0; at < values.length; at += 32) {
      // Theirs divides by a scale that is not rounded to f16 yet.
      const limit = 1.01 * squares(theirs.subarray(at, at + 32));
      expect(squares(ours.subarray(at, at + 32))).toBeLessThanOrEqual(limit);
    }
  });

  test('what was decoded comes back', () => {
    const once = toFloat32(codec, fromFloat32(codec, normals(64 * 500, 1)));
    const twice = toFloat32(codec, fromFloat32(codec, once));
    expect(twice.map((value) => value + 0)).toEqual(once.map((value) => value + 0));
  });

  test('errors are bounded', () => {
    const block = fc.array(fc.float({ noNaN: true, min: -65504, max: 65504 }), { minLength: 64, maxLength: 64 });
    fc.assert(
      fc.property(block, fc.integer({ min: -40, max: 0 }), (numbers, exponent) => {
        const values = Float32Array.from(numbers, (value) => value * 2 ** exponent);
        const errors = difference(toFloat32(codec, fromFloat32(codec, values)), values);
        for (const at of [0, 32]) {
          const most = values.subarray(at, at + 32).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
          // Half a step of the scale, which is an f16: small ones lie 2^-24 apart. In q4, what the plain choice of 8 steps gives.
          const limit = codec === 'q8' ? 0.504 * (most / 127) + 2 ** -25 : Math.max(most / 8, 2 ** -24);
          const root = Math.sqrt(squares(errors.subarray(at, at + 32)) / 32);
          const worst = errors.subarray(at, at + 32).reduce((a, b) => Math.max(a, Math.abs(b)), 0);
          expect(codec === 'q8' ? worst : root).toBeLessThanOrEqual(limit * 1.001);
        }
      }),
    );
    const wide = normals(64 * 1000, 2);
    const errors = difference(toFloat32(codec, fromFloat32(codec, wide)), wide);
    expect(Math.sqrt(squares(errors) / squares(wide))).toBeLessThan(codec === 'q8' ? 0.006 : 0.084);
  });

  test.each([NaN, Infinity, -Infinity, 3e38])('%s makes its block of 32 NaN and no other', (bad) => {
    const values = normals(128, 3);
    const clean = toFloat32(codec, fromFloat32(codec, values));
    values[70] = bad;
    const read = toFloat32(codec, fromFloat32(codec, values));
    read.forEach((value, i) => expect(value).toEqual(i >= 64 && i < 96 ? NaN : clean[i]));
  });

  test('zeros are zero, tiny numbers no more than a step away', () => {
    expect([...toFloat32(codec, fromFloat32(codec, new Float32Array(64)))]).toEqual(new Array(64).fill(0));
    const tiny = toFloat32(codec, fromFloat32(codec, new Float32Array(64).fill(1e-30)));
    for (const value of tiny) expect(Math.abs(value)).toBe(0);
  });

  test('only whole groups', () => {
    expect(() => fromFloat32(codec, new Float32Array(65))).toThrow(`${codec}: elements come in groups of 64, got 65`);
    expect(hostArray(codec, 128).length).toBe(bytesOf(codec, 128));
    expect(elementsIn(codec, hostArray(codec, 192))).toBe(192);
    expect(fromFloat32(codec, [...normals(64, 4)])).toEqual(fromFloat32(codec, normals(64, 4)));
  });
});

test('half a step beyond the last code of q8 is that code', () => {
  // A scale of 2^-24 is the smallest; 127.5 of it are not so much that the next one is taken.
  const values = Float32Array.from({ length: 64 }, (_, i) => (i === 0 ? 127.5 * 2 ** -24 : i === 1 ? -(2 ** -24) : 0));
  expect([...toFloat32('q8', fromFloat32('q8', values)).subarray(0, 3)]).toEqual([127 * 2 ** -24, -(2 ** -24), 0]);
});
