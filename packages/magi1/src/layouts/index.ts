// Where model code gets names from: the options with which `openWeights` reads any known layout.
import type { ModelConfig } from '../config/index.ts';
import type { WeightSpecs } from '../weights.ts';
import { layoutNames } from './layout.ts';
import { transformerLayouts } from './transformer.ts';
import { VAE_LAYOUTS } from './vae.ts';

export const transformerNames = (model: ModelConfig, specs: WeightSpecs) =>
  layoutNames(transformerLayouts(model), specs);

export const vaeNames = (specs: WeightSpecs) => layoutNames(VAE_LAYOUTS, specs);

export { FileNames } from './layout.ts';
export type { Layout } from './layout.ts';
export { transformerLayouts } from './transformer.ts';
export { VAE_LAYOUTS } from './vae.ts';
