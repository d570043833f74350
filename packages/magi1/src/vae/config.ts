// The `ddconfig` of a ViTVAE config.json, or what a port made of it.
import { Magi1Error } from '@magi1/tensor';
import { originalVaeConfig } from '../layouts/port-config.ts';

/** Fields as in the checkpoint; defaults of absent ones are the original's. */
export interface VaeConfig {
  readonly video_size: number;
  readonly video_length: number;
  readonly patch_size: number;
  readonly patch_length: number;
  readonly embed_dim: number;
  readonly depth: number;
  readonly num_heads: number;
  readonly mlp_ratio: number;
  readonly z_chans: number;
  readonly in_chans: number;
  readonly double_z: boolean;
  readonly qkv_bias: boolean;
  readonly ln_in_attn: boolean;
  readonly with_cls_token: boolean;
  readonly norm_code: boolean;
  readonly use_final_proj: boolean;
  readonly conv_last_layer: boolean;
}

/** The VAE of the published models. Shipped as f32. */
export const PUBLISHED_VAE: VaeConfig = {
  video_size: 256,
  video_length: 16,
  patch_size: 8,
  patch_length: 4,
  embed_dim: 1024,
  depth: 24,
  num_heads: 16,
  mlp_ratio: 4,
  z_chans: 16,
  in_chans: 3,
  double_z: true,
  qkv_bias: true,
  ln_in_attn: true,
  with_cls_token: true,
  norm_code: false,
  use_final_proj: false,
  conv_last_layer: true,
};

/** Reads and checks a ViTVAE config.json; `source` names the file in errors. */
export function parseVaeConfig(json: unknown, source: string): VaeConfig {
  const root = originalVaeConfig(json) as { _class_name?: unknown; ddconfig?: unknown } | null;
  if (root?._class_name !== 'ViTVAE' || typeof root.ddconfig !== 'object' || root.ddconfig === null) {
    throw new Magi1Error(
      `${source}: expected a ViTVAE config with a ddconfig, got _class_name ${JSON.stringify(root?._class_name)}`,
    );
  }
  const fields = root.ddconfig as Readonly<Record<string, unknown>>;
  /** Bounds are far beyond any model: a list of weights is made of these before a file can contradict them. */
  const positive = (name: string, fallback?: number, integer = true, most = 1 << 16): number => {
    const value = fields[name] ?? fallback;
    if (typeof value !== 'number' || !(value > 0) || value > most || (integer && !Number.isInteger(value))) {
      throw new Magi1Error(
        `${source}: ddconfig.${name} must be a positive number up to ${most}, got ${JSON.stringify(value)}`,
      );
    }
    return value;
  };
  const flag = (name: string, fallback: boolean): boolean => {
    const value = fields[name] ?? fallback;
    if (typeof value !== 'boolean') throw new Magi1Error(`${source}: ddconfig.${name} must be true or false`);
    return value;
  };
  const config: VaeConfig = {
    video_size: positive('video_size'),
    video_length: positive('video_length'),
    patch_size: positive('patch_size'),
    patch_length: positive('patch_length'),
    embed_dim: positive('embed_dim'),
    depth: positive('depth', undefined, true, 512),
    num_heads: positive('num_heads'),
    mlp_ratio: positive('mlp_ratio', 4, false),
    z_chans: positive('z_chans'),
    in_chans: positive('in_chans', 3),
    double_z: flag('double_z', true),
    qkv_bias: flag('qkv_bias', false),
    ln_in_attn: flag('ln_in_attn', false),
    with_cls_token: flag('with_cls_token', true),
    norm_code: flag('norm_code', false),
    use_final_proj: flag('use_final_proj', false),
    conv_last_layer: flag('conv_last_layer', false),
  };
  const problems = [
    !config.double_z && 'double_z must be true',
    !config.conv_last_layer && 'conv_last_layer must be true',
    config.in_chans !== 3 && 'in_chans must be 3',
    config.embed_dim % config.num_heads !== 0 && 'embed_dim must be divisible by num_heads',
    config.video_size % config.patch_size !== 0 && 'video_size must be divisible by patch_size',
    config.video_length % config.patch_length !== 0 && 'video_length must be divisible by patch_length',
    unpatchedChannels(config) % 1 !== 0 && 'embed_dim must be divisible by the volume of a patch',
  ].filter((problem) => problem !== false);
  if (problems.length > 0) throw new Magi1Error(`${source}: ddconfig is not supported: ${problems.join('; ')}`);
  return config;
}

/** Channels per pixel in front of the last convolution. With use_final_proj they are 4, otherwise what the width gives. */
export function unpatchedChannels({ use_final_proj, embed_dim, patch_length, patch_size }: VaeConfig): number {
  return use_final_proj ? 4 : embed_dim / (patch_length * patch_size * patch_size);
}

/** Patches of the native grid along time, height, width. */
export function nativeGrid(config: VaeConfig): [number, number, number] {
  const side = config.video_size / config.patch_size;
  return [config.video_length / config.patch_length, side, side];
}
