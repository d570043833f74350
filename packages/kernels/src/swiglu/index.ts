// SwiGLU: silu of the first half of the features times the second half.
import { OpError, defineOp, describeSpec, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType, lastDim } from '../support/checks.ts';
import { cases } from './cases.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export type SwigluParams = Record<string, never>;

export const swigluOp = defineOp<'x', never, SwigluParams>({
  name: 'swiglu',
  infer({ x }) {
    checkDType('swiglu', 'x', x, ['f32']);
    const features = lastDim('swiglu', 'x', x);
    if (features % 2 !== 0) {
      throw new OpError('swiglu', `x must have an even number of features, got ${describeSpec(x)}`);
    }
    return [{ shape: [...x.shape.slice(0, -1), features / 2], dtype: 'f32' }];
  },
  cost: ({ x }) => ({ flops: 5 * (elementCount(x.shape) / 2), bytes: 6 * elementCount(x.shape) }),
  reference({ x }, [y]) {
    const features = y!.shape.at(-1)!;
    for (let i = 0; i < y!.data.length; i++) {
      const gate = i + Math.floor(i / features) * features;
      y!.data[i] = (x.data[gate]! / (1 + Math.exp(-x.data[gate]!))) * x.data[gate + features]!;
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase: (random) => ({
    name: 'random',
    inputs: { x: { shape: [1 + random(4), 1 + random(5), 2 * (1 + random(70))], dtype: 'f32' } },
    params: {},
  }),
});

/** silu(x[..., :F]) * x[..., F:] for x [..., 2F], f32. */
export const swiglu = (x: Tensor): Tensor => runOp(swigluOp, { x }, {})[0]!;
