// Quantisation of activations to f8e4m3fn: x / scale, limited to the format's range, rounded to bf16 and then to 8 bits.
// Both roundings decide bytes, and so does the last bit of the quotient: every device must divide exactly.
import { OpError, defineOp, describeSpec, elementCount, fromFloat32, runOp, toFloat32 } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, lastDim } from '../support/checks.ts';
import { cases, randomCase } from './cases.ts';
import { F8_MAX } from './limit.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export type QuantizeParams = Readonly<Record<string, never>>;

export const quantizeOp = defineOp<'x' | 'scale', never, QuantizeParams>({
  name: 'quantize',
  infer({ x, scale }) {
    checkDType('quantize', 'x', x, ['f32']);
    checkDType('quantize', 'scale', scale, ['f32']);
    const features = lastDim('quantize', 'x', x);
    if (scale.shape.length !== 1 || (scale.shape[0] !== 1 && scale.shape[0] !== features)) {
      throw new OpError('quantize', `scale must be [${features}] or [1], got ${describeSpec(scale)}`);
    }
    return [{ shape: x.shape, dtype: 'f8e4m3fn' }];
  },
  cost({ x, scale }) {
    const [elements, scales] = [elementCount(x.shape), elementCount(scale.shape)];
    return { flops: elements, bytes: 5 * elements + 4 * scales };
  },
  reference({ x, scale }, [y]) {
    const limited = Float32Array.from(x.data, (value, i) => {
      const quotient = Math.fround(value / scale.data[i % scale.data.length]!);
      return Math.min(Math.max(quotient, -F8_MAX), F8_MAX);
    });
    y!.data.set(toFloat32('bf16', fromFloat32('bf16', limited)));
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
  runOp(quantizeOp, { x, scale }, {})[0] as Tensor<'f8e4m3fn'>;
