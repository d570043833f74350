// ViTVAE: video <-> latents, both ways through a plain vision transformer over space-time patches.
import { concat, conv3d, layerNorm, linear, narrow, patchify, permute, rmsNorm, unpatchify } from '@magi1/kernels';
import { Magi1Error, describeSpec, scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { runStage } from '../run-options.ts';
import type { RunOptions } from '../run-options.ts';
import type { Weights } from '../weights.ts';
import { unpatchedChannels } from './config.ts';
import type { VaeConfig } from './config.ts';
import { VaeTransformer } from './transformer.ts';

const NORM_EPS = 1e-5;
/** A single frame is shown this many times to the encoder. */
const IMAGE_REPEAT = 4;

export class ViTVae {
  readonly config: VaeConfig;
  readonly encoder: VaeTransformer;
  readonly decoder: VaeTransformer;
  readonly #weights: Weights;

  constructor(config: VaeConfig, weights: Weights) {
    this.config = config;
    this.#weights = weights;
    this.encoder = new VaeTransformer(config, weights.at('encoder'));
    this.decoder = new VaeTransformer(config, weights.at('decoder'));
  }

  /**
   * x f32 [B, 3, T, H, W] in [-1, 1] -> moments [B, 2 z, t, h, w]: mean channels, then log-variance as the network
   * gives it. Pixels that fill no patch are dropped. One frame is repeated and only its first latent kept.
   */
  async encodeMoments(x: Tensor, options: RunOptions = {}): Promise<Tensor> {
    const { patch_length, patch_size, embed_dim, z_chans } = this.config;
    if (x.rank !== 5 || x.shape[1] !== 3)
      throw new Magi1Error(`ViTVAE: expected video f32[B,3,T,H,W], got ${describeSpec(x)}`);
    const single = x.shape[2] === 1;
    const [batch, , frames, height, width] = x.shape as [number, number, number, number, number];
    const patch = [patch_length, patch_size, patch_size] as const;
    const grid = [
      Math.floor((single ? IMAGE_REPEAT : frames) / patch_length),
      Math.floor(height / patch_size),
      Math.floor(width / patch_size),
    ] as const;
    if (grid.some((extent) => extent < 1)) {
      throw new Magi1Error(`ViTVAE: ${describeSpec(x)} is smaller than one patch of ${patch.join('x')}`);
    }
    const { weight, bias } = this.#pair('encoder.patch_embed.proj');
    const patches = scope(() => {
      const video = single
        ? concat(
            Array.from({ length: IMAGE_REPEAT }, () => x),
            2,
          )
        : x;
      return linear(patchify(video, { patch }), weight.reshape([embed_dim, -1]), { bias });
    });
    options.tap?.('patch_embed', patches);
    const tokens = await this.encoder.forward(patches, { batch, grid }, options);
    return runStage(
      tokens,
      (features) => {
        const last = this.#pair('encoder.last_layer');
        const moments = normCode(linear(features, last.weight, { bias: last.bias }), this.config);
        const latents = permute(moments.reshape([batch, ...grid, 2 * z_chans]), [0, 4, 1, 2, 3]);
        return single ? narrow(latents, 2, 0, 1) : latents;
      },
      options,
    );
  }

  /** The mode of the posterior: the mean channels [B, z, t, h, w]. */
  async encode(x: Tensor, options: RunOptions = {}): Promise<Tensor> {
    const moments = await this.encodeMoments(x, options);
    return runStage(moments, (m) => narrow(m, 1, 0, this.config.z_chans), options);
  }

  /** z f32 [B, z, t, h, w] -> video [B, 3, t*pt, h*p, w*p], not clamped. One latent frame gives one frame. */
  async decode(z: Tensor, options: RunOptions = {}): Promise<Tensor> {
    const { z_chans, patch_length, patch_size } = this.config;
    if (z.rank !== 5 || z.shape[1] !== z_chans) {
      throw new Magi1Error(`ViTVAE: expected latents f32[B,${z_chans},t,h,w], got ${describeSpec(z)}`);
    }
    const [batch, , ...rest] = z.shape as [number, number, number, number, number];
    const grid = rest;
    const projected = scope(() => {
      const { weight, bias } = this.#pair('decoder.proj_in');
      return linear(permute(z, [0, 2, 3, 4, 1]).reshape([-1, z_chans]), weight, { bias });
    });
    options.tap?.('proj_in', projected);
    let tokens = await this.decoder.forward(projected, { batch, grid }, options);
    if (this.config.use_final_proj) tokens = await this.#finalProjection(tokens, options);
    return runStage(
      tokens,
      (features) => {
        const patch = [patch_length, patch_size, patch_size] as const;
        const video = unpatchify(features, { batch, grid, patch, channels: unpatchedChannels(this.config) });
        const { weight, bias } = this.#pair('decoder.last_layer');
        const frames = conv3d(video, weight, { bias, padding: [1, 1, 1] });
        return grid[0] === 1 ? narrow(frames, 2, 0, 1) : frames;
      },
      options,
    );
  }

  dispose(): void {
    this.#weights.dispose();
  }

  async #finalProjection(tokens: Tensor, options: RunOptions): Promise<Tensor> {
    const projection = this.#pair('decoder.final_proj');
    const projected = await runStage(tokens, (x) => linear(x, projection.weight, { bias: projection.bias }), options);
    options.tap?.('final_proj', projected);
    const norm = this.#pair('decoder.final_norm');
    const normed = await runStage(projected, (x) => layerNorm(x, { ...norm, eps: NORM_EPS }), options);
    options.tap?.('final_norm', normed);
    return normed;
  }

  #pair(name: string): { weight: Tensor; bias: Tensor } {
    const weights = this.#weights.at(name);
    return { weight: weights.get('weight'), bias: weights.get('bias') };
  }
}

/** norm_code: rows divided by their L2 norm, which is an RMS norm scaled by 1/sqrt(channels). */
function normCode(rows: Tensor, config: VaeConfig): Tensor {
  if (!config.norm_code) return rows;
  const channels = rows.shape.at(-1)!;
  const scale = rows.device.tensor(new Float32Array(channels).fill(1 / Math.sqrt(channels)), [channels], 'f32');
  return rmsNorm(rows, scale, { eps: 0 });
}
