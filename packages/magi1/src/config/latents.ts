// What every part must know of latents: their stride in pixels and their channels.
import type { ModelConfig } from './schema.ts';

/** Pixels per latent along a side. */
export const LATENT_STRIDE = 8;

/** Channels of the latents; the transformer of a `half_channel_vae` model sees each one twice. */
export function latentChannels({
  in_channels,
  half_channel_vae,
}: Pick<ModelConfig, 'in_channels' | 'half_channel_vae'>) {
  return half_channel_vae ? in_channels / 2 : in_channels;
}
