// Linear cross-fade of a tile's leading edge with the tile before it, along one axis.
import { OpError, defineOp, describeSpec, elementCount, runOp } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { checkDType } from '../support/checks.ts';
import { cases, randomCase } from './cases.ts';
import { blendExtent } from './extent.ts';
import type { BlendParams } from './extent.ts';
import { wasm } from './wasm.ts';
import { webgpu } from './webgpu.ts';

export type { BlendParams } from './extent.ts';

export const blendOp = defineOp<'previous' | 'current', never, BlendParams>({
  name: 'blendEdges',
  infer({ previous, current }, { axis, extent }) {
    checkDType('blendEdges', 'previous', previous, ['f32']);
    checkDType('blendEdges', 'current', current, ['f32']);
    const fits =
      axis < current.shape.length &&
      previous.shape.length === current.shape.length &&
      current.shape.every((dim, a) => a === axis || dim === previous.shape[a]);
    if (!fits || !(extent >= 0)) {
      throw new OpError(
        'blendEdges',
        `${describeSpec(previous)} and ${describeSpec(current)} must match but for axis ${axis}; extent ${extent}`,
      );
    }
    return [{ shape: current.shape, dtype: 'f32' }];
  },
  cost: ({ current }) => ({ flops: 3 * elementCount(current.shape), bytes: 8 * elementCount(current.shape) }),
  reference({ previous, current }, [out], params) {
    const { axis } = params;
    const e = blendExtent(previous, current, params);
    const inner = elementCount(current.shape.slice(axis + 1));
    const [before, length] = [previous.shape[axis]!, current.shape[axis]!];
    for (let i = 0; i < out!.data.length; i++) {
      const k = Math.floor(i / inner) % length;
      const row = Math.floor(i / (inner * length));
      const mixed = () =>
        previous.data[(row * before + before - e + k) * inner + (i % inner)]! * (1 - k / e) +
        current.data[i]! * (k / e);
      out!.data[i] = k < e ? mixed() : current.data[i]!;
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
  runOp(blendOp, { previous, current }, params)[0]!;
