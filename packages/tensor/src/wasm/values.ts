// Typed wasm expressions. A value is the code that computes it: it runs at every place where it is used, so a result
// that is used twice, or must be taken before something changes, goes through `k.let` or `k.var` (emitter.ts).
import { float32Bytes, float64Bytes, int32Bytes, signed, unsigned } from './encode.ts';

export type Code = readonly number[];

/** 16 lane or byte numbers of `i8x16.shuffle`: 0..15 from the first operand, 16..31 from the second. */
export type Shuffle = readonly number[];

const simd = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
/** Alignment hint 0 (any) and offset of a memory access. */
const access = (offset: number): number[] => [0, ...unsigned(offset)];

abstract class Value {
  readonly code: Code;
  constructor(code: Code) {
    this.code = code;
  }
}

/** 32-bit integers, addresses and conditions (0 or 1). Comparisons and divisions name their signedness. */
export class I32 extends Value {
  static readonly type = 0x7f;
  readonly kind = 'i32';

  static of(value: I32 | number): I32 {
    return typeof value === 'number' ? new I32([0x41, ...signed(value)]) : value;
  }
  #binary(opcode: number, other: I32 | number): I32 {
    return new I32([...this.code, ...I32.of(other).code, opcode]);
  }

  add(other: I32 | number): I32 {
    return other === 0 ? this : this.#binary(0x6a, other);
  }
  sub(other: I32 | number): I32 {
    return this.#binary(0x6b, other);
  }
  mul(other: I32 | number): I32 {
    return other === 1 ? this : this.#binary(0x6c, other);
  }
  /** Traps on division by zero. */
  divS(other: I32 | number): I32 {
    return this.#binary(0x6d, other);
  }
  divU(other: I32 | number): I32 {
    return this.#binary(0x6e, other);
  }
  remS(other: I32 | number): I32 {
    return this.#binary(0x6f, other);
  }
  remU(other: I32 | number): I32 {
    return this.#binary(0x70, other);
  }
  and(other: I32 | number): I32 {
    return this.#binary(0x71, other);
  }
  or(other: I32 | number): I32 {
    return this.#binary(0x72, other);
  }
  xor(other: I32 | number): I32 {
    return this.#binary(0x73, other);
  }
  shl(other: I32 | number): I32 {
    return this.#binary(0x74, other);
  }
  shrS(other: I32 | number): I32 {
    return this.#binary(0x75, other);
  }
  shrU(other: I32 | number): I32 {
    return this.#binary(0x76, other);
  }
  eqz(): I32 {
    return new I32([...this.code, 0x45]);
  }
  eq(other: I32 | number): I32 {
    return this.#binary(0x46, other);
  }
  ne(other: I32 | number): I32 {
    return this.#binary(0x47, other);
  }
  ltS(other: I32 | number): I32 {
    return this.#binary(0x48, other);
  }
  ltU(other: I32 | number): I32 {
    return this.#binary(0x49, other);
  }
  gtS(other: I32 | number): I32 {
    return this.#binary(0x4a, other);
  }
  gtU(other: I32 | number): I32 {
    return this.#binary(0x4b, other);
  }
  leS(other: I32 | number): I32 {
    return this.#binary(0x4c, other);
  }
  leU(other: I32 | number): I32 {
    return this.#binary(0x4d, other);
  }
  geS(other: I32 | number): I32 {
    return this.#binary(0x4e, other);
  }
  geU(other: I32 | number): I32 {
    return this.#binary(0x4f, other);
  }
  clz(): I32 {
    return new I32([...this.code, 0x67]);
  }
  /** The smaller of two unsigned numbers. */
  minU(other: I32 | number): I32 {
    return select(this.ltU(other), this, I32.of(other));
  }
  maxU(other: I32 | number): I32 {
    return select(this.gtU(other), this, I32.of(other));
  }
  minS(other: I32 | number): I32 {
    return select(this.ltS(other), this, I32.of(other));
  }
  maxS(other: I32 | number): I32 {
    return select(this.gtS(other), this, I32.of(other));
  }

  toF32S(): F32 {
    return new F32([...this.code, 0xb2]);
  }
  toF32U(): F32 {
    return new F32([...this.code, 0xb3]);
  }
  /** The float with these bits. */
  asF32(): F32 {
    return new F32([...this.code, 0xbe]);
  }
  splat(): I32x4 {
    return new I32x4([...this.code, ...simd(17)]);
  }
  splatI16x8(): I16x8 {
    return new I16x8([...this.code, ...simd(16)]);
  }
  splatI8x16(): I8x16 {
    return new I8x16([...this.code, ...simd(15)]);
  }

  // Loads from this address; `offset` is a constant number of bytes, not negative. Any alignment.
  loadI32(offset = 0): I32 {
    return new I32([...this.code, 0x28, ...access(offset)]);
  }
  loadF32(offset = 0): F32 {
    return new F32([...this.code, 0x2a, ...access(offset)]);
  }
  loadF64(offset = 0): F64 {
    return new F64([...this.code, 0x2b, ...access(offset)]);
  }
  loadS8(offset = 0): I32 {
    return new I32([...this.code, 0x2c, ...access(offset)]);
  }
  loadU8(offset = 0): I32 {
    return new I32([...this.code, 0x2d, ...access(offset)]);
  }
  loadS16(offset = 0): I32 {
    return new I32([...this.code, 0x2e, ...access(offset)]);
  }
  loadU16(offset = 0): I32 {
    return new I32([...this.code, 0x2f, ...access(offset)]);
  }
  loadF32x4(offset = 0): F32x4 {
    return new F32x4([...this.code, ...simd(0), ...access(offset)]);
  }
  loadI32x4(offset = 0): I32x4 {
    return new I32x4([...this.code, ...simd(0), ...access(offset)]);
  }
  loadI16x8(offset = 0): I16x8 {
    return new I16x8([...this.code, ...simd(0), ...access(offset)]);
  }
  loadI8x16(offset = 0): I8x16 {
    return new I8x16([...this.code, ...simd(0), ...access(offset)]);
  }
  /** Eight bytes, zero-extended to 16 bits each. */
  loadU8x8(offset = 0): I16x8 {
    return new I16x8([...this.code, ...simd(2), ...access(offset)]);
  }
  /** Four 16-bit numbers, sign-extended to 32 bits each. */
  loadS16x4(offset = 0): I32x4 {
    return new I32x4([...this.code, ...simd(3), ...access(offset)]);
  }
  /** Four 16-bit numbers, zero-extended to 32 bits each. */
  loadU16x4(offset = 0): I32x4 {
    return new I32x4([...this.code, ...simd(4), ...access(offset)]);
  }
  /** One f32 in all four lanes. */
  loadF32x4Splat(offset = 0): F32x4 {
    return new F32x4([...this.code, ...simd(9), ...access(offset)]);
  }
  /** One 32-bit number in all four lanes. */
  loadI32x4Splat(offset = 0): I32x4 {
    return new I32x4([...this.code, ...simd(9), ...access(offset)]);
  }
  /** Four bytes in lanes 0..3 of sixteen, the rest 0. */
  load32Zero(offset = 0): I8x16 {
    return new I8x16([...this.code, ...simd(92), ...access(offset)]);
  }
  /** Eight bytes in lanes 0..7 of sixteen, the rest 0. */
  load64Zero(offset = 0): I8x16 {
    return new I8x16([...this.code, ...simd(93), ...access(offset)]);
  }
}

