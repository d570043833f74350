// The networks of a model, as `--only` calls them.
export type NetworkName = 'transformer' | 'text' | 'vae';
export const NETWORK_NAMES: readonly NetworkName[] = ['transformer', 'text', 'vae'];
