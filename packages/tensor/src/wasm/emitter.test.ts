// The emitter's instructions against JavaScript's arithmetic, and its control flow.
import { expect, test } from 'vitest';
import { F32, F32x4, F64, I16x8, I32, I32x4, I8x16, wasmKernel } from './emitter.ts';
import type { AnyValue, KernelBuilder } from './emitter.ts';
import { enableRelaxedSimd } from './features.ts';

const IN = 1024;
const OUT = 4096;

/** Runs a body over memory that starts with `input` at IN; gives the memory from OUT on. */
function run(
  input: ArrayBufferView,
  body: (k: KernelBuilder, from: I32, to: I32) => void,
  relaxedSimd = false,
): ArrayBuffer {
  const kernel = wasmKernel({
    name: 'test',
    args: { from: 'ptr', to: 'ptr' },
    body: (k, { from, to }) => body(k, from, to),
  });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1 });
  new Uint8Array(memory.buffer, IN).set(new Uint8Array(input.buffer, input.byteOffset, input.byteLength));
  const module = new WebAssembly.Module(kernel.build({}, { relaxedSimd, sharedMemory: false }));
  const { exports } = new WebAssembly.Instance(module, { env: { memory } });
  (exports['run'] as (...args: number[]) => void)(0, 1, 0, IN, OUT);
  return memory.buffer.slice(OUT);
}

const INTS = [
  0, 1, 2, 3, 7, 31, 32, 255, 256, 65535, 65536, 0x7fffffff, -0x80000000, -1, -2, -100, 123456789, -987654321,
];
const FLOATS = [
  0,
  -0,
  1,
  -1,
  0.5,
  -0.5,
  1.5,
  2.5,
  -2.5,
  3.25,
  1e-40,
  -1e-40,
  1e10,
  -1e10,
  3e38,
  -3e38,
  Infinity,
  -Infinity,
  NaN,
];
const f32 = Math.fround;

test.each<[string, (a: I32, b: I32) => I32, (a: number, b: number) => number]>([
  ['add', (a, b) => a.add(b), (a, b) => a + b],
  ['sub', (a, b) => a.sub(b), (a, b) => a - b],
  ['mul', (a, b) => a.mul(b), Math.imul],
  ['divS', (a, b) => a.divS(b.or(1).and(0x7fffffff)), (a, b) => Math.trunc(a / ((b | 1) & 0x7fffffff))],
  ['divU', (a, b) => a.divU(b.or(1)), (a, b) => Math.trunc((a >>> 0) / ((b | 1) >>> 0))],
  ['remS', (a, b) => a.remS(b.or(1)), (a, b) => a % (b | 1)],
  ['remU', (a, b) => a.remU(b.or(1)), (a, b) => (a >>> 0) % ((b | 1) >>> 0)],
  ['and', (a, b) => a.and(b), (a, b) => a & b],
  ['or', (a, b) => a.or(b), (a, b) => a | b],
  ['xor', (a, b) => a.xor(b), (a, b) => a ^ b],
  ['shl', (a, b) => a.shl(b), (a, b) => a << b],
  ['shrS', (a, b) => a.shrS(b), (a, b) => a >> b],
  ['shrU', (a, b) => a.shrU(b), (a, b) => a >>> b],
  ['eq', (a, b) => a.eq(b), (a, b) => Number(a === b)],
  ['ne', (a, b) => a.ne(b), (a, b) => Number(a !== b)],
  ['ltS', (a, b) => a.ltS(b), (a, b) => Number(a < b)],
  ['ltU', (a, b) => a.ltU(b), (a, b) => Number(a >>> 0 < b >>> 0)],
  ['gtS', (a, b) => a.gtS(b), (a, b) => Number(a > b)],
  ['gtU', (a, b) => a.gtU(b), (a, b) => Number(a >>> 0 > b >>> 0)],
  ['leS', (a, b) => a.leS(b), (a, b) => Number(a <= b)],
  ['leU', (a, b) => a.leU(b), (a, b) => Number(a >>> 0 <= b >>> 0)],
  ['geS', (a, b) => a.geS(b), (a, b) => Number(a >= b)],
  ['geU', (a, b) => a.geU(b), (a, b) => Number(a >>> 0 >= b >>> 0)],
  ['minU', (a, b) => a.minU(b), (a, b) => Math.min(a >>> 0, b >>> 0)],
  ['maxU', (a, b) => a.maxU(b), (a, b) => Math.max(a >>> 0, b >>> 0)],
  ['minS', (a, b) => a.minS(b), Math.min],
  ['maxS', (a, b) => a.maxS(b), Math.max],
  ['eqz', (a) => a.eqz(), (a) => Number(a === 0)],
  ['clz', (a) => a.clz(), (a) => Math.clz32(a)],
  ['toF32S', (a) => a.toF32S().asI32(), (a) => new Int32Array(Float32Array.of(a).buffer)[0]!],
  ['toF32U', (a) => a.toF32U().asI32(), (a) => new Int32Array(Float32Array.of(a >>> 0).buffer)[0]!],
])('i32 %s', (_, emit, expected) => {
  const pairs = INTS.flatMap((a) => INTS.map((b) => [a, b] as const));
  const out = new Int32Array(
    run(Int32Array.from(pairs.flat()), (k, from, to) => {
      k.forRange(0, pairs.length, 1, (i) => {
        const at = k.let(from.add(i.shl(3)));
        k.store(to.add(i.shl(2)), emit(k.let(at.loadI32()), k.let(at.loadI32(4))));
      });
    }),
  );
  pairs.forEach(([a, b], i) => expect([a, b, out[i]]).toEqual([a, b, expected(a, b) | 0]));
});