export class F32 extends Value {
  static readonly type = 0x7d;
  readonly kind = 'f32';

  static of(value: F32 | number): F32 {
    return typeof value === 'number' ? new F32([0x43, ...float32Bytes(value)]) : value;
  }
  #binary(opcode: number, other: F32 | number): F32 {
    return new F32([...this.code, ...F32.of(other).code, opcode]);
  }
  #compare(opcode: number, other: F32 | number): I32 {
    return new I32([...this.code, ...F32.of(other).code, opcode]);
  }
  #unary(opcode: number): F32 {
    return new F32([...this.code, opcode]);
  }

  add(other: F32 | number): F32 {
    return this.#binary(0x92, other);
  }
  sub(other: F32 | number): F32 {
    return this.#binary(0x93, other);
  }
  mul(other: F32 | number): F32 {
    return this.#binary(0x94, other);
  }
  div(other: F32 | number): F32 {
    return this.#binary(0x95, other);
  }
  min(other: F32 | number): F32 {
    return this.#binary(0x96, other);
  }
  max(other: F32 | number): F32 {
    return this.#binary(0x97, other);
  }
  copysign(sign: F32 | number): F32 {
    return this.#binary(0x98, sign);
  }
  abs(): F32 {
    return this.#unary(0x8b);
  }
  neg(): F32 {
    return this.#unary(0x8c);
  }
  ceil(): F32 {
    return this.#unary(0x8d);
  }
  floor(): F32 {
    return this.#unary(0x8e);
  }
  trunc(): F32 {
    return this.#unary(0x8f);
  }
  /** To the nearest integer, ties to even. */
  nearest(): F32 {
    return this.#unary(0x90);
  }
  sqrt(): F32 {
    return this.#unary(0x91);
  }
  eq(other: F32 | number): I32 {
    return this.#compare(0x5b, other);
  }
  ne(other: F32 | number): I32 {
    return this.#compare(0x5c, other);
  }
  lt(other: F32 | number): I32 {
    return this.#compare(0x5d, other);
  }
  gt(other: F32 | number): I32 {
    return this.#compare(0x5e, other);
  }
  le(other: F32 | number): I32 {
    return this.#compare(0x5f, other);
  }
  ge(other: F32 | number): I32 {
    return this.#compare(0x60, other);
  }
  /** Truncated; saturates, NaN gives 0. */
  toI32S(): I32 {
    return new I32([...this.code, 0xfc, 0]);
  }
  toI32U(): I32 {
    return new I32([...this.code, 0xfc, 1]);
  }
  asI32(): I32 {
    return new I32([...this.code, 0xbc]);
  }
  toF64(): F64 {
    return new F64([...this.code, 0xbb]);
  }
  splat(): F32x4 {
    return new F32x4([...this.code, ...simd(19)]);
  }
}

