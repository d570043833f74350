// ViTVAE: video <-> latents, both ways through a plain vision transformer over space-time patches.
import { narrow, patchify, permute, rmsNorm, unpatchify } from '@magi1/kernels';
import { Magi1Error, describeSpec, scope } from '@magi1/tensor';
import type { Tensor } from '@magi1/tensor';
import { VAE_LAYOUTS, layoutNames } from '../layouts/index.ts';
import { Conv3d, LayerNorm, Linear, Module, runStage } from '../nn/index.ts';
import type { NetworkDefinition, Params, RunOptions } from '../nn/index.ts';
import { unpatchedChannels } from './config.ts';
import type { VaeConfig } from './config.ts';
import { NORM, VaeTransformer, repeated } from './transformer.ts';

/** A single frame is shown this many times to the encoder. */
const IMAGE_REPEAT = 4;

/** Few weights, at either end of the network: docs/quantization.md has the errors. */
const PRECISE = { precise: true } as const;

export class ViTVae extends Module {
  readonly config: VaeConfig;
  readonly params: Params;
  readonly encoder: Encoder;
  readonly decoder: Decoder;

  constructor(p: Params, config: VaeConfig) {
    super(p);
    this.config = config;
    this.params = p;
    this.encoder = new Encoder(p.at('encoder'), config);
    this.decoder = new Decoder(p.at('decoder'), config);
  }

  /**
   * x f32 [B, 3, T, H, W] in [-1, 1] -> moments [B, 2 z, t, h, w]: mean channels, then log-variance as the network
   * gives it. Pixels that fill no patch are dropped. One frame is repeated and only its first latent kept.
   */
  async encodeMoments(x: Tensor, options: RunOptions = {}): Promise<Tensor> {
    const { patch_length, patch_size, z_chans } = this.config;
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
    const { encoder } = this;
    const patches = scope(() =>
      encoder.patch_embed.forward(patchify(repeated(x, single ? IMAGE_REPEAT : 1, 2), { patch })),
    );
    const tokens = await encoder.forward(patches, { batch, grid }, options);
    return runStage(
      tokens,
      (features) => {
        const moments = normCode(encoder.last_layer.forward(features), this.config);
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
    const [batch, , ...grid] = z.shape as [number, number, number, number, number];
    const { decoder } = this;
    const projected = scope(() => decoder.proj_in.forward(permute(z, [0, 2, 3, 4, 1]).reshape([-1, z_chans])));
    let tokens = await decoder.forward(projected, { batch, grid }, options);
    for (const layer of [decoder.final_proj, decoder.final_norm])
      if (layer !== undefined) tokens = await runStage(tokens, (x) => layer.forward(x), options);
    return runStage(
      tokens,
      (features) => {
        const patch = [patch_length, patch_size, patch_size] as const;
        const video = unpatchify(features, { batch, grid, patch, channels: unpatchedChannels(this.config) });
        const frames = decoder.last_layer.forward(video);
        return grid[0] === 1 ? narrow(frames, 2, 0, 1) : frames;
      },
      options,
    );
  }

  dispose(): void {
    this.params.dispose();
  }
}

class Encoder extends VaeTransformer {
  /** A convolution over whole patches. */
  readonly patch_embed: Linear;
  readonly last_layer: Linear;

  constructor(p: Params, config: VaeConfig) {
    super(p, config);
    const { embed_dim, z_chans, patch_length, patch_size } = config;
    this.patch_embed = Linear.at(
      p.at('patch_embed.proj'),
      embed_dim,
      [3, patch_length, patch_size, patch_size],
      PRECISE,
    );
    this.last_layer = Linear.at(p.at('last_layer'), 2 * z_chans, embed_dim, PRECISE);
  }
}

class Decoder extends VaeTransformer {
  readonly proj_in: Linear;
  readonly final_proj: Linear | undefined;
  readonly final_norm: LayerNorm | undefined;
  readonly last_layer: Conv3d;

  constructor(p: Params, config: VaeConfig) {
    super(p, config);
    const { embed_dim, z_chans, patch_length, patch_size } = config;
    const channels = unpatchedChannels(config);
    this.proj_in = Linear.at(p.at('proj_in'), embed_dim, z_chans, PRECISE);
    if (config.use_final_proj) {
      const features = channels * patch_length * patch_size * patch_size;
      this.final_proj = Linear.at(p.at('final_proj'), features, embed_dim, PRECISE);
      this.final_norm = new LayerNorm(p.at('final_norm'), features, NORM);
    }
    this.last_layer = new Conv3d(p.at('last_layer'), 3, channels);
  }
}

/** norm_code: rows divided by their L2 norm, which is an RMS norm scaled by 1/sqrt(channels). */
function normCode(rows: Tensor, config: VaeConfig): Tensor {
  if (!config.norm_code) return rows;
  const channels = rows.shape.at(-1)!;
  const scale = rows.device.tensor(new Float32Array(channels).fill(1 / Math.sqrt(channels)), [channels], 'f32');
  return rmsNorm(rows, scale, { eps: 0 });
}

/** The VAE of a file in any known layout. */
export const vaeNetwork = (config: VaeConfig): NetworkDefinition<ViTVae> => ({
  build: (p) => new ViTVae(p, config),
  names: (specs) => layoutNames(VAE_LAYOUTS, specs),
  blocks: ['encoder.blocks', 'decoder.blocks'],
});