const nearest = (x: number): number => {
  if (!Number.isFinite(x) || Math.abs(x) > 2 ** 24) return x;
  const floor = Math.floor(x);
  const rest = x - floor;
  const result = rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
  return result === 0 ? (Object.is(x, -0) || x < 0 ? -0 : 0) : result;
};
const saturate = (x: number, low: number, high: number): number =>
  Number.isNaN(x) ? 0 : Math.min(Math.max(Math.trunc(x), low), high) | 0;

type FloatRow = [
  string,
  (a: F32, b: F32) => F32 | I32,
  ((a: F32x4, b: F32x4) => F32x4 | I32x4) | undefined,
  (a: number, b: number) => number,
];
const FLOAT_ROWS: FloatRow[] = [
  ['add', (a, b) => a.add(b), (a, b) => a.add(b), (a, b) => a + b],
  ['sub', (a, b) => a.sub(b), (a, b) => a.sub(b), (a, b) => a - b],
  ['mul', (a, b) => a.mul(b), (a, b) => a.mul(b), (a, b) => a * b],
  ['div', (a, b) => a.div(b), (a, b) => a.div(b), (a, b) => a / b],
  ['min', (a, b) => a.min(b), (a, b) => a.min(b), Math.min],
  ['max', (a, b) => a.max(b), (a, b) => a.max(b), Math.max],
  ['abs', (a) => a.abs(), (a) => a.abs(), Math.abs],
  ['neg', (a) => a.neg(), (a) => a.neg(), (a) => -a],
  ['sqrt', (a) => a.sqrt(), (a) => a.sqrt(), Math.sqrt],
  ['ceil', (a) => a.ceil(), (a) => a.ceil(), Math.ceil],
  ['floor', (a) => a.floor(), (a) => a.floor(), Math.floor],
  ['trunc', (a) => a.trunc(), (a) => a.trunc(), Math.trunc],
  ['nearest', (a) => a.nearest(), (a) => a.nearest(), nearest],
];
const sameFloat = (a: number, b: number): boolean => Object.is(a, b) || (Number.isNaN(a) && Number.isNaN(b));
const floatPairs = FLOATS.flatMap((a) => FLOATS.map((b) => [f32(a), f32(b)] as const));

