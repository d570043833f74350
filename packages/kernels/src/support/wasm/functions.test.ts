// Accuracy of the lane functions over all magnitudes, with and without fused multiply-add.
import { Device, wasmKernel } from '@magi1/tensor';
import { beforeAll, expect, test } from 'vitest';
import { erf as erf64 } from '../../unary/index.ts';
import { erf, exp, silu, tanh } from './functions.ts';
import type { LaneFunction } from './functions.ts';

// Opening a device turns relaxed SIMD on where the engine hides it behind a flag.
beforeAll(async () => {
  await using device = await Device.open({ backend: 'wasm', threads: 1 });
  expect(device.info.features).toContain('relaxed-simd');
});

function evaluate(f: LaneFunction, inputs: Float32Array, relaxedSimd: boolean): Float32Array {
  const kernel = wasmKernel({
    name: 'test.lanes',
    args: { x: 'ptr', y: 'ptr' },
    body(k, { begin, end, x, y }) {
      k.forRange(begin, end, 16, (at) => {
        k.store(y.add(at), f(k, k.let(x.add(at).loadF32x4())));
      });
    },
  });
  const bytes = inputs.byteLength;
  const memory = new WebAssembly.Memory({ initial: Math.ceil((2 * bytes) / 65536) + 1, maximum: 65536 });
  new Float32Array(memory.buffer).set(inputs);
  const module = new WebAssembly.Module(kernel.build({}, { relaxedSimd, sharedMemory: false }));
  const run = new WebAssembly.Instance(module, { env: { memory } }).exports['run'] as (...args: number[]) => void;
  run(0, bytes, 0, 0, bytes);
  return new Float32Array(memory.buffer, bytes, inputs.length);
}

/** Floats from `low` to `high` by their bits, so that every binade is covered alike; both signs, zeros included. */
function sweep(low: number, high: number, count: number): Float32Array {
  const [from, to] = [low, high].map((v) => new Uint32Array(Float32Array.of(v).buffer)[0]!) as [number, number];
  const patterns = Uint32Array.from({ length: count }, (_, i) => from + Math.floor(((to - from) * i) / (count - 1)));
  const magnitudes = new Float32Array(patterns.buffer);
  const all = new Float32Array(4 * Math.ceil((2 * count + 2) / 4));
  all.set(magnitudes);
  all.set(
    magnitudes.map((v) => -v),
    count,
  );
  all[all.length - 1] = -0;
  return all;
}

const float = new Float32Array(1);
const bits = new Uint32Array(float.buffer);
function ulp(value: number): number {
  float[0] = Math.abs(value);
  const here = float[0];
  bits[0]!++;
  return float[0] - here;
}

interface Row {
  readonly name: string;
  readonly f: LaneFunction;
  readonly exact: (x: number) => number;
  readonly low: number;
  readonly high: number;
  /** Largest error allowed, in units of the last place of the exact result. */
  readonly ulps: number;
}
const rows: Row[] = [
  { name: 'exp', f: exp, exact: Math.exp, low: 1e-10, high: 87, ulps: 2 },
  { name: 'tanh', f: tanh, exact: Math.tanh, low: 1e-30, high: 100, ulps: 2 },
  { name: 'erf', f: erf, exact: erf64, low: 1e-30, high: 100, ulps: 2 },
  { name: 'silu', f: silu, exact: (x) => x / (1 + Math.exp(-x)), low: 1e-30, high: 86, ulps: 3 },
];

test.each(rows.flatMap((row) => [true, false].map((fused) => ({ ...row, fused }))))(
  '$name is within $ulps ulps, fused: $fused',
  ({ f, exact, low, high, ulps, fused }) => {
    const inputs = sweep(low, high, 200_000);
    const outputs = evaluate(f, inputs, fused);
    let worst = { x: 0, got: 0, wanted: 0, error: 0 };
    inputs.forEach((x, i) => {
      const wanted = exact(x);
      const error = Math.abs(outputs[i]! - wanted) / ulp(wanted);
      if (!(error <= worst.error)) worst = { x, got: outputs[i]!, wanted, error };
    });
    expect(worst.error, JSON.stringify(worst)).toBeLessThanOrEqual(ulps);
  },
);

test('extreme arguments', () => {
  const inputs = Float32Array.of(-Infinity, Infinity, NaN, -1e30, 1e30, -100, 100, 0);
  const [e, t, r, s] = [exp, tanh, erf, silu].map((f) => [...evaluate(f, inputs, true)]);
  expect([e![0], e![1], e![3], e![5], e![6]]).toEqual([0, Infinity, 0, 0, Infinity]);
  expect([e![7], t![7], r![7], s![7]]).toEqual([1, 0, 0, 0]);
  for (const saturated of [t!, r!]) {
    expect([0, 1, 3, 4, 5, 6].map((i) => saturated[i])).toEqual([-1, 1, -1, 1, -1, 1]);
  }
  expect([s![0], s![1], s![4], s![6]]).toEqual([NaN, Infinity, Math.fround(1e30), 100]);
  expect(Math.abs(s![5]!)).toBeLessThan(1e-35);
  for (const results of [e, t, r, s]) expect(results![2]).toBeNaN();
});
