// Softmax over the last axis.
import { defineOp, runOp } from '@magi1/tensor';
import type { CaseFill, CaseOf, Shape, Tensor } from '@magi1/tensor';
import { contract } from './contract.ts';
import type { Softmax } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

const rows = (name: string, shape: Shape, fill: CaseFill = { kind: 'normal', scale: 3 }, benchmarkOnly = false) =>
  ({ name, inputs: { x: { shape, dtype: 'f32', fill } }, params: {}, benchmarkOnly }) satisfies CaseOf<Softmax>;

export const softmaxOp = defineOp<Softmax>({
  ...contract,
  reference({ inputs: { x }, y }) {
    const features = x.shape.at(-1)!;
    for (let row = 0; row < x.data.length; row += features) {
      let most = -Infinity;
      for (let k = 0; k < features; k++) most = Math.max(most, x.data[row + k]!);
      let sum = 0;
      for (let k = 0; k < features; k++) sum += y.data[row + k] = Math.exp(x.data[row + k]! - most);
      for (let k = 0; k < features; k++) y.data[row + k]! /= sum;
    }
  },
  webgpu,
  wasm,
  randomCase: (random) => rows('random', [1 + random(3), 1 + random(9), 1 + random(300)]),
  cases: [
    rows('odd', [3, 5, 77]),
    rows('one', [1, 1]),
    rows('manyRows', [41, 64]),
    rows('large', [4, 130], { kind: 'normal', scale: 1e4, mean: 1e6 }),
    rows('flat', [3, 1000], { kind: 'normal', scale: 0, mean: -7 }),
    rows('longRow', [2, 12288]),
    rows('square', [1024, 1024], { kind: 'normal' }, true),
  ],
});

/** exp(x) / sum(exp(x)) over the last axis of x [..., K]; f32. */
export const softmax = (x: Tensor): Tensor => runOp(softmaxOp, { x }, {});