test.each(FLOAT_ROWS)('f32 and f32x4 %s', (_, scalar, vector, expected) => {
  const out = new Float32Array(
    run(Float32Array.from(floatPairs.flat()), (k, from, to) => {
      k.forRange(0, floatPairs.length, 1, (i) => {
        const at = k.let(from.add(i.shl(3)));
        const target = k.let(to.add(i.shl(5)));
        k.store(target, scalar(at.loadF32(), at.loadF32(4)));
        k.store(target, vector!(at.loadF32x4Splat(), at.loadF32x4Splat(4)), 16);
      });
    }),
  );
  floatPairs.forEach(([a, b], i) => {
    const wanted = f32(expected(a, b));
    for (const got of [out[8 * i]!, ...out.subarray(8 * i + 4, 8 * i + 8)]) {
      if (!sameFloat(got, wanted)) expect({ a, b, got }).toEqual({ a, b, got: wanted });
    }
  });
});

test.each<FloatRow>([
  ['eq', (a, b) => a.eq(b), (a, b) => a.eq(b), (a, b) => Number(a === b)],
  ['ne', (a, b) => a.ne(b), (a, b) => a.ne(b), (a, b) => Number(a !== b)],
  ['lt', (a, b) => a.lt(b), (a, b) => a.lt(b), (a, b) => Number(a < b)],
  ['gt', (a, b) => a.gt(b), (a, b) => a.gt(b), (a, b) => Number(a > b)],
  ['le', (a, b) => a.le(b), (a, b) => a.le(b), (a, b) => Number(a <= b)],
  ['ge', (a, b) => a.ge(b), (a, b) => a.ge(b), (a, b) => Number(a >= b)],
  ['toI32S', (a) => a.toI32S(), (a) => a.toI32x4S(), (a) => saturate(a, -(2 ** 31), 2 ** 31 - 1)],
  ['toI32U', (a) => a.toI32U(), (a) => a.toI32x4U(), (a) => saturate(a, 0, 2 ** 32 - 1)],
])('f32 and f32x4 to integer: %s', (name, scalar, vector, expected) => {
  const out = new Int32Array(
    run(Float32Array.from(floatPairs.flat()), (k, from, to) => {
      k.forRange(0, floatPairs.length, 1, (i) => {
        const at = k.let(from.add(i.shl(3)));
        const target = k.let(to.add(i.shl(5)));
        k.store(target, scalar(at.loadF32(), at.loadF32(4)));
        k.store(target, vector!(at.loadF32x4Splat(), at.loadF32x4Splat(4)), 16);
      });
    }),
  );
  const mask = !name.startsWith('to');
  floatPairs.forEach(([a, b], i) => {
    const wanted = expected(a, b);
    expect([a, b, out[8 * i], out[8 * i + 6]]).toEqual([a, b, wanted, mask ? -wanted | 0 : wanted]);
  });
});

test('pmin, pmax, copysign, f64', () => {
  const input = Float32Array.of(1, NaN, -0, 5, 2, 1, 0, -5);
  const out = new Float32Array(
    run(input, (k, from, to) => {
      const a = from.loadF32x4();
      const b = from.loadF32x4(16);
      k.store(to, a.pmin(b));
      k.store(to, a.pmax(b), 16);
      k.store(to, from.loadF32(12).copysign(from.loadF32(28)), 32);
      k.store(to, from.loadF32().toF64().div(F64.of(3)).add(1).sub(1).mul(3).sqrt().toF32(), 36);
    }),
  );
  expect([...out.subarray(0, 8)]).toEqual([1, NaN, -0, -5, 2, NaN, -0, 5]);
  expect([...out.subarray(8, 10)]).toEqual([-5, f32(Math.sqrt((1 / 3 + 1 - 1) * 3))]);
});

