// How a forward runs: stage by stage, so that memory is freed, the device works and the caller can cancel.
import { keep, scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import type { Params } from './params.ts';

export interface RunOptions {
  readonly signal?: AbortSignal | undefined;
}

/** A long-lived view of a tensor that its scope is about to free. */
export function keepView(tensor: Tensor): Tensor {
  return keep(tensor.reshape(tensor.shape));
}

/**
 * Runs one stage of a forward: intermediates and `x` are freed, also where it fails; the result stays. Gives the device a
 * chance to work and the caller one to cancel.
 */
export async function runStage(x: Tensor, stage: (x: Tensor) => Tensor, { signal }: RunOptions): Promise<Tensor> {
  const device = x.device;
  let next: Tensor | undefined;
  try {
    next = scope(() => stage(x));
  } finally {
    if (next !== x) x.dispose();
  }
  try {
    await device.tick(signal);
  } catch (error) {
    next.dispose();
    throw error;
  }
  return next;
}

/**
 * Takes x through blocks, stage by stage, each when its weights are on the device. `x` is freed, also where it fails.
 * @param p of the blocks: their paths are its own and their number
 */
export async function runBlocks<Block>(
  p: Params,
  blocks: readonly Block[],
  x: Tensor,
  stage: (block: Block, x: Tensor, index: number) => Tensor,
  options: RunOptions,
): Promise<Tensor> {
  let h = x;
  try {
    const pass = await p.pass(options.signal);
    try {
      for (const [i, block] of blocks.entries()) {
        await pass?.reach(i);
        h = await runStage(h, (before) => stage(block, before, i), options);
      }
      return h;
    } finally {
      await pass?.end();
    }
  } catch (error) {
    h.dispose();
    throw error;
  }
}
