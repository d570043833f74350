// XXH64 of a byte stream, as zstd frames carry it. 64-bit words are pairs of 32-bit halves: BigInt is ten times slower.

/** Adds bytes in any pieces; `digest` gives the low 32 bits, which is what zstd stores. */
export class Xxh64 {
  // Four lanes of [low, high].
  private readonly lanes = new Int32Array(8);
  private readonly tail = new Uint8Array(32);
  private tailLength = 0;
  private total = 0;

  constructor() {
    // Seed 0: P1 + P2, P2, 0, -P1.
    setWord(this.lanes, 0, P1_LOW, P1_HIGH);
    addTo(this.lanes, 0, P2_LOW, P2_HIGH);
    setWord(this.lanes, 1, P2_LOW, P2_HIGH);
    setWord(this.lanes, 3, ~P1_LOW, ~P1_HIGH);
    addTo(this.lanes, 3, 1, 0);
  }

  update(bytes: Uint8Array): void {
    this.total += bytes.length;
    let at = 0;
    if (this.tailLength > 0) {
      at = Math.min(32 - this.tailLength, bytes.length);
      this.tail.set(bytes.subarray(0, at), this.tailLength);
      this.tailLength += at;
      if (this.tailLength < 32) return;
      this.stripes(this.tail, 0, 32);
      this.tailLength = 0;
    }
    const whole = at + ((bytes.length - at) & ~31);
    this.stripes(bytes, at, whole);
    this.tail.set(bytes.subarray(whole));
    this.tailLength = bytes.length - whole;
  }

  private stripes(bytes: Uint8Array, from: number, to: number): void {
    const { lanes } = this;
    for (let at = from; at < to; at += 8) round(lanes, ((at - from) >> 3) & 3, word(bytes, at), word(bytes, at + 4));
  }

  digest(): number {
    const h = new Int32Array(2);
    const lane = new Int32Array(2);
    if (this.total >= 32) {
      for (let i = 0; i < 4; i++) {
        lane.set(this.lanes.subarray(2 * i, 2 * i + 2));
        rotate(lane, 0, ROTATIONS[i]!);
        addTo(h, 0, lane[0]!, lane[1]!);
      }
      for (let i = 0; i < 4; i++) {
        lane.fill(0);
        round(lane, 0, this.lanes[2 * i]!, this.lanes[2 * i + 1]!);
        h[0]! ^= lane[0]!;
        h[1]! ^= lane[1]!;
        multiply(h, 0, P1_LOW, P1_HIGH);
        addTo(h, 0, P4_LOW, P4_HIGH);
      }
    } else {
      setWord(h, 0, P5_LOW, P5_HIGH);
    }
    addTo(h, 0, this.total | 0, Math.floor(this.total / 2 ** 32) | 0);

    const { tail, tailLength } = this;
    let at = 0;
    for (; at + 8 <= tailLength; at += 8) {
      lane.fill(0);
      round(lane, 0, word(tail, at), word(tail, at + 4));
      h[0]! ^= lane[0]!;
      h[1]! ^= lane[1]!;
      rotate(h, 0, 27);
      multiply(h, 0, P1_LOW, P1_HIGH);
      addTo(h, 0, P4_LOW, P4_HIGH);
    }
    if (at + 4 <= tailLength) {
      setWord(lane, 0, word(tail, at), 0);
      multiply(lane, 0, P1_LOW, P1_HIGH);
      h[0]! ^= lane[0]!;
      h[1]! ^= lane[1]!;
      rotate(h, 0, 23);
      multiply(h, 0, P2_LOW, P2_HIGH);
      addTo(h, 0, P3_LOW, P3_HIGH);
      at += 4;
    }
    for (; at < tailLength; at++) {
      setWord(lane, 0, tail[at]!, 0);
      multiply(lane, 0, P5_LOW, P5_HIGH);
      h[0]! ^= lane[0]!;
      h[1]! ^= lane[1]!;
      rotate(h, 0, 11);
      multiply(h, 0, P1_LOW, P1_HIGH);
    }
    // Avalanche: h ^= h >> 33; h *= P2; h ^= h >> 29; h *= P3; h ^= h >> 32.
    h[0]! ^= h[1]! >>> 1;
    multiply(h, 0, P2_LOW, P2_HIGH);
    const low = (h[0]! >>> 29) | (h[1]! << 3);
    h[1]! ^= h[1]! >>> 29;
    h[0]! ^= low;
    multiply(h, 0, P3_LOW, P3_HIGH);
    return (h[0]! ^ h[1]!) >>> 0;
  }
}

const ROTATIONS = [1, 7, 12, 18] as const;
const P1_HIGH = 0x9e3779b1;
const P1_LOW = 0x85ebca87;
const P2_HIGH = 0xc2b2ae3d;
const P2_LOW = 0x27d4eb4f;
const P3_HIGH = 0x165667b1;
const P3_LOW = 0x9e3779f9;
const P4_HIGH = 0x85ebca77;
const P4_LOW = 0xc2b2ae63;
const P5_HIGH = 0x27d4eb2f;
const P5_LOW = 0x165667c5;

function word(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
}

function setWord(words: Int32Array, index: number, low: number, high: number): void {
  words[2 * index] = low;
  words[2 * index + 1] = high;
}

function addTo(words: Int32Array, index: number, low: number, high: number): void {
  const sum = (words[2 * index]! >>> 0) + (low >>> 0);
  words[2 * index] = sum;
  words[2 * index + 1] = words[2 * index + 1]! + high + (sum > 0xffffffff ? 1 : 0);
}

/** Left by `bits`, 1 to 31. */
function rotate(words: Int32Array, index: number, bits: number): void {
  const low = words[2 * index]!;
  const high = words[2 * index + 1]!;
  words[2 * index] = (low << bits) | (high >>> (32 - bits));
  words[2 * index + 1] = (high << bits) | (low >>> (32 - bits));
}

function multiply(words: Int32Array, index: number, low: number, high: number): void {
  const a = words[2 * index]!;
  const a0 = a & 0xffff;
  const a1 = a >>> 16;
  const b0 = low & 0xffff;
  const b1 = low >>> 16;
  const bottom = Math.imul(a0, b0) >>> 0;
  const left = Math.imul(a1, b0) >>> 0;
  const middle = (Math.imul(a0, b1) >>> 0) + (bottom >>> 16) + (left & 0xffff);
  const carried = Math.imul(a1, b1) + (left >>> 16) + Math.floor(middle / 65536);
  words[2 * index + 1] = carried + Math.imul(a, high) + Math.imul(words[2 * index + 1]!, low);
  words[2 * index] = Math.imul(a, low);
}

/** lane = rotl(lane + input * P2, 31) * P1. */
function round(lanes: Int32Array, index: number, low: number, high: number): void {
  setWord(scratch, 0, low, high);
  multiply(scratch, 0, P2_LOW, P2_HIGH);
  addTo(lanes, index, scratch[0]!, scratch[1]!);
  rotate(lanes, index, 31);
  multiply(lanes, index, P1_LOW, P1_HIGH);
}
const scratch = new Int32Array(2);
