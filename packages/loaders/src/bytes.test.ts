import { describe, expect, it } from 'vitest';
import { byteString } from './bytes.ts';

describe('byteString', () => {
  it('keeps every byte, on every Node and in browsers', () => {
    const all = Uint8Array.from({ length: 256 }, (_, i) => i);
    expect(Array.from(byteString(all), (char) => char.codePointAt(0))).toEqual([...all]);
  });
});
