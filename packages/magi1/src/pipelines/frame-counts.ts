// How many frames a chunk decodes to: the tiled decoder's tiles in time decide, not the plain factor.
import { planTiles, tileExtent } from '../vae/tile-plan.ts';
import { defaultTiles } from '../vae/tiling.ts';

/** Frames that a chunk of `latents` latent frames decodes to: a tile of one latent frame gives a single frame. */
export function decodedFrames(latents: number, fps: number, patchLength: number): number {
  const { t: axis } = planTiles('decode', [latents, 1, 1], defaultTiles(fps), { patchLength, patchSize: 8 });
  return axis.starts.reduce((frames, _, i) => {
    const { length } = tileExtent(axis, i, latents);
    return frames + Math.min(axis.keep, length === 1 ? 1 : length * patchLength);
  }, 0);
}
