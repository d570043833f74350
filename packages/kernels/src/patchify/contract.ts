// The contracts of patchify and unpatchify.
import { describeSpec, elementCount } from '@magi1/tensor';
import type { Check, ContractOf, OpTypes, Tensor } from '@magi1/tensor';

/** Extents in time, height, width. */
export type Patch = readonly [t: number, h: number, w: number];

export interface PatchifyParams {
  readonly patch: Patch;
}

export interface UnpatchifyParams {
  readonly batch: number;
  /** Patches along time, height, width. */
  readonly grid: Patch;
  readonly patch: Patch;
  readonly channels: number;
}

export type Patchify = OpTypes<{ x: Tensor }, PatchifyParams>;
export type Unpatchify = OpTypes<{ tokens: Tensor }, UnpatchifyParams>;

function checkPatch(patch: Patch, check: Check): void {
  if (patch.some((extent) => !Number.isInteger(extent) || extent < 1)) {
    throw check.error(`patch must be three positive integers, got [${patch.join(',')}]`);
  }
}

export const patchifyContract: ContractOf<Patchify> = {
  name: 'patchify',
  infer({ x }, { patch }, check) {
    check.dtype('x', 'f32');
    check.rank('x', 5);
    checkPatch(patch, check);
    const [batch, channels, frames, height, width] = x.shape as [number, number, number, number, number];
    const [pt, ph, pw] = patch;
    const tokens = batch * Math.floor(frames / pt) * Math.floor(height / ph) * Math.floor(width / pw);
    return { shape: [tokens, channels * pt * ph * pw], dtype: 'f32' };
  },
  cost: ({ x }) => ({ flops: 0, bytes: 8 * elementCount(x.shape) }),
};

export const unpatchifyContract: ContractOf<Unpatchify> = {
  name: 'unpatchify',
  infer({ tokens }, { batch, grid, patch, channels }, check) {
    check.dtype('tokens', 'f32');
    checkPatch(patch, check);
    if (batch < 1 || channels < 1 || grid.some((extent) => extent < 1)) {
      throw check.error(`batch, channels and grid must be positive for ${describeSpec(tokens)}`);
    }
    check.shape('tokens', [batch * elementCount(grid), elementCount(patch) * channels]);
    return { shape: [batch, channels, ...grid.map((extent, axis) => extent * patch[axis]!)], dtype: 'f32' };
  },
  cost: ({ tokens }) => ({ flops: 0, bytes: 8 * elementCount(tokens.shape) }),
};