test('madd: fused with relaxed SIMD, two roundings without', () => {
  const a = f32(1 + 2 ** -12);
  const input = Float32Array.of(a, a, -1);
  const body = (k: KernelBuilder, from: I32, to: I32): void => {
    const value = k.madd(from.loadF32x4Splat(), from.loadF32x4Splat(4), from.loadF32x4Splat(8));
    k.store(to, value);
    k.store(to, k.nmadd(from.loadF32x4Splat(), from.loadF32x4Splat(4), 1), 16);
  };
  const plain = f32(f32(a * a) - 1);
  const fused = f32(a * a - 1);
  expect(plain).not.toBe(fused);
  expect(new Float32Array(run(input, body, false), 0, 8)).toEqual(
    new Float32Array([1, 1, 1, 1, -1, -1, -1, -1].map((s) => s * plain)),
  );
  // Node 20 has it behind a flag, newer ones always; hardware without FMA may round twice.
  expect(enableRelaxedSimd()).toBe(true);
  expect([plain, fused]).toContain(new Float32Array(run(input, body, true))[0]);
});

test('i32x4 lanes', () => {
  const ops: [string, (a: I32x4, b: I32x4) => I32x4, (a: number, b: number) => number][] = [
    ['add', (a, b) => a.add(b), (a, b) => a + b],
    ['sub', (a, b) => a.sub(b), (a, b) => a - b],
    ['mul', (a, b) => a.mul(b), Math.imul],
    ['shl', (a) => a.shl(5), (a) => a << 5],
    ['shrS', (a) => a.shrS(5), (a) => a >> 5],
    ['shrU', (a) => a.shrU(5), (a) => a >>> 5],
    ['and', (a, b) => a.and(b), (a, b) => a & b],
    ['andNot', (a, b) => a.andNot(b), (a, b) => a & ~b],
    ['or', (a, b) => a.or(b), (a, b) => a | b],
    ['xor', (a, b) => a.xor(b), (a, b) => a ^ b],
    ['not', (a) => a.not(), (a) => ~a],
    ['minS', (a, b) => a.minS(b), Math.min],
    ['maxS', (a, b) => a.maxS(b), Math.max],
    ['minU', (a, b) => a.minU(b), (a, b) => Math.min(a >>> 0, b >>> 0)],
    ['maxU', (a, b) => a.maxU(b), (a, b) => Math.max(a >>> 0, b >>> 0)],
    ['eq', (a, b) => a.eq(b), (a, b) => -Number(a === b)],
    ['ne', (a, b) => a.ne(b), (a, b) => -Number(a !== b)],
    ['ltS', (a, b) => a.ltS(b), (a, b) => -Number(a < b)],
    ['gtS', (a, b) => a.gtS(b), (a, b) => -Number(a > b)],
    ['gtU', (a, b) => a.gtU(b), (a, b) => -Number(a >>> 0 > b >>> 0)],
    ['leS', (a, b) => a.leS(b), (a, b) => -Number(a <= b)],
    ['geS', (a, b) => a.geS(b), (a, b) => -Number(a >= b)],
    ['select', (a, b) => a.gtS(b).select(a, b), Math.max],
    ['toF32x4S', (a) => a.toF32x4S().asI32x4(), (a) => new Int32Array(Float32Array.of(a).buffer)[0]!],
    ['toF32x4U', (a) => a.toF32x4U().asI32x4(), (a) => new Int32Array(Float32Array.of(a >>> 0).buffer)[0]!],
  ];
  const a = INTS.slice(0, 16);
  const b = INTS.slice(2, 18);
  const out = new Int32Array(
    run(Int32Array.from([...a, ...b]), (k, from, to) => {
      ops.forEach(([, emit], o) => {
        for (let v = 0; v < 4; v++) {
          k.store(to, emit(from.loadI32x4(16 * v), from.loadI32x4(64 + 16 * v)), 64 * o + 16 * v);
        }
      });
    }),
  );
  ops.forEach(([name, , expected], o) => {
    expect([name, ...out.subarray(16 * o, 16 * o + 16)]).toEqual([name, ...a.map((x, i) => expected(x, b[i]!) | 0)]);
  });
});

