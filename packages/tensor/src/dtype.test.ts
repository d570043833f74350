// The host codecs against their definitions: every bit pattern, and roundings checked by neighbours.
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { bitsPerElement, fromFloat32, hostArray, toFloat32, viewBytes } from './dtype.ts';

// Exponent bits, mantissa bits, bias; whether the top exponent is infinity and NaN, or ordinary numbers.
const formats = {
  f16: { exponent: 5, mantissa: 10, bias: 15, ieee: true },
  bf16: { exponent: 8, mantissa: 7, bias: 127, ieee: true },
  f8e4m3fn: { exponent: 4, mantissa: 3, bias: 7, ieee: false },
} as const;
type Narrow = keyof typeof formats;

/** The value of a bit pattern, from the format's definition. */
function valueOf(dtype: Narrow, bits: number): number {
  const { exponent, mantissa, bias, ieee } = formats[dtype];
  const sign = bits >>> (exponent + mantissa) === 1 ? -1 : 1;
  const e = (bits >>> mantissa) & (2 ** exponent - 1);
  const m = bits & (2 ** mantissa - 1);
  const top = e === 2 ** exponent - 1;
  if (ieee && top) return m === 0 ? sign * Infinity : NaN;
  if (!ieee && top && m === 2 ** mantissa - 1) return NaN;
  if (e === 0) return sign * m * 2 ** (1 - bias - mantissa);
  return sign * (1 + m / 2 ** mantissa) * 2 ** (e - bias);
}

const patterns = (dtype: Narrow) => Array.from({ length: 2 ** bitsPerElement(dtype) }, (_, bits) => bits);

describe.each(Object.keys(formats) as Narrow[])('%s', (dtype) => {
  test('every bit pattern widens to its value and comes back', () => {
    const bits = fromBits(dtype, patterns(dtype));
    const wide = toFloat32(dtype, bits);
    wide.forEach((value, i) => {
      if (!Object.is(value, valueOf(dtype, i))) throw new Error(`${dtype} ${i}: ${value}, not ${valueOf(dtype, i)}`);
    });
    const back = fromFloat32(dtype, wide);
    wide.forEach((value, i) => {
      if (!Number.isNaN(value) && back[i] !== i) throw new Error(`${dtype} ${i} came back as ${back[i]!}`);
    });
  });

  test('rounds to the nearest, ties to even', () => {
    const finite = patterns(dtype)
      .map((bits) => ({ bits, value: valueOf(dtype, bits) }))
      .filter(({ value }) => Number.isFinite(value) && value >= 0 && !Object.is(value, -0));
    const cases = finite.slice(1).flatMap((high, i) => {
      const low = finite[i]!;
      const middle = (low.value + high.value) / 2;
      const step = (high.value - low.value) / 8;
      const even = low.bits % 2 === 0 ? low.bits : high.bits;
      return [
        { value: middle, bits: even },
        { value: middle - step, bits: low.bits },
        { value: middle + step, bits: high.bits },
      ];
    });
    const signBit = 2 ** (bitsPerElement(dtype) - 1);
    const wanted = cases.map(({ bits }) => bits);
    expect([
      ...fromFloat32(
        dtype,
        cases.map(({ value }) => value),
      ),
    ]).toEqual(wanted);
    expect([
      ...fromFloat32(
        dtype,
        cases.map(({ value }) => -value),
      ),
    ]).toEqual(wanted.map((bits) => bits + signBit));
  });

  test('overflow', () => {
    const overflow = toFloat32(dtype, fromFloat32(dtype, [1e39, -1e39, Infinity, NaN]));
    if (formats[dtype].ieee) expect([...overflow]).toEqual([Infinity, -Infinity, Infinity, NaN]);
    else expect([...overflow]).toEqual([NaN, NaN, NaN, NaN]);
  });
});

test('f8e4m3fn: 464 is the tie between 448 and a value that does not exist', () => {
  expect([463.9, 464, 464.1].map((value) => toFloat32('f8e4m3fn', fromFloat32('f8e4m3fn', [value]))[0])).toEqual([
    448,
    448,
    NaN,
  ]);
});

test('f32 passes through, integers and bool convert', () => {
  fc.assert(
    fc.property(fc.float32Array({ noNaN: true }), (values) => {
      expect(fromFloat32('f32', values)).toEqual(values);
    }),
  );
  expect([...fromFloat32('u8', [0, 255, 256, -1])]).toEqual([0, 255, 0, 255]);
  expect([...fromFloat32('i32', [-1, 2 ** 31])]).toEqual([-1, -(2 ** 31)]);
  expect([...fromFloat32('bool', [0, 0.5, -3])]).toEqual([0, 1, 1]);
  expect([...toFloat32('u8', Uint8Array.of(7, 255))]).toEqual([7, 255]);
});

test('bytes are viewed at any offset', () => {
  const bytes = new Uint8Array(13);
  new DataView(bytes.buffer).setFloat32(5, 1.5, true);
  expect(viewBytes('f32', bytes.subarray(5, 9))[0]).toBe(1.5);
  expect(viewBytes('f32', bytes.subarray(0, 8)).buffer).toBe(bytes.buffer);
});

function fromBits(dtype: Narrow, bits: readonly number[]) {
  const out = hostArray(dtype, bits.length);
  out.set(bits);
  return out;
}
