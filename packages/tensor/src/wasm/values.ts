// Typed wasm expressions. A value is the code that computes it: it runs at every place where it is used, so a result
// that is used twice, or must be taken before something changes, goes through `k.let` or `k.var` (emitter.ts).
// What an instruction does stands in a table per kind of value: the operands beside the value itself, the kind of the
// result, the opcode. The classes below get their methods from these tables.
import { float32Bytes, float64Bytes, int32Bytes, signed, unsigned } from './encode.ts';

export type Code = readonly number[];

interface Kinds {
  i32: I32;
  f32: F32;
  f64: F64;
  f32x4: F32x4;
  i32x4: I32x4;
  i16x8: I16x8;
  i8x16: I8x16;
}
export type ValueKind = keyof Kinds;
export type ValueOf<K extends ValueKind> = Kinds[K];
export type AnyVector = F32x4 | I32x4 | I16x8 | I8x16;
export type AnyValue = I32 | F32 | F64 | AnyVector;

interface Unary<K> {
  readonly form: 'unary';
  readonly to: K;
  readonly opcode: Code;
}
interface Binary<O, K> {
  readonly form: 'binary';
  readonly other: O;
  readonly to: K;
  readonly opcode: Code;
  /** With this constant the value stays what it is. */
  readonly neutral: number | undefined;
}
interface Load<K> {
  readonly form: 'load';
  readonly to: K;
  readonly opcode: Code;
}
interface Lane<K> {
  readonly form: 'lane';
  readonly to: K;
  readonly opcode: Code;
}
type Instruction = Unary<ValueKind> | Binary<ValueKind, ValueKind> | Load<ValueKind> | Lane<ValueKind>;

type Method<I> =
  I extends Unary<infer K extends ValueKind>
    ? () => ValueOf<K>
    : I extends Binary<infer O extends ValueKind, infer K extends ValueKind>
      ? (other: ValueOf<O> | number) => ValueOf<K>
      : I extends Load<infer K extends ValueKind>
        ? (offset?: number) => ValueOf<K>
        : I extends Lane<infer K extends ValueKind>
          ? (index: number) => ValueOf<K>
          : never;
type Methods<T> = { readonly [N in keyof T]: Method<T[N]> };

const unary = <K extends ValueKind>(to: K, ...opcode: number[]): Unary<K> => ({ form: 'unary', to, opcode });
const binary = <O extends ValueKind, K extends ValueKind>(
  other: O,
  to: K,
  opcode: Code,
  neutral?: number,
): Binary<O, K> => ({ form: 'binary', other, to, opcode, neutral });
/** From the value as an address; `offset` is a constant number of bytes, not negative. Any alignment. */
const load = <K extends ValueKind>(to: K, ...opcode: number[]): Load<K> => ({ form: 'load', to, opcode });
const lane = <K extends ValueKind>(to: K, ...opcode: number[]): Lane<K> => ({ form: 'lane', to, opcode });

const simd = (opcode: number): number[] => [0xfd, ...unsigned(opcode)];
/** Alignment hint 0 (any) and offset of a memory access. */
const access = (offset: number): number[] => [0, ...unsigned(offset)];

abstract class Value {
  readonly code: Code;
  constructor(code: Code) {
    this.code = code;
  }
}

/** The code of a method's call. */
function codeOf(value: Value, instruction: Instruction, argument: Value | number | undefined): Code {
  const { form, opcode } = instruction;
  switch (form) {
    case 'unary':
      return value.code.concat(opcode);
    case 'binary': {
      const other = argument instanceof Value ? argument : KINDS[instruction.other].of(argument!);
      return value.code.concat(other.code, opcode);
    }
    case 'load':
      return value.code.concat(opcode, access((argument as number | undefined) ?? 0));
    case 'lane':
      return value.code.concat(opcode, argument as number);
  }
}