test('loads, stores, lanes, shuffles, narrowing and widening', () => {
  const bytes = Uint8Array.from({ length: 64 }, (_, i) => (i * 37 + 200) & 255);
  const view = new DataView(bytes.buffer);
  const rows: [number[] | Uint8Array, (k: KernelBuilder, from: I32) => AnyValue][] = [
    [[view.getUint8(3), 0, 0, 0], (_, p) => p.loadU8(3)],
    [[...new Uint8Array(Int32Array.of(view.getInt8(3)).buffer)], (_, p) => p.loadS8(3)],
    [[bytes[5]!, bytes[6]!, 0, 0], (_, p) => p.loadU16(5)],
    [[...new Uint8Array(Int32Array.of(view.getInt16(5, true)).buffer)], (_, p) => p.loadS16(5)],
    [bytes.subarray(7, 11), (_, p) => p.add(4).loadI32(3)],
    [bytes.subarray(9, 25), (_, p) => p.loadI8x16(9)],
    [[...bytes.subarray(8, 16)].flatMap((b) => [b, 0]), (_, p) => p.loadU8x8(8)],
    [
      [...bytes.subarray(8, 16)].flatMap((_, i, all) => (i % 2 ? [] : [all[i]!, all[i + 1]!, 0, 0])),
      (_, p) => p.loadU16x4(8),
    ],
    [
      [0, 1, 2, 3].flatMap((i) => [...new Uint8Array(Int32Array.of(view.getInt16(8 + 2 * i, true)).buffer)]),
      (_, p) => p.loadS16x4(8),
    ],
    [[...bytes.subarray(12, 16), ...new Array<number>(12).fill(0)], (_, p) => p.load32Zero(12)],
    [[...bytes.subarray(16, 24), ...new Array<number>(8).fill(0)], (_, p) => p.load64Zero(16)],
    [[0, 1, 2, 3].flatMap(() => [...bytes.subarray(20, 24)]), (_, p) => p.loadI32x4Splat(20)],
    [
      [...bytes.subarray(4, 8), ...bytes.subarray(28, 32), ...bytes.subarray(0, 4), ...bytes.subarray(16, 20)],
      (_, p) => p.loadF32x4().shuffle(p.loadF32x4(16), [1, 7, 0, 4]),
    ],
    [
      [31, 0, 5, 16].map((i) => bytes[i]!).concat(new Array<number>(12).fill(bytes[1]!)),
      (_, p) => p.loadI8x16().shuffle(p.loadI8x16(16), [31, 0, 5, 16, ...new Array<number>(12).fill(1)]),
    ],
    [
      [bytes[2]!, 0, bytes[15]!, 0, ...bytes.subarray(4, 16)],
      (_, p) => p.loadI8x16().swizzle(I8x16.bytes([2, 16, 15, 255, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15])),
    ],
    [
      [1, 0, 255, 255, 0, 0, 255, 255, 1, 0, 255, 255, 0, 0, 255, 255],
      (k) => {
        const v = k.let(I32x4.lanes(1, 70000, -5, 65535));
        return v.narrowU(v);
      },
    ],
    [
      [1, 255, 0, 44, 0, 0, 0, 0, 1, 255, 0, 44, 0, 0, 0, 0],
      (k) => {
        const v = k.let(I32x4.lanes(0x01000001, 0x002cffff, 0, 0)).asI16x8();
        return v.narrowU(v);
      },
    ],
    [
      [254, 255, 255, 255, 3, 0, 0, 0, 254, 255, 255, 255, 3, 0, 0, 0],
      (k) =>
        k
          .let(I32x4.lanes(0x0003fffe, 0x0003fffe, 0, 0))
          .asI16x8()
          .lowS(),
    ],
    [
      [254, 255, 0, 0, 3, 0, 0, 0, 254, 255, 0, 0, 3, 0, 0, 0],
      (k) =>
        k
          .let(I32x4.lanes(0, 0, 0x0003fffe, 0x0003fffe))
          .asI16x8()
          .highU(),
    ],
    [[9, 9, 9, 9, 5, 0, 0, 0, 9, 9, 9, 9, 9, 9, 9, 9], () => I32x4.of(0x09090909).withLane(1, 5)],
    [bytes.subarray(8, 12), (_, p) => p.loadI32x4().lane(2)],
    [[bytes[13]!, 0, 0, 0], (_, p) => p.loadI8x16().laneU(13)],
    [[bytes[6]!, bytes[7]!, 0, 0], (_, p) => p.loadI16x8().laneU(3)],
    [[0b1010, 0, 0, 0], () => I32x4.lanes(1, -1, 0, -5).bitmask()],
    [[1, 0, 0, 0], () => I32x4.lanes(0, 0, 8, 0).anyTrue()],
    [[0, 0, 0, 0], () => I32x4.lanes(1, 1, 8, 0).allTrue()],
    [[2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1, 2, 1], () => I16x8.of(0x102)],
    [[7, 0, 7, 0, 7, 0, 7, 0, 7, 0, 7, 0, 7, 0, 7, 0], () => I32.of(7).splatI16x8()],
    [new Uint8Array(16).fill(200), () => I32.of(200).splatI8x16()],
  ];
  const out = new Uint8Array(
    run(bytes, (k, from, to) => {
      rows.forEach(([, emit], i) => k.store(to, emit(k, from), 16 * i));
      k.store8(to, I32.of(0x1ff), 2048);
      k.store16(to, I32.of(0x12345), 2052);
      k.store32Lane(to, from.loadI32x4(), 2, 2056);
      k.store64Lane(to, from.loadI32x4(), 1, 2064);
      k.copy(to.add(2080), from, 10);
      k.fill(to.add(2096), 0x17, I32.of(3));
    }),
  );
  rows.forEach(([expected], i) =>
    expect([i, ...out.subarray(16 * i, 16 * i + expected.length)]).toEqual([i, ...expected]),
  );
  expect([...out.subarray(2048, 2056)]).toEqual([0xff, 0, 0, 0, 0x45, 0x23, 0, 0]);
  expect([...out.subarray(2056, 2060)]).toEqual([...bytes.subarray(8, 12)]);
  expect([...out.subarray(2064, 2072)]).toEqual([...bytes.subarray(8, 16)]);
  expect([...out.subarray(2080, 2091)]).toEqual([...bytes.subarray(0, 10), 0]);
  expect([...out.subarray(2096, 2100)]).toEqual([0x17, 0x17, 0x17, 0]);
});

