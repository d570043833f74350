// Opens the VAE's weights in any known layout.
import { openWeights } from '../checkpoint.ts';
import type { CheckedCheckpoint, LoadOptions } from '../checkpoint.ts';
import { vaeNames } from '../layouts/index.ts';
import type { VaeConfig } from './config.ts';
import { vaeWeightSpecs } from './weights.ts';

/** Checks names, shapes and dtypes; no weight is read yet. */
export function openVae(path: string, config: VaeConfig, options: LoadOptions = {}): Promise<CheckedCheckpoint> {
  const specs = vaeWeightSpecs(config);
  return openWeights(path, specs, { ...options, ...vaeNames(specs) });
}
