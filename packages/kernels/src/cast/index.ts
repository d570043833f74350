// Conversion between dtypes: exact when widening, nearest even when narrowing floats.
import { defineOp, runOp } from '@magi1/tensor';
import type { DType, Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { contract } from './contract.ts';
import type { Cast } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const castOp = defineOp<Cast>({
  ...contract,
  reference({ inputs: { x }, y }) {
    y.data.set(x.data);
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/**
 * x of any dtype but q8 and q4 to f32; or f32 to f16, bf16, f8e4m3fn (nearest even; what rounds to more than 448 becomes NaN
 * in f8e4m3fn) or q8 (a scale for each 32 elements; a NaN or an infinity makes all of them NaN).
 */
export const cast = <D extends DType>(x: Tensor, to: D): Tensor<D> => runOp(castOp, { x }, { to }) as Tensor<D>;