test('control flow, variables and functions', () => {
  const out = new Int32Array(
    run(new Uint8Array(4), (k, _, to) => {
      // Numbers below 40 that are not divisible by 3, up to the first above 30.
      const sum = k.var(I32.of(0));
      k.forRange(0, 40, 1, (i) => {
        k.if(i.remU(3).ne(0).and(i.leU(31)), () => sum.set(sum.add(i)));
      });
      k.store(to, sum);
      const count = k.var(I32.of(0));
      const odd = k.var(I32.of(0));
      k.loop((control) => {
        count.set(count.add(1));
        control.breakIf(count.gtU(10));
        k.if(
          count.and(1).eqz(),
          () => control.continue(),
          () => odd.set(odd.add(count)),
        );
      });
      k.store(to, odd, 4);
      const n = k.var(I32.of(100));
      k.while(
        () => n.gtS(7),
        () => n.set(n.sub(10)),
      );
      k.store(to, n, 8);
      k.forRange(5, 5, 1, () => k.trap());
      const square = k.function({ x: 'i32', plus: 'i32' }, 'i32', (_k, { x, plus }) => x.mul(x).add(plus));
      const put = k.function({ at: 'i32', value: 'i32' }, null, (inner, { at, value }) => {
        inner.if(value.eqz(), () => inner.return());
        inner.store(at, value);
      });
      k.call(put, { at: to.add(12), value: k.call(square, { x: I32.of(9), plus: I32.of(2) }) });
      k.call(put, { at: to.add(12), value: I32.of(0) });
      const pinned = k.let(n);
      n.set(I32.of(-1));
      k.store(to, pinned.add(n), 16);
      k.store(to, k.select(n.eq(-1), F32.of(1), F32.of(2)).toI32S(), 20);
    }),
  );
  const sum = Array.from({ length: 32 }, (_, i) => i)
    .filter((i) => i % 3 !== 0)
    .reduce((a, b) => a + b);
  expect([...out.subarray(0, 6)]).toEqual([sum, 25, 0, 83, -1, 1]);
});
