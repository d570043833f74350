// Sampling options as the checkpoint's config and the environment give them.
import { LATENT_STRIDE } from '../config/latents.ts';
import type { EngineConfig, ModelConfig, RuntimeConfig } from '../config/schema.ts';
import type { SamplingOptions } from './schedule.ts';
import { RequestError, option, worded } from '../wording.ts';
import { countChunks } from './stages.ts';

export interface SamplingRequest {
  /** New video frames; the config's own by default. */
  readonly numFrames?: number;
  readonly numSteps?: number;
  readonly prefixLatentFrames?: number;
  readonly emptyText?: boolean;
}

/** What a config says about sampling. */
export interface SamplingConfig {
  readonly runtime_config: Pick<
    RuntimeConfig,
    | 'num_frames'
    | 'num_steps'
    | 'window_size'
    | 'chunk_width'
    | 'noise2clean_kvrange'
    | 'clean_chunk_kvrange'
    | 'clean_t'
    | 'cfg_number'
    | 'cfg_t_range'
    | 'prev_chunk_scales'
    | 'text_scales'
    | 'temporal_downsample_factor'
  >;
  readonly engine_config: Pick<EngineConfig, 'shortcut_mode' | 'distill' | 'distill_nearly_clean_chunk_threshold'>;
}

/** Options of a run of this checkpoint; what the request leaves out is taken from the config. */
export function samplingOptions(
  { runtime_config: runtime, engine_config: engine }: SamplingConfig,
  request: SamplingRequest = {},
): SamplingOptions {
  const prefixLatentFrames = request.prefixLatentFrames ?? 0;
  return {
    chunks: countChunks({
      numFrames: request.numFrames ?? runtime.num_frames,
      prefixLatentFrames,
      chunkWidth: runtime.chunk_width,
      temporalDownsample: runtime.temporal_downsample_factor,
    }),
    prefixLatentFrames,
    chunkWidth: runtime.chunk_width,
    numSteps: request.numSteps ?? runtime.num_steps,
    windowSize: runtime.window_size,
    noise2cleanKvRange: runtime.noise2clean_kvrange,
    cleanChunkKvRange: runtime.clean_chunk_kvrange,
    cleanT: runtime.clean_t,
    cfgNumber: runtime.cfg_number,
    distill: engine.distill,
    shortcutMode: engine.shortcut_mode,
    nearlyCleanThreshold: engine.distill_nearly_clean_chunk_threshold,
    guidance: {
      cfgTRange: runtime.cfg_t_range,
      prevChunkScales: runtime.prev_chunk_scales,
      textScales: runtime.text_scales,
    },
    emptyText: request.emptyText ?? false,
  };
}

/**
 * Tokens of one chunk at a size in pixels.
 * @throws Magi1Error unless both sides are multiples of 8 x patch_size (16)
 */
export function tokensPerChunk(
  height: number,
  width: number,
  chunkWidth: number,
  model: Pick<ModelConfig, 'patch_size' | 't_patch_size'>,
): number {
  const side = LATENT_STRIDE * model.patch_size;
  for (const [name, pixels] of [
    ['height', height],
    ['width', width],
  ] as const) {
    if (Number.isInteger(pixels) && pixels > 0 && pixels % side === 0) continue;
    const below = Math.floor(pixels / side) * side;
    const nearest = below > 0 ? `; nearest valid: ${below} and ${below + side}` : `; smallest valid: ${side}`;
    throw new RequestError(
      worded`${option(name)}: a multiple of ${side} expected (${LATENT_STRIDE} pixels per latent, patches of ${model.patch_size}), got ${pixels}${Number.isFinite(pixels) ? nearest : ''}`,
    );
  }
  return (chunkWidth / model.t_patch_size) * (height / side) * (width / side);
}
