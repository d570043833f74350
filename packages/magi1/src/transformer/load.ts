// Opens the transformer's weights in any known layout.
import { openWeights } from '../checkpoint.ts';
import type { CheckedCheckpoint, LoadOptions } from '../checkpoint.ts';
import type { EngineConfig, ModelConfig } from '../config/index.ts';
import { transformerNames } from '../layouts/index.ts';
import { ditWeightSpecs } from './weights.ts';

/** Checks names, shapes and dtypes; no weight is read yet. */
export function openTransformer(
  path: string,
  model: ModelConfig,
  engine: Pick<EngineConfig, 'fp8_quant'>,
  options: LoadOptions = {},
): Promise<CheckedCheckpoint> {
  const specs = ditWeightSpecs(model, engine);
  return openWeights(path, specs, { ...options, ...transformerNames(model, specs) });
}
