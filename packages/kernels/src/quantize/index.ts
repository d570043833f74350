// Quantisation of activations to f8e4m3fn: x / scale, limited to the format's range, rounded to bf16 and then to 8 bits.
// Both roundings decide bytes, and so does the last bit of the quotient: every device must divide exactly.
import { defineOp, fromFloat32, runOp, toFloat32 } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { F8_MAX, contract } from './contract.ts';
import type { Quantize } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const quantizeOp = defineOp<Quantize>({
  ...contract,
  reference({ inputs: { x, scale }, y }) {
    const limited = Float32Array.from(x.data, (value, i) => {
      const quotient = Math.fround(value / scale.data[i % scale.data.length]!);
      return Math.min(Math.max(quotient, -F8_MAX), F8_MAX);
    });
    y.data.set(toFloat32('bf16', fromFloat32('bf16', limited)));
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/**
 * x f32 [..., K] over scale f32 [K] or [1], clamped to +-448, to bf16, to f8e4m3fn [..., K]; nearest even twice. NaN
 * stays NaN.
 */
export const quantize = (x: Tensor, scale: Tensor): Tensor<'f8e4m3fn'> =>
  runOp(quantizeOp, { x, scale }, {}) as Tensor<'f8e4m3fn'>;
