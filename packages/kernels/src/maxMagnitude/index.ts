// The largest magnitude in a tensor, by bits: finds NaN and infinities on every device, whatever its arithmetic does to them.
import { defineOp, runOp } from '@magi1/tensor';
import type { CaseOf, Shape, Tensor } from '@magi1/tensor';
import { MAGNITUDE_BITS, STRETCH, contract } from './contract.ts';
import type { MaxMagnitude } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

const values = (name: string, shape: Shape, given: readonly number[]) =>
  ({
    name,
    inputs: { x: { shape, dtype: 'f32', fill: { kind: 'values', values: given } } },
    params: {},
  }) satisfies CaseOf<MaxMagnitude>;
const normal = (name: string, shape: Shape, scale: number, benchmarkOnly = false) =>
  ({
    name,
    inputs: { x: { shape, dtype: 'f32', fill: { kind: 'normal', scale } } },
    params: {},
    benchmarkOnly,
  }) satisfies CaseOf<MaxMagnitude>;

const one = (special: number, at: number, length: number): number[] =>
  Array.from({ length }, (_, i) => (i === at ? special : i - length / 2));

export const maxMagnitudeOp = defineOp<MaxMagnitude>({
  ...contract,
  reference({ inputs: { x }, y }) {
    const bits = new Int32Array(Float32Array.from(x.data).buffer);
    bits.forEach((word, i) => {
      const part = Math.floor(i / STRETCH);
      y.data[part] = Math.max(y.data[part]!, word & MAGNITUDE_BITS);
    });
  },
  webgpu,
  wasm,
  randomCase: (random) => normal('random', [1 + random(3), 1 + random(700)], 10 ** (random(61) - 30)),
  cases: [
    values('one', [1], [-3]),
    values('zero', [2], [-0, 0]),
    values('nan', [3, 5], one(NaN, 14, 15)),
    values('nanAboveInfinity', [4], [Infinity, NaN, -Infinity, 1]),
    values('infinity', [1100], one(-Infinity, 1099, 1100)),
    values('subnormal', [3], [1e-45, -1e-40, 0]),
    normal('wholeStretches', [4, 512], 1),
    normal('odd', [7, 301], 1e30),
    normal('manyStretches', [3, 12289], 1),
    normal('latents.720p', [1, 16, 6, 90, 160], 1, true),
  ],
});

/** Largest magnitude of each stretch of 512 elements of x, f32 of any shape: their bits, i32; see `magnitudeOf`. */
export const maxMagnitude = (x: Tensor): Tensor<'i32'> => runOp(maxMagnitudeOp, { x }, {}) as Tensor<'i32'>;

/** The largest magnitude that the bits of `maxMagnitude` stand for: NaN where one of them is a NaN, or Infinity. */
export function magnitudeOf(bits: Int32Array): number {
  return new Float32Array(Int32Array.of(bits.reduce((most, word) => Math.max(most, word), 0)).buffer)[0]!;
}
