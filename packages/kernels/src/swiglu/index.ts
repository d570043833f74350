// SwiGLU: silu of the first half of the features times the second half.
import { defineOp, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases } from './cases.ts';
import { contract } from './contract.ts';
import type { Swiglu } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const swigluOp = defineOp<Swiglu>({
  ...contract,
  reference({ inputs: { x }, y }) {
    const features = y.shape.at(-1)!;
    for (let i = 0; i < y.data.length; i++) {
      const gate = i + Math.floor(i / features) * features;
      y.data[i] = (x.data[gate]! / (1 + Math.exp(-x.data[gate]!))) * x.data[gate + features]!;
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
export const swiglu = (x: Tensor): Tensor => runOp(swigluOp, { x }, {});
