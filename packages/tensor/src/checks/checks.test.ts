// The checks themselves: a sound op passes, and each way of being wrong is found and named.
import { describe, expect, test } from 'vitest';
import { defineOp } from '../op.ts';
import type { AnyOp, OpTypes, WasmOf } from '../op.ts';
import type { TensorSpec } from '../shape.ts';
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

  const sound = op(doubling(2, 0, (n) => n));
  const x = { shape: [2, 4], dtype: 'f32' as const };
  const rectangle = { name: 'rectangle', inputs: { x }, params: {} };

  test.each<[what: string, changes: object, refusal: RegExp]>([
    ['an op without cases', { cases: [] }, /^double: has no cases, .* nothing would be checked$/],
    ['benchmarks only', { cases: [{ ...rectangle, benchmarkOnly: true }] }, /^double: has no cases/],
    ['cases that are none', { cases: [null] }, /^double: cases: a list of \{ name, inputs, params \} expected$/],
    ['an op without cost', { cost: undefined }, /^double: cost: a function expected, got nothing$/],
    ['nothing inferred', { infer: () => undefined }, /double one: double: what infer gives: .* expected, got nothing/],
    ['a wrong dtype', { infer: () => ({ shape: [8], dtype: 'f4' }) }, /what infer gives: dtype must be one of .* "f4"/],
    [
      'a shape that the case says otherwise',
      { infer: () => ({ shape: [4, 2], dtype: 'f32' }), cases: [{ ...rectangle, y: x }] },
      /double rectangle: double: infer gives f32\[4,2\], the case says f32\[2,4\]/,
    ],
    [
      'an input of another name',
      {
        infer: ({ x }: { x: TensorSpec }) => ({ shape: x.shape, dtype: x.dtype }),
        cases: [{ ...rectangle, inputs: { z: x } }],
      },
      /double rectangle: double: infer failed for a case with inputs z: TypeError: /,
    ],
    [
      'an input that is none',
      { cases: [{ ...rectangle, inputs: { x: 5 } }] },
      /double rectangle: double: input x: \{ shape, dtype \} expected, got 5/,
    ],
    [
      'a cost that is no number',
      { cost: () => ({ flops: NaN, bytes: 1 }) },
      /cost: flops must be a number from 0, got NaN/,
    ],
    ['a negative cost', { cost: () => ({ flops: 1, bytes: -1 }) }, /cost: bytes must be a number from 0, got -1/],
    ['no cost', { cost: () => undefined }, /cost: flops must be a number from 0, got nothing/],
    [
      'a reference that changes its inputs',
      {
        reference({ inputs, y }: { inputs: { x: { data: Float32Array } }; y: { data: Float64Array } }) {
          y.data.set(inputs.x.data.map((value) => 2 * value));
          inputs.x.data.fill(0);
        },
      },
      /double one: double: the reference changed its input x/,
    ],
    [
      'no case that is small enough for NaN',
      { randomCase: undefined, cases: [{ ...rectangle, inputs: { x: { shape: [4100], dtype: 'f32' } } }] },
      /^1 of 2 .*\n.*: no case has inputs of 1 to 4096 elements/,
    ],
  ])('refuses %s', async (_, changes, refusal) => {
    await expect(checkOp({ ...sound, ...changes } as AnyOp, DEVICES)).rejects.toThrow(refusal);
  });

  test('a stated y that is right passes', async () => {
    expect(await checkOp({ ...sound, cases: [{ ...rectangle, y: x }] }, DEVICES)).toBe(3);
  });

  test.each<[given: unknown, refusal: RegExp]>([
    [{}, /^checks: an op, as defineOp gives it, expected, got an object$/],
    [undefined, /^checks: an op, .* got nothing$/],
  ])('refuses %j as an op', async (given, refusal) => {
    await expect(checkOp(given as AnyOp, DEVICES)).rejects.toThrow(refusal);
  });

  test.each([[undefined], [[]], [{ backend: 'wasm' }], [[{ backend: 'reference' }]], [['wasm']], [[{}]]])(
    'refuses %j as devices',
    async (devices) => {
      const message = "checkOp: devices: a list of { backend: 'wasm' } or { backend: 'webgpu' } expected";
      await expect(checkOp(sound, devices as never)).rejects.toThrow(message);
    },
  );

  test.each<[options: unknown, refusal: RegExp]>([
    [[], /^double: checks: an object of options expected, got an array$/],
    [null, /^double: checks: an object of options expected, got null$/],
    [{ rnd: 3 }, /^double: checks: unknown option rnd: there are seed, randomCases, whole$/],
    [{ randomCases: -1 }, /^double: checks: randomCases: a whole number from 0 expected, got -1$/],
    [{ randomCases: 1.5 }, /randomCases: .* got 1.5$/],
    [{ seed: 'x' }, /seed: a whole number expected, got "x"$/],
    [{ whole: 'x' }, /whole: a list of names expected, got "x"$/],
  ])('refuses the options %j', async (options, refusal) => {
    await expect(checkOp(sound, DEVICES, options as never)).rejects.toThrow(refusal);
  });
});