/** A class of values with a method per instruction. */
function valuesWith<T extends Readonly<Record<string, Instruction>>>(
  instructions: T,
): abstract new (code: Code) => Value & Methods<T> {
  abstract class WithInstructions extends Value {}
  for (const [name, instruction] of Object.entries(instructions)) {
    const value = function (this: Value, argument?: Value | number): Value {
      if (instruction.form === 'binary' && argument !== undefined && argument === instruction.neutral) return this;
      return new KINDS[instruction.to](codeOf(this, instruction, argument));
    };
    Object.defineProperty(WithInstructions.prototype, name, { value });
  }
  return WithInstructions as unknown as abstract new (code: Code) => Value & Methods<T>;
}

const i32 = (opcode: number, neutral?: number) => binary('i32', 'i32', [opcode], neutral);

/** 32-bit integers, addresses and conditions (0 or 1). Comparisons and divisions name their signedness. */
export class I32 extends valuesWith({
  add: i32(0x6a, 0),
  sub: i32(0x6b),
  mul: i32(0x6c, 1),
  // Divisions trap on 0.
  divS: i32(0x6d),
  divU: i32(0x6e),
  remS: i32(0x6f),
  remU: i32(0x70),
  and: i32(0x71),
  or: i32(0x72),
  xor: i32(0x73),
  shl: i32(0x74),
  shrS: i32(0x75),
  shrU: i32(0x76),
  eqz: unary('i32', 0x45),
  eq: i32(0x46),
  ne: i32(0x47),
  ltS: i32(0x48),
  ltU: i32(0x49),
  gtS: i32(0x4a),
  gtU: i32(0x4b),
  leS: i32(0x4c),
  leU: i32(0x4d),
  geS: i32(0x4e),
  geU: i32(0x4f),
  clz: unary('i32', 0x67),
  toF32S: unary('f32', 0xb2),
  toF32U: unary('f32', 0xb3),
  /** The float with these bits. */
  asF32: unary('f32', 0xbe),
  splat: unary('i32x4', ...simd(17)),
  splatI16x8: unary('i16x8', ...simd(16)),
  splatI8x16: unary('i8x16', ...simd(15)),
  loadI32: load('i32', 0x28),
  loadF32: load('f32', 0x2a),
  loadF64: load('f64', 0x2b),
  loadS8: load('i32', 0x2c),
  loadU8: load('i32', 0x2d),
  loadS16: load('i32', 0x2e),
  loadU16: load('i32', 0x2f),
  loadF32x4: load('f32x4', ...simd(0)),
  loadI32x4: load('i32x4', ...simd(0)),
  loadI16x8: load('i16x8', ...simd(0)),
  loadI8x16: load('i8x16', ...simd(0)),
  /** Eight bytes, sign-extended to 16 bits each. */
  loadS8x8: load('i16x8', ...simd(1)),
  /** Eight bytes, zero-extended to 16 bits each. */
  loadU8x8: load('i16x8', ...simd(2)),
  /** Four 16-bit numbers, sign-extended to 32 bits each. */
  loadS16x4: load('i32x4', ...simd(3)),
  /** Four 16-bit numbers, zero-extended to 32 bits each. */
  loadU16x4: load('i32x4', ...simd(4)),
  /** One f32 in all four lanes. */
  loadF32x4Splat: load('f32x4', ...simd(9)),
  /** One 32-bit number in all four lanes. */
  loadI32x4Splat: load('i32x4', ...simd(9)),
  /** Four bytes in lanes 0..3 of sixteen, the rest 0. */
  load32Zero: load('i8x16', ...simd(92)),
  /** Eight bytes in lanes 0..7 of sixteen, the rest 0. */
  load64Zero: load('i8x16', ...simd(93)),
}) {
  static readonly type = 0x7f;
  readonly kind = 'i32';

  static of(value: I32 | number): I32 {
    return typeof value === 'number' ? new I32([0x41, ...signed(value)]) : value;
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
}

const f32 = (opcode: number) => binary('f32', 'f32', [opcode]);
const f32Compare = (opcode: number) => binary('f32', 'i32', [opcode]);

export class F32 extends valuesWith({
  add: f32(0x92),
  sub: f32(0x93),
  mul: f32(0x94),
  div: f32(0x95),
  min: f32(0x96),
  max: f32(0x97),
  copysign: f32(0x98),
  abs: unary('f32', 0x8b),
  neg: unary('f32', 0x8c),
  ceil: unary('f32', 0x8d),
  floor: unary('f32', 0x8e),
  trunc: unary('f32', 0x8f),
  /** To the nearest integer, ties to even. */
  nearest: unary('f32', 0x90),
  sqrt: unary('f32', 0x91),
  eq: f32Compare(0x5b),
  ne: f32Compare(0x5c),
  lt: f32Compare(0x5d),
  gt: f32Compare(0x5e),
  le: f32Compare(0x5f),
  ge: f32Compare(0x60),
  /** Truncated; saturates, NaN gives 0. */
  toI32S: unary('i32', 0xfc, 0),
  toI32U: unary('i32', 0xfc, 1),
  asI32: unary('i32', 0xbc),
  toF64: unary('f64', 0xbb),
  splat: unary('f32x4', ...simd(19)),
}) {
  static readonly type = 0x7d;
  readonly kind = 'f32';

  static of(value: F32 | number): F32 {
    return typeof value === 'number' ? new F32([0x43, ...float32Bytes(value)]) : value;
  }
}

const f64 = (opcode: number) => binary('f64', 'f64', [opcode]);

/** For the few sums that need it. */
export class F64 extends valuesWith({
  add: f64(0xa0),
  sub: f64(0xa1),
  mul: f64(0xa2),
  div: f64(0xa3),
  sqrt: unary('f64', 0x9f),
  toF32: unary('f32', 0xb6),
}) {
  static readonly type = 0x7c;
  readonly kind = 'f64';

  static of(value: F64 | number): F64 {
    return typeof value === 'number' ? new F64([0x44, ...float64Bytes(value)]) : value;
  }
}

const VECTOR_TYPE = 0x7b;

/** What all vectors have: their bits as other lanes. */
const bits = {
  asF32x4: unary('f32x4'),
  asI32x4: unary('i32x4'),
  asI16x8: unary('i16x8'),
  asI8x16: unary('i8x16'),
  /** 1 when any bit is set. */
  anyTrue: unary('i32', ...simd(83)),
};

const f32x4 = (opcode: number) => binary('f32x4', 'f32x4', simd(opcode));
const f32x4Compare = (opcode: number) => binary('f32x4', 'i32x4', simd(opcode));

export class F32x4 extends valuesWith({
  ...bits,
  add: f32x4(228),
  sub: f32x4(229),
  mul: f32x4(230),
  div: f32x4(231),
  /** NaN if either is; several instructions on x86: `pmin` is one. */
  min: f32x4(232),
  max: f32x4(233),
  /** `other < this ? other : this`. */
  pmin: f32x4(234),
  /** `this < other ? other : this`. */
  pmax: f32x4(235),
  abs: unary('f32x4', ...simd(224)),
  neg: unary('f32x4', ...simd(225)),
  sqrt: unary('f32x4', ...simd(227)),
  ceil: unary('f32x4', ...simd(103)),
  floor: unary('f32x4', ...simd(104)),
  trunc: unary('f32x4', ...simd(105)),
  nearest: unary('f32x4', ...simd(106)),
  // Comparisons give a mask of all ones or zeros per lane.
  eq: f32x4Compare(65),
  ne: f32x4Compare(66),
  lt: f32x4Compare(67),
  gt: f32x4Compare(68),
  le: f32x4Compare(69),
  ge: f32x4Compare(70),
  lane: lane('f32', ...simd(31)),
  /** Truncated; saturates, NaN gives 0. */
  toI32x4S: unary('i32x4', ...simd(248)),
  toI32x4U: unary('i32x4', ...simd(249)),
}) {
  static readonly type = VECTOR_TYPE;
  readonly kind = 'f32x4';

  static of(value: F32x4 | number): F32x4 {
    return typeof value === 'number' ? F32x4.lanes(value, value, value, value) : value;
  }
  static lanes(a: number, b: number, c: number, d: number): F32x4 {
    return new F32x4([...simd(12), ...[a, b, c, d].flatMap(float32Bytes)]);
  }
  withLane(index: number, value: F32 | number): F32x4 {
    return new F32x4([...this.code, ...F32.of(value).code, ...simd(32), index]);
  }
  /** Four lanes out of this (0..3) and `other` (4..7). */
  shuffle(other: F32x4, lanes: readonly [number, number, number, number]): F32x4 {
    const bytes = lanes.flatMap((lane) => [0, 1, 2, 3].map((byte) => 4 * lane + byte));
    return new F32x4([...this.code, ...other.code, ...simd(13), ...bytes]);
  }
}

/** What all vectors of integers have. */
const bitwise = <K extends ValueKind>(kind: K) => ({
  ...bits,
  not: unary(kind, ...simd(77)),
  and: binary(kind, kind, simd(78)),
  /** `this & ~other`. */
  andNot: binary(kind, kind, simd(79)),
  or: binary(kind, kind, simd(80)),
  xor: binary(kind, kind, simd(81)),
});

const i32x4 = (opcode: number) => binary('i32x4', 'i32x4', simd(opcode));
const i32x4Shift = (opcode: number) => binary('i32', 'i32x4', simd(opcode));

export class I32x4 extends valuesWith({
  ...bitwise('i32x4'),
  add: i32x4(174),
  sub: i32x4(177),
  mul: i32x4(181),
  shl: i32x4Shift(171),
  shrS: i32x4Shift(172),
  shrU: i32x4Shift(173),
  minS: i32x4(182),
  minU: i32x4(183),
  maxS: i32x4(184),
  maxU: i32x4(185),
  eq: i32x4(55),
  ne: i32x4(56),
  ltS: i32x4(57),
  gtS: i32x4(59),
  gtU: i32x4(60),
  leS: i32x4(61),
  geS: i32x4(63),
  lane: lane('i32', ...simd(27)),
  allTrue: unary('i32', ...simd(163)),
  /** The lanes' top bits as bits 0..3. */
  bitmask: unary('i32', ...simd(164)),
  toF32x4S: unary('f32x4', ...simd(250)),
  toF32x4U: unary('f32x4', ...simd(251)),
  /** Eight 16-bit lanes out of this and `other`, each saturated as unsigned. */
  narrowU: binary('i32x4', 'i16x8', simd(134)),
  narrowS: binary('i32x4', 'i16x8', simd(133)),
}) {
  static readonly type = VECTOR_TYPE;
  readonly kind = 'i32x4';

  static of(value: I32x4 | number): I32x4 {
    return typeof value === 'number' ? I32x4.lanes(value, value, value, value) : value;
  }
  static lanes(a: number, b: number, c: number, d: number): I32x4 {
    return new I32x4([...simd(12), ...[a, b, c, d].flatMap(int32Bytes)]);
  }
  withLane(index: number, value: I32 | number): I32x4 {
    return new I32x4([...this.code, ...I32.of(value).code, ...simd(28), index]);
  }
  /** As a mask: bits of `yes` where set, of `no` where not. */
  select<T extends AnyVector>(yes: T, no: T): T {
    return sameKind(yes, yes.code.concat(no.code, this.code, simd(82)));
  }
}

const i16x8 = (opcode: number) => binary('i16x8', 'i16x8', simd(opcode));
const i16x8Shift = (opcode: number) => binary('i32', 'i16x8', simd(opcode));

export class I16x8 extends valuesWith({
  ...bitwise('i16x8'),
  add: i16x8(142),
  sub: i16x8(145),
  mul: i16x8(149),
  shl: i16x8Shift(139),
  shrS: i16x8Shift(140),
  shrU: i16x8Shift(141),
  eq: i16x8(45),
  gtS: i16x8(49),
  minU: i16x8(151),
  maxU: i16x8(153),
  laneU: lane('i32', ...simd(25)),
  lowS: unary('i32x4', ...simd(167)),
  highS: unary('i32x4', ...simd(168)),
  /** Lanes 0..3, zero-extended. */
  lowU: unary('i32x4', ...simd(169)),
  highU: unary('i32x4', ...simd(170)),
  /** Sixteen 8-bit lanes out of this and `other`, each saturated as unsigned. */
  narrowU: binary('i16x8', 'i8x16', simd(102)),
}) {
  static readonly type = VECTOR_TYPE;
  readonly kind = 'i16x8';

  static of(value: I16x8 | number): I16x8 {
    if (typeof value !== 'number') return value;
    return new I16x8([...simd(12), ...Array.from({ length: 8 }, () => [value & 255, (value >> 8) & 255]).flat()]);
  }
}

const i8x16 = (opcode: number) => binary('i8x16', 'i8x16', simd(opcode));

export class I8x16 extends valuesWith({
  ...bitwise('i8x16'),
  add: i8x16(110),
  sub: i8x16(113),
  eq: i8x16(35),
  shl: binary('i32', 'i8x16', simd(107)),
  shrU: binary('i32', 'i8x16', simd(109)),
  laneU: lane('i32', ...simd(22)),
  /** Bytes of this chosen by the lanes of `indices`; 0 where an index is 16 or more. */
  swizzle: i8x16(14),
  lowS: unary('i16x8', ...simd(135)),
  highS: unary('i16x8', ...simd(136)),
  lowU: unary('i16x8', ...simd(137)),
  highU: unary('i16x8', ...simd(138)),
}) {
  static readonly type = VECTOR_TYPE;
  readonly kind = 'i8x16';

  static of(value: I8x16 | number): I8x16 {
    return typeof value === 'number' ? I8x16.bytes(new Array<number>(16).fill(value)) : value;
  }
  static bytes(bytes: readonly number[]): I8x16 {
    if (bytes.length !== 16) throw new RangeError(`16 bytes expected, got ${bytes.length}`);
    return new I8x16([...simd(12), ...bytes.map((byte) => byte & 255)]);
  }
  /** Bytes of this (0..15) and `other` (16..31) in a fixed order. */
  shuffle(other: I8x16, bytes: readonly number[]): I8x16 {
    if (bytes.length !== 16) throw new RangeError(`16 byte numbers expected, got ${bytes.length}`);
    return new I8x16([...this.code, ...other.code, ...simd(13), ...bytes]);
  }
}

const KINDS: {
  readonly [K in ValueKind]: {
    readonly type: number;
    new (code: Code): ValueOf<K>;
    of(value: number): ValueOf<K>;
  };
} = { i32: I32, f32: F32, f64: F64, f32x4: F32x4, i32x4: I32x4, i16x8: I16x8, i8x16: I8x16 };

/** A value of the kind of `like` with other code. */
export function sameKind<T extends AnyValue>(like: T, code: Code): T {
  return new KINDS[like.kind](code) as T;
}
export function valueOfKind<K extends ValueKind>(kind: K, code: Code): ValueOf<K> {
  return new KINDS[kind](code);
}
export function wasmType(kind: ValueKind): number {
  return KINDS[kind].type;
}

/** `yes` if the condition is not 0, else `no`; both are computed. */
export function select<T extends AnyValue>(condition: I32, yes: T, no: T): T {
  return sameKind(yes, yes.code.concat(no.code, condition.code, 0x1b));
}

/** A store of any value, or of the low bits of an integer. */
export function storeCode(address: I32, value: AnyValue, offset: number): Code {
  const opcode =
    value.kind === 'i32' ? [0x36] : value.kind === 'f32' ? [0x38] : value.kind === 'f64' ? [0x39] : simd(11);
  return address.code.concat(value.code, opcode, access(offset));
}
export function storeBitsCode(address: I32, value: I32, bits: 8 | 16, offset: number): Code {
  return address.code.concat(value.code, bits === 8 ? 0x3a : 0x3b, access(offset));
}
/** A store of the low 4 or 8 bytes of a vector. */
export function storeLaneCode(address: I32, value: AnyVector, bits: 32 | 64, lane: number, offset: number): Code {
  return address.code.concat(value.code, simd(bits === 32 ? 90 : 91), access(offset), lane);
}
export function relaxedMaddCode(a: F32x4, b: F32x4, c: F32x4, negative: boolean): Code {
  return a.code.concat(b.code, c.code, simd(negative ? 0x106 : 0x105));
}