/** For the few sums that need it. */
export class F64 extends Value {
  static readonly type = 0x7c;
  readonly kind = 'f64';

  static of(value: F64 | number): F64 {
    return typeof value === 'number' ? new F64([0x44, ...float64Bytes(value)]) : value;
  }
  #binary(opcode: number, other: F64 | number): F64 {
    return new F64([...this.code, ...F64.of(other).code, opcode]);
  }
  add(other: F64 | number): F64 {
    return this.#binary(0xa0, other);
  }
  sub(other: F64 | number): F64 {
    return this.#binary(0xa1, other);
  }
  mul(other: F64 | number): F64 {
    return this.#binary(0xa2, other);
  }
  div(other: F64 | number): F64 {
    return this.#binary(0xa3, other);
  }
  sqrt(): F64 {
    return new F64([...this.code, 0x9f]);
  }
  toF32(): F32 {
    return new F32([...this.code, 0xb6]);
  }
}

abstract class Vector extends Value {
  static readonly type = 0x7b;

  asF32x4(): F32x4 {
    return new F32x4(this.code);
  }
  asI32x4(): I32x4 {
    return new I32x4(this.code);
  }
  asI16x8(): I16x8 {
    return new I16x8(this.code);
  }
  asI8x16(): I8x16 {
    return new I8x16(this.code);
  }
  /** 1 when any bit is set. */
  anyTrue(): I32 {
    return new I32([...this.code, ...simd(83)]);
  }
}

export class F32x4 extends Vector {
  readonly kind = 'f32x4';

