// Loads a T5 folder: config and encoder weights.
import type { Device } from '@magi1/tensor';
import { openWeights, readJson } from '../checkpoint.ts';
import type { CheckedCheckpoint, LoadOptions } from '../checkpoint.ts';
import { parseT5Config } from './config.ts';
import type { T5Config } from './config.ts';
import { T5Encoder, t5WeightSpecs } from './encoder.ts';

/**
 * Names in T5 files -> ours. The embedding is tied: files hold `shared.weight`, `encoder.embed_tokens.weight` or both
 * for the same storage. A whole T5 model's decoder and head are left out.
 */
function modelName(name: string, all: ReadonlySet<string>): string | undefined {
  if (name.startsWith('decoder.') || name.startsWith('lm_head.')) return undefined;
  if (name === 'encoder.embed_tokens.weight') return all.has('shared.weight') ? undefined : 'shared.weight';
  return name;
}

export interface CheckedT5 {
  readonly config: T5Config;
  readonly checkpoint: CheckedCheckpoint;
}

/** Opens and checks the encoder in `folder`; nothing is read yet but its config and tables of contents. */
export async function openT5(folder: string, options: LoadOptions = {}): Promise<CheckedT5> {
  const config = parseT5Config(await readJson(`${folder}/config.json`), `${folder}/config.json`);
  const checkpoint = await openWeights(folder, t5WeightSpecs(config), { ...options, rename: modelName });
  return { config, checkpoint };
}

export async function loadT5(folder: string, device: Device, options: LoadOptions = {}): Promise<T5Encoder> {
  const { config, checkpoint } = await openT5(folder, options);
  try {
    return new T5Encoder(config, await checkpoint.load(device));
  } finally {
    await checkpoint.close();
  }
}
