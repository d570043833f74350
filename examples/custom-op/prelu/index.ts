// PReLU: negative values are scaled by a slope per feature (He et al. 2015, arXiv:1502.01852).
import { checkDType, checkShapeIs, lastDim } from '@magi1/kernels';
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export type PreluParams = Record<string, never>;

export const preluOp = defineOp<'x' | 'slope', never, PreluParams>({
  name: 'prelu',
  infer({ x, slope }) {
    checkDType('prelu', 'x', x, ['f32']);
    checkDType('prelu', 'slope', slope, ['f32']);
    checkShapeIs('prelu', 'slope', slope, [lastDim('prelu', 'x', x)]);
    return [{ shape: x.shape, dtype: 'f32' }];
  },
  cost: ({ x, slope }) => ({
    flops: 4 * elementCount(x.shape),
    bytes: 8 * elementCount(x.shape) + 4 * elementCount(slope.shape),
  }),
  reference({ x, slope }, [y]) {
    const features = slope.data.length;
    for (let i = 0; i < x.data.length; i++) {
      const value = x.data[i]!;
      y!.data[i] = value > 0 ? value : slope.data[i % features]! * value;
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** x where it is positive, slope[k] * x elsewhere, for x [..., K] and slope [K]; f32. */
export const prelu = (x: Tensor, slope: Tensor): Tensor => runOp(preluOp, { x, slope }, {})[0]!;
