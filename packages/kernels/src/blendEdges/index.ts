// Linear cross-fade of a tile's leading edge with the tile before it, along one axis.
import { defineOp, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { cases, randomCase } from './cases.ts';
import { blendExtent, contract } from './contract.ts';
import type { BlendEdges, BlendParams } from './contract.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export const blendOp = defineOp<BlendEdges>({
  ...contract,
  reference({ inputs: { previous, current }, y, params }) {
    const { axis } = params;
    const e = blendExtent(previous, current, params);
    const inner = elementCount(current.shape.slice(axis + 1));
    const [before, length] = [previous.shape[axis]!, current.shape[axis]!];
    for (let i = 0; i < y.data.length; i++) {
      const k = Math.floor(i / inner) % length;
      const row = Math.floor(i / (inner * length));
      const mixed = () =>
        previous.data[(row * before + before - e + k) * inner + (i % inner)]! * (1 - k / e) +
        current.data[i]! * (k / e);
      y.data[i] = k < e ? mixed() : current.data[i]!;
    }
  },
  webgpu,
  wasm,
  cases,
  randomCase,
});

/**
 * `current` with its first e positions along `axis` mixed: previous[-e+k] (1 - k/e) + current[k] k/e, where e is the
 * smallest of both lengths and `extent`. f32, shapes equal but for `axis`.
 */
export const blendEdges = (previous: Tensor, current: Tensor, params: BlendParams): Tensor =>
  runOp(blendOp, { previous, current }, params);
