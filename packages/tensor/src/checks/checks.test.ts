// The checks themselves: a sound op passes, and each way of being wrong is found and named.
import { describe, expect, test } from 'vitest';
import { defineOp } from '../op.ts';
import type { AnyOp, OpTypes, WasmOf } from '../op.ts';
import type { Tensor } from '../tensor.ts';
import { F32x4, wasmKernel } from '../wasm/emitter.ts';
import { checkOp } from './index.ts';

type Double = OpTypes<{ x: Tensor }>;

/** y = 2 x, by vectors of four; `vectors` says how many of them are written. */
const doubling = (factor: number, added: number, vectors: (whole: number) => number): WasmOf<Double> => {
  const kernel = wasmKernel({
    name: `double${factor}.${added}`,
    args: { x: 'ptr', y: 'ptr' },
    body(k, { begin, end, x, y }) {
      k.forRange(begin, end, 1, (i) => {
        const at = k.let(i.shl(4));
        const value = k.let(x.add(at).loadF32x4());
        const kept = added === 0 ? value : value.pmax(F32x4.of(added));
        k.store(y.add(at), kept.mul(F32x4.of(factor)));
      });
    },
  });
  return ({ inputs: { x }, y }) => [
    { kernel, variant: {}, args: { x, y }, items: vectors(Math.ceil(y.size / 4)), itemCost: 4 },
  ];
};

const op = (wasm: WasmOf<Double> | undefined): AnyOp =>
  defineOp<Double>({
    name: 'double',
    infer: ({ x }) => x,
    cost: () => ({ flops: 0, bytes: 0 }),
    reference({ inputs: { x }, y }) {
      y.data.set(x.data.map((value) => 2 * value));
    },
    ...(wasm === undefined ? {} : { wasm }),
    randomCase: (random) => ({
      name: 'random',
      inputs: { x: { shape: [4 * (1 + random(9))], dtype: 'f32' } },
      params: {},
    }),
    cases: [{ name: 'one', inputs: { x: { shape: [8], dtype: 'f32' } }, params: {} }],
  });

const DEVICES = [{ backend: 'wasm', threads: 1 }] as const;

describe('checkOp', () => {
  test('counts what passes', async () => {
    expect(await checkOp(op(doubling(2, 0, (n) => n)), DEVICES)).toBe(3);
  });

  test('names wrong values with device, case, place and seed', async () => {
    const wrong = checkOp(op(doubling(3, 0, (n) => n)), DEVICES, { seed: 7 });
    await expect(wrong).rejects.toThrow(/^2 of 3 checks failed:\nWebAssembly.*: double one: y\[\d\] is .*, must be /);
    await expect(wrong).rejects.toThrow(/double random cases: .*; seed 7, case 0: \{"inputs":\{"x":\{"shape":\[4\]/);
  });

  test('finds elements that are not written', async () => {
    const missing = checkOp(op(doubling(2, 0, (n) => n - 1)), DEVICES);
    await expect(missing).rejects.toThrow(/double one: y\[4\] is NaN, must be -?\d/);
  });

  test('finds what is written behind the end', async () => {
    await expect(checkOp(op(doubling(2, 0, (n) => n + 1)), DEVICES)).rejects.toThrow(/was overrun/);
  });

  test('finds infinities that are swallowed', async () => {
    const swallowing = checkOp(op(doubling(2, -9, (n) => n)), DEVICES);
    await expect(swallowing).rejects.toThrow(
      /^1 of 3 .*\n.*double NaN and infinities: one, .* at x\[\d\]: .*is -18, must be -Infinity/,
    );
  });

  test('asks for a version for the device', async () => {
    await expect(checkOp(op(undefined), DEVICES)).rejects.toThrow(
      /1 of 1 checks failed:\n.*double: has no wasm version/,
    );
  });
});