  static of(value: F32x4 | number): F32x4 {
    return typeof value === 'number' ? F32x4.lanes(value, value, value, value) : value;
  }
  static lanes(a: number, b: number, c: number, d: number): F32x4 {
    return new F32x4([...simd(12), ...[a, b, c, d].flatMap(float32Bytes)]);
  }
  #binary(opcode: number, other: F32x4 | number): F32x4 {
    return new F32x4([...this.code, ...F32x4.of(other).code, ...simd(opcode)]);
  }
  #compare(opcode: number, other: F32x4 | number): I32x4 {
    return new I32x4([...this.code, ...F32x4.of(other).code, ...simd(opcode)]);
  }
  #unary(opcode: number): F32x4 {
    return new F32x4([...this.code, ...simd(opcode)]);
  }

  add(other: F32x4 | number): F32x4 {
    return this.#binary(228, other);
  }
  sub(other: F32x4 | number): F32x4 {
    return this.#binary(229, other);
  }
  mul(other: F32x4 | number): F32x4 {
    return this.#binary(230, other);
  }
  div(other: F32x4 | number): F32x4 {
    return this.#binary(231, other);
  }
  /** NaN if either is; several instructions on x86: `pmin` is one. */
  min(other: F32x4 | number): F32x4 {
    return this.#binary(232, other);
  }
  max(other: F32x4 | number): F32x4 {
    return this.#binary(233, other);
  }
  /** `other < this ? other : this`. */
  pmin(other: F32x4 | number): F32x4 {
    return this.#binary(234, other);
  }
  /** `this < other ? other : this`. */
  pmax(other: F32x4 | number): F32x4 {
    return this.#binary(235, other);
  }
  abs(): F32x4 {
    return this.#unary(224);
  }
  neg(): F32x4 {
    return this.#unary(225);
  }
  sqrt(): F32x4 {
    return this.#unary(227);
  }
  ceil(): F32x4 {
    return this.#unary(103);
  }
  floor(): F32x4 {
    return this.#unary(104);
  }
  trunc(): F32x4 {
    return this.#unary(105);
  }
  nearest(): F32x4 {
    return this.#unary(106);
  }
  /** Comparisons give a mask of all ones or zeros per lane. */
  eq(other: F32x4 | number): I32x4 {
    return this.#compare(65, other);
  }
  ne(other: F32x4 | number): I32x4 {
    return this.#compare(66, other);
  }
  lt(other: F32x4 | number): I32x4 {
    return this.#compare(67, other);
  }
  gt(other: F32x4 | number): I32x4 {
    return this.#compare(68, other);
  }
  le(other: F32x4 | number): I32x4 {
    return this.#compare(69, other);
  }
  ge(other: F32x4 | number): I32x4 {
    return this.#compare(70, other);
  }
  lane(index: number): F32 {
    return new F32([...this.code, ...simd(31), index]);
  }
  withLane(index: number, value: F32 | number): F32x4 {
    return new F32x4([...this.code, ...F32.of(value).code, ...simd(32), index]);
  }
  /** Four lanes out of this (0..3) and `other` (4..7). */
  shuffle(other: F32x4, lanes: readonly [number, number, number, number]): F32x4 {
    return new F32x4([
      ...this.code,
      ...other.code,
      ...simd(13),
      ...lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte)),
    ]);
  }
  /** Truncated; saturates, NaN gives 0. */
  toI32x4S(): I32x4 {
    return new I32x4([...this.code, ...simd(248)]);
  }
  toI32x4U(): I32x4 {
    return new I32x4([...this.code, ...simd(249)]);
  }
}

abstract class IntVector<Self> extends Vector {
  protected abstract make(code: Code): Self;
  protected abstract constant(value: number): Code;

  protected binary(opcode: number, other: IntVector<Self> | number): Self {
    return this.make([
      ...this.code,
      ...(typeof other === 'number' ? this.constant(other) : other.code),
      ...simd(opcode),
    ]);
  }
  protected shift(opcode: number, count: I32 | number): Self {
    return this.make([...this.code, ...I32.of(count).code, ...simd(opcode)]);
  }

  not(): Self {
    return this.make([...this.code, ...simd(77)]);
  }
  and(other: IntVector<Self> | number): Self {
    return this.binary(78, other);
  }
  /** `this & ~other`. */
  andNot(other: IntVector<Self> | number): Self {
    return this.binary(79, other);
  }
  or(other: IntVector<Self> | number): Self {
    return this.binary(80, other);
  }
  xor(other: IntVector<Self> | number): Self {
    return this.binary(81, other);
  }
}

export class I32x4 extends IntVector<I32x4> {
  readonly kind = 'i32x4';

  static of(value: I32x4 | number): I32x4 {
    return typeof value === 'number' ? I32x4.lanes(value, value, value, value) : value;
  }
  static lanes(a: number, b: number, c: number, d: number): I32x4 {
    return new I32x4([...simd(12), ...[a, b, c, d].flatMap(int32Bytes)]);
  }
  protected override make(code: Code): I32x4 {
    return new I32x4(code);
  }
  protected override constant(value: number): Code {
    return I32x4.of(value).code;
  }

