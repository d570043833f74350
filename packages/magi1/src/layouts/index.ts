// How files spell the networks' weights, in every layout that is known.
export { FileNames, layoutNames } from './layout.ts';
export type { Layout } from './layout.ts';
export { transformerLayouts } from './transformer.ts';
export { VAE_LAYOUTS } from './vae.ts';
