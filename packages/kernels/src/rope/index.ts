// Rotary position embedding in half-split layout.
import { defineOp, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { contract } from './contract.ts';
import type { Rope } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const ropeOp = defineOp<Rope>({
  ...contract,
  reference({ inputs: { x, cos, sin }, y }) {
    const [tokens, heads, features] = x.shape as [number, number, number];
    const columns = cos.shape[1]!;
    for (let row = 0; row < tokens * heads; row++) {
      const start = row * features;
      const angles = Math.floor(row / heads) * columns;
      for (let k = 0; k < features; k++) y.data[start + k] = x.data[start + k]!;
      for (let r = 0; r < columns; r++) {
        const [a, b] = [x.data[start + r]!, x.data[start + columns + r]!];
        const [c, s] = [cos.data[angles + r]!, sin.data[angles + r]!];
        y.data[start + r] = a * c - b * s;
        y.data[start + columns + r] = a * s + b * c;
      }
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/**
 * Turns x [S, H, D] by the angles of its token, all heads alike: with cos and sin [S, R], a = features 0..R-1 and
 * b = R..2R-1 become a cos - b sin and a sin + b cos; features from 2R on stay. f32.
 */
export const rope = (x: Tensor, cos: Tensor, sin: Tensor): Tensor => runOp(ropeOp, { x, cos, sin }, {});
