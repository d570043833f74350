// CRC-32 and XXH64 against published values, in any pieces.
import { expect, test } from 'vitest';
import { crc32, portableCrc32 } from './crc32.ts';
import { Xxh64 } from './xxh64.ts';

const ascii = (text: string) => new TextEncoder().encode(text);
const noise = Uint8Array.from({ length: 5000 }, (_, i) => (i * i * 31 + (i >> 3)) & 0xff);

test('crc32', () => {
  for (const crc of [crc32, portableCrc32]) {
    expect(crc(ascii('123456789'))).toBe(0xcbf43926);
    expect(crc(new Uint8Array(0))).toBe(0);
    for (const at of [1, 7, 8, 4099]) expect(crc(noise.subarray(at), crc(noise.subarray(0, at)))).toBe(crc(noise));
  }
  expect(portableCrc32(noise)).toBe(crc32(noise));
});

test('xxh64, its low 32 bits', () => {
  const hash = (...pieces: Uint8Array[]) => {
    const state = new Xxh64();
    for (const piece of pieces) state.update(piece);
    return state.digest();
  };
  // The algorithm's published values for seed 0: ef46db3751d8e999, d24ec4f1a98c6e5b, 44bc2cf5ad770999.
  expect(hash()).toBe(0x51d8e999);
  expect(hash(ascii('a'))).toBe(0xa98c6e5b);
  expect(hash(ascii('abc'))).toBe(0xad770999);
  for (const at of [0, 1, 31, 32, 33, 64, 4990]) {
    expect(hash(noise.subarray(0, at), noise.subarray(at))).toBe(hash(noise));
  }
});
