// The narrow floats on lanes against the host codecs: every pattern decoded, all binades encoded.
import { Device, bytesOf, defineOp, elementCount, runOp, wasmKernel } from '@magi1/tensor';
import type { DType, FloatDType, OpTypes, Tensor } from '@magi1/tensor';
import { expect, test } from 'vitest';
import { loadFloats, storeFloats } from './floats.ts';

const kernel = wasmKernel({
  name: 'test.convert',
  args: { x: 'ptr', y: 'ptr', xBytes: 'i32', yBytes: 'i32' },
  body(k, { begin, end, x, y, xBytes, yBytes }, variant: { readonly from: FloatDType; readonly to: FloatDType }) {
    k.forRange(begin, end, 1, (i) => {
      storeFloats(k, variant.to, k.let(y.add(i.mul(yBytes))), k.let(loadFloats(k, variant.from, x.add(i.mul(xBytes)))));
    });
  },
});
const convert = defineOp<OpTypes<{ x: Tensor }, { to: FloatDType }>>({
  name: 'convert',
  infer: ({ x }, { to }) => ({ shape: x.shape, dtype: to }),
  cost: () => ({ flops: 0, bytes: 0 }),
  reference: ({ inputs: { x }, y }) => x.data.forEach((value, i) => (y.data[i] = value)),
  wasm: ({ inputs: { x }, y, params: { to } }) => [
    {
      kernel,
      variant: { from: x.dtype, to },
      args: { x, y, xBytes: bytesOf(x.dtype, 4), yBytes: bytesOf(to, 4) },
      items: elementCount(x.shape) / 4,
      itemCost: 40,
    },
  ],
  cases: [],
});

async function both(bits: Float32Array | Uint16Array | Uint8Array, from: DType, to: FloatDType) {
  const results = [];
  for (const backend of ['wasm', 'reference'] as const) {
    await using device = await Device.open({ backend });
    const x = device.tensor(bits as Float32Array, [bits.length], from as 'f32');
    const y = runOp(convert, { x }, { to });
    results.push(await y.read());
  }
  return results as [Float32Array | Uint16Array | Uint8Array, Float32Array | Uint16Array | Uint8Array];
}

test.each(['bf16', 'f16', 'f8e4m3fn'] as const)('decodes every %s exactly', async (dtype) => {
  const bits =
    dtype === 'f8e4m3fn'
      ? Uint8Array.from({ length: 256 }, (_, i) => i)
      : Uint16Array.from({ length: 65536 }, (_, i) => i);
  const [wasm, reference] = await both(bits, dtype, 'f32');
  bits.forEach((pattern, i) => {
    if (!Object.is(wasm[i], reference[i]))
      expect({ pattern, value: wasm[i] }).toEqual({ pattern, value: reference[i] });
  });
});

const isNaN16 = {
  bf16: (b: number) => (b & 0x7fff) > 0x7f80,
  f16: (b: number) => (b & 0x7fff) > 0x7c00,
  f8e4m3fn: (b: number) => (b & 0x7f) === 0x7f,
};

test.each(['bf16', 'f16', 'f8e4m3fn'] as const)('encodes %s to nearest even', async (dtype) => {
  // All binades with random fractions, and with the fractions around ties of each format.
  const patterns: number[] = [0, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x7f800001];
  let seed = 1;
  for (let exponent = 0; exponent < 255; exponent++) {
    for (let i = 0; i < 300; i++) {
      seed = (Math.imul(seed, 1664525) + 1013904223) >>> 0;
      const fraction =
        i % 3 === 0
          ? seed >>> 9
          : ((seed >>> 28) << 19) + (i % 3 === 1 ? 0x1000 : 0x80000) * (i % 2) + ((seed >>> 9) % 3) - 1;
      patterns.push((((seed & 1) << 31) | (exponent << 23) | (fraction & 0x7fffff)) >>> 0);
    }
  }
  // Ties of subnormal and normal results.
  for (const unit of [2 ** -24, 2 ** -9]) {
    for (let n = 0; n < 64; n++) patterns.push(new Uint32Array(Float32Array.of((n / 2) * unit).buffer)[0]!);
  }
  while (patterns.length % 4 !== 0) patterns.push(0);
  const inputs = new Float32Array(Uint32Array.from(patterns).buffer);
  const [wasm, reference] = await both(inputs, 'f32', dtype);
  inputs.forEach((value, i) => {
    const [got, wanted] = [wasm[i]!, reference[i]!];
    if (got !== wanted && !(isNaN16[dtype](got) && isNaN16[dtype](wanted))) {
      expect({ value, bits: got }).toEqual({ value, bits: wanted });
    }
  });
});
