// One network's weights in a folder of its own, checked, with the files open until `close`.
import { openCheckpoint } from '@magi1/loaders';
import type { StreamProgress } from '@magi1/loaders';
import type { DType } from '@magi1/tensor';
import { CheckedWeights } from '../nn/index.ts';
import type { NetworkDefinition } from '../nn/index.ts';

export interface OpenNetwork<Network> {
  readonly weights: CheckedWeights<Network, StreamProgress>;
  readonly close: () => Promise<void>;
}

export async function openNetwork<Network>(
  path: string,
  network: NetworkDefinition<Network>,
  { dtype }: { readonly dtype?: DType | undefined } = {},
): Promise<OpenNetwork<Network>> {
  const checkpoint = await openCheckpoint(path);
  try {
    return { weights: new CheckedWeights(checkpoint, network, dtype), close: () => checkpoint.close() };
  } catch (error) {
    await checkpoint.close();
    throw error;
  }
}