  add(other: I32x4 | number): I32x4 {
    return this.binary(174, other);
  }
  sub(other: I32x4 | number): I32x4 {
    return this.binary(177, other);
  }
  mul(other: I32x4 | number): I32x4 {
    return this.binary(181, other);
  }
  shl(count: I32 | number): I32x4 {
    return this.shift(171, count);
  }
  shrS(count: I32 | number): I32x4 {
    return this.shift(172, count);
  }
  shrU(count: I32 | number): I32x4 {
    return this.shift(173, count);
  }
  minS(other: I32x4 | number): I32x4 {
    return this.binary(182, other);
  }
  minU(other: I32x4 | number): I32x4 {
    return this.binary(183, other);
  }
  maxS(other: I32x4 | number): I32x4 {
    return this.binary(184, other);
  }
  maxU(other: I32x4 | number): I32x4 {
    return this.binary(185, other);
  }
  eq(other: I32x4 | number): I32x4 {
    return this.binary(55, other);
  }
  ne(other: I32x4 | number): I32x4 {
    return this.binary(56, other);
  }
  ltS(other: I32x4 | number): I32x4 {
    return this.binary(57, other);
  }
  gtS(other: I32x4 | number): I32x4 {
    return this.binary(59, other);
  }
  gtU(other: I32x4 | number): I32x4 {
    return this.binary(60, other);
  }
  leS(other: I32x4 | number): I32x4 {
    return this.binary(61, other);
  }
  geS(other: I32x4 | number): I32x4 {
    return this.binary(63, other);
  }
  lane(index: number): I32 {
    return new I32([...this.code, ...simd(27), index]);
  }
  withLane(index: number, value: I32 | number): I32x4 {
    return new I32x4([...this.code, ...I32.of(value).code, ...simd(28), index]);
  }
  allTrue(): I32 {
    return new I32([...this.code, ...simd(163)]);
  }
  /** The lanes' top bits as bits 0..3. */
  bitmask(): I32 {
    return new I32([...this.code, ...simd(164)]);
  }
  toF32x4S(): F32x4 {
    return new F32x4([...this.code, ...simd(250)]);
  }
  toF32x4U(): F32x4 {
    return new F32x4([...this.code, ...simd(251)]);
  }
  /** As a mask: bits of `yes` where set, of `no` where not. */
  select<T extends AnyVector>(yes: T, no: T): T {
    return sameKind(yes, [...yes.code, ...no.code, ...this.code, ...simd(82)]);
  }
  /** Eight 16-bit lanes out of this and `other`, each saturated as unsigned. */
  narrowU(other: I32x4): I16x8 {
    return new I16x8([...this.code, ...other.code, ...simd(134)]);
  }
  narrowS(other: I32x4): I16x8 {
    return new I16x8([...this.code, ...other.code, ...simd(133)]);
  }
}

export class I16x8 extends IntVector<I16x8> {
  readonly kind = 'i16x8';

  static of(value: I16x8 | number): I16x8 {
    if (typeof value !== 'number') return value;
    return new I16x8([...simd(12), ...Array.from({ length: 8 }, () => [value & 255, (value >> 8) & 255]).flat()]);
  }
  protected override make(code: Code): I16x8 {
    return new I16x8(code);
  }
  protected override constant(value: number): Code {
    return I16x8.of(value).code;
  }
  add(other: I16x8 | number): I16x8 {
    return this.binary(142, other);
  }
  sub(other: I16x8 | number): I16x8 {
    return this.binary(145, other);
  }
  mul(other: I16x8 | number): I16x8 {
    return this.binary(149, other);
  }
  shl(count: I32 | number): I16x8 {
    return this.shift(139, count);
  }
  shrS(count: I32 | number): I16x8 {
    return this.shift(140, count);
  }
  shrU(count: I32 | number): I16x8 {
    return this.shift(141, count);
  }
  eq(other: I16x8 | number): I16x8 {
    return this.binary(45, other);
  }
  gtS(other: I16x8 | number): I16x8 {
    return this.binary(49, other);
  }
  minU(other: I16x8 | number): I16x8 {
    return this.binary(151, other);
  }
  maxU(other: I16x8 | number): I16x8 {
    return this.binary(153, other);
  }
  laneU(index: number): I32 {
    return new I32([...this.code, ...simd(25), index]);
  }
  lowS(): I32x4 {
    return new I32x4([...this.code, ...simd(167)]);
  }
  highS(): I32x4 {
    return new I32x4([...this.code, ...simd(168)]);
  }
  /** Lanes 0..3, zero-extended. */
  lowU(): I32x4 {
    return new I32x4([...this.code, ...simd(169)]);
  }
  highU(): I32x4 {
    return new I32x4([...this.code, ...simd(170)]);
  }
  /** Sixteen 8-bit lanes out of this and `other`, each saturated as unsigned. */
  narrowU(other: I16x8): I8x16 {
    return new I8x16([...this.code, ...other.code, ...simd(102)]);
  }
}

