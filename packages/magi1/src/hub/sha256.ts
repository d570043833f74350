// SHA-256 whose state can be kept: a download that is converted as it comes goes on after a kill without the bytes before.
// What a system offers gives no state away. By FIPS 180-4.
import { Magi1Error } from '@magi1/tensor';

/** Fractions of the cube roots (and square roots) of primes, in 32 bits. */
function fractions(count: number, root: (n: number) => number): Uint32Array {
  const primes: number[] = [];
  for (let n = 2; primes.length < count; n++) if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  return Uint32Array.from(primes, (prime) => Math.floor((root(prime) % 1) * 2 ** 32));
}
const K = new Int32Array(fractions(64, Math.cbrt));
const BLOCK = 64;

export class Sha256 {
  readonly #h = new Int32Array(fractions(8, Math.sqrt));
  readonly #w = new Int32Array(64);
  /** Bytes that are no whole block yet. */
  readonly #rest = new Uint8Array(BLOCK);
  #length = 0;

  /** Begins, or goes on from a state. @throws Magi1Error for what is none */
  constructor(state?: string) {
    if (state === undefined) return;
    const [length = '', words = '', rest = ''] = state.split(':');
    if (!/^\d+$/.test(length) || !/^[0-9a-f]{64}$/.test(words) || rest.length !== 2 * (Number(length) % BLOCK))
      throw new Magi1Error('the state of a checksum expected');
    this.#length = Number(length);
    for (let i = 0; i < 8; i++) this.#h[i] = parseInt(words.slice(8 * i, 8 * i + 8), 16);
    for (let i = 0; i < rest.length / 2; i++) this.#rest[i] = parseInt(rest.slice(2 * i, 2 * i + 2), 16);
  }

  /** Bytes taken so far. */
  get length(): number {
    return this.#length;
  }

  get state(): string {
    return `${this.#length}:${this.#words()}:${hex(this.#rest.subarray(0, this.#length % BLOCK))}`;
  }

  update(bytes: Uint8Array): this {
    const there = this.#length % BLOCK;
    this.#length += bytes.length;
    let at = 0;
    if (there > 0) {
      at = Math.min(BLOCK - there, bytes.length);
      this.#rest.set(bytes.subarray(0, at), there);
      if (there + at < BLOCK) return this;
      this.#blocks(this.#rest, 0, BLOCK);
    }
    const end = bytes.length - ((bytes.length - at) % BLOCK);
    this.#blocks(bytes, at, end);
    this.#rest.set(bytes.subarray(end));
    return this;
  }

  /** In hexadecimal digits; ends it. */
  digest(): string {
    const length = this.#length;
    const padding = new Uint8Array(BLOCK - ((length + 8) % BLOCK) + 8);
    padding[0] = 0x80;
    new DataView(padding.buffer).setBigUint64(padding.length - 8, BigInt(length) * 8n);
    this.update(padding);
    return this.#words();
  }

  #words(): string {
    return [...this.#h].map((word) => (word >>> 0).toString(16).padStart(8, '0')).join('');
  }

  #blocks(bytes: Uint8Array, start: number, end: number): void {
    const hash = this.#h;
    const w = this.#w;
    const k = K;
    for (let at = start; at < end; at += BLOCK) {
      for (let i = 0, j = at; i < 16; i++, j += 4)
        w[i] = (bytes[j]! << 24) | (bytes[j + 1]! << 16) | (bytes[j + 2]! << 8) | bytes[j + 3]!;
      for (let i = 16; i < 64; i++) {
        const x = w[i - 15]!;
        const y = w[i - 2]!;
        const s0 = ((x >>> 7) | (x << 25)) ^ ((x >>> 18) | (x << 14)) ^ (x >>> 3);
        const s1 = ((y >>> 17) | (y << 15)) ^ ((y >>> 19) | (y << 13)) ^ (y >>> 10);
        w[i] = (((w[i - 16]! + s0) | 0) + ((w[i - 7]! + s1) | 0)) | 0;
      }
      let a = hash[0]!;
      let b = hash[1]!;
      let c = hash[2]!;
      let d = hash[3]!;
      let e = hash[4]!;
      let f = hash[5]!;
      let g = hash[6]!;
      let h = hash[7]!;
      for (let i = 0; i < 64; i++) {
        const s1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
        const t1 = (((h + s1) | 0) + ((((e & f) ^ (~e & g)) + ((k[i]! + w[i]!) | 0)) | 0)) | 0;
        const s0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
        const t2 = (s0 + ((a & b) ^ (a & c) ^ (b & c))) | 0;
        h = g;
        g = f;
        f = e;
        e = (d + t1) | 0;
        d = c;
        c = b;
        b = a;
        a = (t1 + t2) | 0;
      }
      hash[0] = hash[0]! + a;
      hash[1] = hash[1]! + b;
      hash[2] = hash[2]! + c;
      hash[3] = hash[3]! + d;
      hash[4] = hash[4]! + e;
      hash[5] = hash[5]! + f;
      hash[6] = hash[6]! + g;
      hash[7] = hash[7]! + h;
    }
  }
}

const hex = (bytes: Uint8Array): string => [...bytes].map((byte) => byte.toString(16).padStart(2, '0')).join('');
