// Bytes of the wasm binary format: integers, sections, vectors. Long arrays are joined by `concat`, which engines copy as
// blocks of memory; a spread goes through them number by number.

/** Unsigned LEB128; `value` is taken modulo 2^32. */
export function unsigned(value: number): number[] {
  if (value >= 0 && value < 0x80) return [value]; // nearly all are
  const bytes: number[] = [];
  let rest = value >>> 0;
  do {
    const low = rest & 0x7f;
    rest >>>= 7;
    bytes.push(rest === 0 ? low : low | 0x80);
  } while (rest !== 0);
  return bytes;
}

/** Signed LEB128 of a 32-bit integer. */
export function signed(value: number): number[] {
  const bytes: number[] = [];
  let rest = value | 0;
  for (;;) {
    const low = rest & 0x7f;
    rest >>= 7;
    const done = (rest === 0 && (low & 0x40) === 0) || (rest === -1 && (low & 0x40) !== 0);
    bytes.push(done ? low : low | 0x80);
    if (done) return bytes;
  }
}

export function float32Bytes(value: number): number[] {
  return [...new Uint8Array(Float32Array.of(value).buffer)];
}

export function int32Bytes(value: number): number[] {
  return [value & 255, (value >> 8) & 255, (value >> 16) & 255, (value >> 24) & 255];
}

export function float64Bytes(value: number): number[] {
  return [...new Uint8Array(Float64Array.of(value).buffer)];
}

/** Bytes preceded by their number. */
export function sized(bytes: readonly number[]): number[] {
  return unsigned(bytes.length).concat(bytes);
}

/** Items preceded by their number. */
export function vector(items: readonly (readonly number[])[]): number[] {
  return unsigned(items.length).concat(...items);
}

export function section(id: number, content: readonly number[]): number[] {
  return [id].concat(sized(content));
}

export function name(text: string): number[] {
  return sized([...new TextEncoder().encode(text)]);
}
