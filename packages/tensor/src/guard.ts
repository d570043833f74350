// For tests: allocations start as NaN and are followed by guard bytes that nobody may write.

const GUARD_BYTE = 0xa5;
/** NaN in every float dtype. */
const POISON_BYTE = 0xff;

/** Fills a fresh allocation whose last `guardBytes` bytes are the guard. */
export function poison(bytes: Uint8Array, guardBytes: number): void {
  const end = bytes.byteLength - guardBytes;
  bytes.fill(POISON_BYTE, 0, end);
  bytes.fill(GUARD_BYTE, end);
}

/** The first byte of a guard that was written, or undefined. */
export function damagedByte(guard: Uint8Array): number | undefined {
  const damaged = guard.findIndex((byte) => byte !== GUARD_BYTE);
  return damaged < 0 ? undefined : damaged;
}
