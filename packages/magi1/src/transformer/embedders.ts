// Readings of time and caption.
import { silu } from '@magi1/kernels';
import { scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import type { ModelConfig } from '../config/index.ts';
import { HostValues, Linear, Module } from '../nn/index.ts';
import type { Params } from '../nn/index.ts';
import { TIME_FEATURES, timestepEmbedding } from './timestep-embedding.ts';

/** Few weights, which everything that follows depends on: docs/quantization.md has the errors. */
const PRECISE = { precise: true } as const;

export function conditioningWidth({ hidden_size, cond_hidden_ratio }: ModelConfig): number {
  return Math.trunc(hidden_size * cond_hidden_ratio);
}

export class TimeEmbedder extends Module {
  readonly #device: Device;
  readonly mlp: readonly [Linear, Linear];

  constructor(p: Params, model: ModelConfig) {
    super(p);
    const width = conditioningWidth(model);
    this.#device = p.device;
    this.mlp = [
      Linear.at(p.at('mlp.0'), width, TIME_FEATURES, PRECISE),
      Linear.at(p.at('mlp.2'), width, width, PRECISE),
    ];
  }

  /** [times, conditioning width]. */
  forward(times: readonly number[]): Tensor {
    const features = this.#device.tensor(timestepEmbedding(times), [times.length, TIME_FEATURES], 'f32');
    return this.mlp[1].forward(silu(this.mlp[0].forward(features)));
  }
}

/** Rows of the null caption that condition adaLN. */
const ADALN_ROW = { caption: -2, null: -1 } as const;

export class CaptionEmbedder extends Module {
  /** The learned null caption [caption_max_length, caption_channels]. */
  readonly null_caption_embedding: Tensor;
  readonly nullCaption: HostValues;
  readonly y_proj_xattn: Linear;
  readonly y_proj_adaln: Linear;

  constructor(p: Params, model: ModelConfig) {
    super(p);
    const { hidden_size, xattn_cond_hidden_ratio, caption_max_length, caption_channels } = model;
    this.null_caption_embedding = p.vector('null_caption_embedding', [caption_max_length, caption_channels]);
    this.nullCaption = new HostValues(this.null_caption_embedding);
    const width = Math.trunc(hidden_size * xattn_cond_hidden_ratio);
    this.y_proj_xattn = Linear.at(p.at('y_proj_xattn.0'), width, caption_channels, PRECISE);
    this.y_proj_adaln = Linear.at(p.at('y_proj_adaln.0'), conditioningWidth(model), caption_channels, PRECISE);
  }

  /** Caption features [rows, caption_channels] -> the reading of cross attention. */
  forward(features: Tensor): Tensor {
    return scope(() => silu(this.y_proj_xattn.forward(features)));
  }

  /** The adaLN reading of a row of the null caption, [1, conditioning width]. */
  adaln(condition: 'caption' | 'null'): Tensor {
    const row = this.null_caption_embedding.shape[0]! + ADALN_ROW[condition];
    return this.y_proj_adaln.forward(this.null_caption_embedding.slice(row, row + 1));
  }
}