export class I8x16 extends IntVector<I8x16> {
  readonly kind = 'i8x16';

  static of(value: I8x16 | number): I8x16 {
    return typeof value === 'number' ? I8x16.bytes(new Array<number>(16).fill(value)) : value;
  }
  static bytes(bytes: readonly number[]): I8x16 {
    if (bytes.length !== 16) throw new RangeError(`16 bytes expected, got ${bytes.length}`);
    return new I8x16([...simd(12), ...bytes.map((byte) => byte & 255)]);
  }
  protected override make(code: Code): I8x16 {
    return new I8x16(code);
  }
  protected override constant(value: number): Code {
    return I8x16.of(value).code;
  }
  add(other: I8x16 | number): I8x16 {
    return this.binary(110, other);
  }
  sub(other: I8x16 | number): I8x16 {
    return this.binary(113, other);
  }
  eq(other: I8x16 | number): I8x16 {
    return this.binary(35, other);
  }
  shl(count: I32 | number): I8x16 {
    return this.shift(107, count);
  }
  shrU(count: I32 | number): I8x16 {
    return this.shift(109, count);
  }
  laneU(index: number): I32 {
    return new I32([...this.code, ...simd(22), index]);
  }
  /** Bytes of this (0..15) and `other` (16..31) in a fixed order. */
  shuffle(other: I8x16, bytes: Shuffle): I8x16 {
    if (bytes.length !== 16) throw new RangeError(`16 byte numbers expected, got ${bytes.length}`);
    return new I8x16([...this.code, ...other.code, ...simd(13), ...bytes]);
  }
  /** Bytes of this chosen by the lanes of `indices`; 0 where an index is 16 or more. */
  swizzle(indices: I8x16): I8x16 {
    return new I8x16([...this.code, ...indices.code, ...simd(14)]);
  }
  lowU(): I16x8 {
    return new I16x8([...this.code, ...simd(137)]);
  }
  highU(): I16x8 {
    return new I16x8([...this.code, ...simd(138)]);
  }
}

export type AnyVector = F32x4 | I32x4 | I16x8 | I8x16;
export type AnyValue = I32 | F32 | F64 | AnyVector;

const KINDS = { i32: I32, f32: F32, f64: F64, f32x4: F32x4, i32x4: I32x4, i16x8: I16x8, i8x16: I8x16 } as const;
export type ValueKind = keyof typeof KINDS;
export type ValueOf<K extends ValueKind> = InstanceType<(typeof KINDS)[K]>;

/** A value of the kind of `like` with other code. */
export function sameKind<T extends AnyValue>(like: T, code: Code): T {
  return new KINDS[like.kind](code) as T;
}
export function valueOfKind<K extends ValueKind>(kind: K, code: Code): ValueOf<K> {
  return new KINDS[kind](code) as ValueOf<K>;
}
export function wasmType(kind: ValueKind): number {
  return KINDS[kind].type;
}

/** `yes` if the condition is not 0, else `no`; both are computed. */
export function select<T extends AnyValue>(condition: I32, yes: T, no: T): T {
  return sameKind(yes, [...yes.code, ...no.code, ...condition.code, 0x1b]);
}

/** A store of any value, or of the low bits of an integer. */
export function storeCode(address: I32, value: AnyValue, offset: number): Code {
  const opcode =
    value.kind === 'i32' ? [0x36] : value.kind === 'f32' ? [0x38] : value.kind === 'f64' ? [0x39] : simd(11);
  return [...address.code, ...value.code, ...opcode, ...access(offset)];
}
export function storeBitsCode(address: I32, value: I32, bits: 8 | 16, offset: number): Code {
  return [...address.code, ...value.code, bits === 8 ? 0x3a : 0x3b, ...access(offset)];
}
/** A store of the low 4 or 8 bytes of a vector. */
export function storeLaneCode(address: I32, value: AnyVector, bits: 32 | 64, lane: number, offset: number): Code {
  return [...address.code, ...value.code, ...simd(bits === 32 ? 90 : 91), ...access(offset), lane];
}
export function relaxedMaddCode(a: F32x4, b: F32x4, c: F32x4, negative: boolean): Code {
  return [...a.code, ...b.code, ...c.code, ...simd(negative ? 0x106 : 0x105)];
}
