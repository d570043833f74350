// Writes zstd frames of raw and RLE blocks: valid by the format, with no compressor needed.
import { Xxh64 } from './xxh64.ts';

export interface FrameOptions {
  /** Bytes per block, at most 128 KiB. */
  readonly block?: number;
  readonly checksum?: boolean;
  readonly contentSize?: boolean;
}

/** One frame that decodes to `data`. Blocks of one repeated byte become RLE blocks. */
export function zstdFrame(data: Uint8Array, options: FrameOptions = {}): Uint8Array {
  const { block = 128 << 10, checksum = false, contentSize = false } = options;
  const parts: number[][] = [];
  // Magic, descriptor, window of 128 KiB, content size of 8 bytes if asked for.
  parts.push([0x28, 0xb5, 0x2f, 0xfd, (contentSize ? 0xc0 : 0) | (checksum ? 4 : 0), 7 << 3]);
  if (contentSize) parts.push(littleEndian(data.length, 8));
  const chunks: Uint8Array[] = [Uint8Array.from(parts.flat())];
  let at = 0;
  do {
    const part = data.subarray(at, at + block);
    at += part.length;
    const last = at >= data.length ? 1 : 0;
    const rle = part.length > 1 && part.every((byte) => byte === part[0]);
    chunks.push(Uint8Array.from(littleEndian((part.length << 3) | (rle ? 2 : 0) | last, 3)));
    chunks.push(rle ? part.subarray(0, 1) : part);
  } while (at < data.length);
  if (checksum) {
    const hash = new Xxh64();
    hash.update(data);
    chunks.push(Uint8Array.from(littleEndian(hash.digest(), 4)));
  }
  return concat(chunks);
}

export function concat(chunks: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

function littleEndian(value: number, bytes: number): number[] {
  return Array.from({ length: bytes }, (_, i) => Math.floor(value / 256 ** i) % 256);
}
