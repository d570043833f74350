// PReLU: negative values are scaled by a slope per feature (He et al. 2015, arXiv:1502.01852).
import { defineOp, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { contract } from './contract.ts';
import type { Prelu } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const preluOp = defineOp<Prelu>({
  ...contract,
  reference({ inputs: { x, slope }, y }) {
    const features = slope.data.length;
    for (let i = 0; i < x.data.length; i++) {
      const value = x.data[i]!;
      y.data[i] = value > 0 ? value : slope.data[i % features]! * value;
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/** x where it is positive, slope[k] * x elsewhere, for x [..., K] and slope [K]; f32. */
export const prelu = (x: Tensor, slope: Tensor): Tensor => runOp(preluOp, { x, slope }, {});
