// Decoding of q8 and q4 on vectors, for wasm kernels: @magi1/tensor's blocks.ts has the layout. Exact, as scales have 11
// bits and codes at most 8.
import type { BlockDType, F32x4, I16x8, I32, I32x4, I8x16, KernelBuilder } from '@magi1/tensor';
import { bytesOf, GROUP } from '@magi1/tensor';
import { decodeF16 } from './floats.ts';

/** Bytes of a group of 64 elements. */
export const groupBytes = (dtype: BlockDType): number => bytesOf(dtype, GROUP);

/** The f16 scales of elements 0..31 and 32..63 of a group, of its first word in every lane. */
export function decodeScales(k: KernelBuilder, words: I32x4): readonly [F32x4, F32x4] {
  const both = k.let(words);
  return [k.let(decodeF16(k, both.and(0xffff))), k.let(decodeF16(k, both.shrU(16)))];
}

/** The codes in 16 bytes as signed ones: elements 0..15 of q8, or 0..15 and 16..31 of q4's 32. */
export function signedCodes(k: KernelBuilder, dtype: BlockDType, bytes: I8x16): readonly I8x16[] {
  if (dtype === 'q8') return [bytes];
  const both = k.let(bytes);
  return [k.let(both.and(15).sub(8)), k.let(both.shrU(4).sub(8))];
}

/** As signedCodes, of the 8 bytes at an address. */
export function loadCodes(k: KernelBuilder, dtype: BlockDType, address: I32, offset: number): readonly I16x8[] {
  if (dtype === 'q8') return [k.let(address.loadS8x8(offset))];
  const both = k.let(address.loadU8x8(offset));
  return [k.let(both.and(15).sub(8)), k.let(both.shrU(4).sub(8))];
}
