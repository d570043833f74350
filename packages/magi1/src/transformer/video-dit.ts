// VideoDiT: the MAGI-1 transformer. One forward takes some chunks of latents and gives their velocities.
import { add, affine, concat, layerNorm, narrow, patchify, silu, unpatchify } from '@magi1/kernels';
import { Magi1Error, describeSpec, scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import type { ModelConfig } from '../config/index.ts';
import { runStage } from '../run-options.ts';
import type { RunOptions } from '../run-options.ts';
import type { Weights } from '../weights.ts';
import { TransformerBlock } from './block.ts';
import type { BlockContext, TokenRange } from './block.ts';
import type { KvCache } from './kv-cache.ts';
import { project } from './projection.ts';
import { ropeTables } from './rope.ts';
import { timestepEmbedding } from './timestep-embedding.ts';
import { TIME_FEATURES } from './weights.ts';

/** A text as cross attention reads it: SiLU(Linear(features)), [rows, width] on the device. */
export type TextReading = Tensor;

export interface DitChunk {
  readonly latent: Tensor; // f32 [1, C, T, h, w]
  readonly t: number;
  /** Latent frame, from the start of the video, of the chunk's first frame. */
  readonly firstFrame: number;
  /** Tokens on the key axis [cached | this forward's chunks] that the chunk sees. */
  readonly keys: TokenRange;
  /** Chunks that give the same reading share its rows. */
  readonly text: TextReading;
}

export interface DitForward {
  /** All of one size. */
  readonly chunks: readonly DitChunk[];
  /** Which adaLN reading of the null caption conditions the pass: never that of the caption itself. */
  readonly condition: 'caption' | 'null';
  /** Step size that a distilled model is told; null for base models. */
  readonly dt: number | null;
  readonly cache?: KvCache | undefined;
  /** Cached chunks first..end-1 in front of the key axis; none when left out. */
  readonly cached?: { readonly first: number; readonly end: number } | undefined;
  /** Positions in `chunks` whose keys and values go to the cache, and as which chunk of the video. */
  readonly writes?: readonly { readonly position: number; readonly chunk: number }[] | undefined;
  /** Velocities are computed for positions from here on; those before serve as keys only. */
  readonly firstOutput?: number | undefined;
}

/** Rows of the null caption that condition adaLN. */
const ADALN_ROW = { caption: -2, null: -1 } as const;

export class VideoDiT {
  readonly model: ModelConfig;
  readonly device: Device;
  readonly #weights: Weights;
  readonly #blocks: readonly TransformerBlock[];
  #bands: Float32Array | undefined;
  #nullCaption: Float32Array | undefined;

  constructor(model: ModelConfig, weights: Weights) {
    this.model = model;
    this.#weights = weights;
    this.device = weights.get('x_embedder.weight').device;
    this.#blocks = Array.from({ length: model.num_layers }, (_, i) => new TransformerBlock(model, weights, i));
  }

  /** By the checkpoint's names; for what changes them, such as a LoRA. */
  get weights(): Weights {
    return this.#weights;
  }

  block(index: number): TransformerBlock {
    return this.#blocks[index]!;
  }

  /** The learned null caption [caption_max_length, caption_channels], on the host. */
  async nullCaption(): Promise<Float32Array> {
    this.#nullCaption ??= await this.#weights.get('y_embedder.null_caption_embedding').toFloat32();
    return this.#nullCaption;
  }

  /** Its first rows, on the device; a view. */
  nullCaptionRows(rows: number): Tensor {
    return this.#weights.get('y_embedder.null_caption_embedding').slice(0, rows);
  }

  /** Caption features [rows, caption_channels] -> the reading of cross attention. The caller disposes it. */
  readText(features: Tensor): TextReading {
    return scope(() => silu(this.#linear('y_embedder.y_proj_xattn.0', features)));
  }

  /**
   * Velocities f32 [1, C, T, h, w] of the chunks from `firstOutput` on, in order. The caller disposes them.
   * Yields to the device between blocks, where it can be cancelled.
   */
  async forward(input: DitForward, options: RunOptions = {}): Promise<Tensor[]> {
    const grid = this.#checkChunks(input);
    const bands = await this.ropeBands();
    const context = scope(() => this.#context(input, grid, bands, options));
    try {
      let h = scope(() => this.#embedPatches(input.chunks, options));
      const firstOutput = input.firstOutput ?? 0;
      for (const [i, block] of this.#blocks.entries()) {
        const last = i === this.#blocks.length - 1;
        h = await runStage(h, (x) => block.forward(x, context, last ? firstOutput : 0), options);
      }
      return await this.#velocities(h, input.chunks.length - firstOutput, grid, options);
    } finally {
      for (const tensor of [context.cos, context.sin, context.condition, context.text]) tensor.dispose();
    }
  }

  dispose(): void {
    this.#weights.dispose();
  }

  /** Cos-sin features of times -> conditioning width. */
  embedTime(times: readonly number[]): Tensor {
    const features = this.device.tensor(timestepEmbedding(times), [times.length, TIME_FEATURES], 'f32');
    return this.#linear('t_embedder.mlp.2', silu(this.#linear('t_embedder.mlp.0', features)));
  }

  /** The adaLN reading of a row of the null caption, [1, conditioning width]. */
  adalnCaption(condition: 'caption' | 'null'): Tensor {
    const rows = this.#weights.get('y_embedder.null_caption_embedding');
    const row = rows.shape[0]! + ADALN_ROW[condition];
    return this.#linear('y_embedder.y_proj_adaln.0', rows.slice(row, row + 1));
  }

  #linear(name: string, x: Tensor): Tensor {
    return project(x, this.#weights.at(name));
  }

  /** The checkpoint's learned frequencies, `rope.bands`. */
  async ropeBands(): Promise<Float32Array> {
    this.#bands ??= await this.#weights.get('rope.bands').toFloat32();
    return this.#bands;
  }

  /** Patches along t, h, w of every chunk; refuses chunks that differ or do not divide. */
  #checkChunks({ chunks }: DitForward): [number, number, number] {
    const { t_patch_size, patch_size, half_channel_vae, in_channels } = this.model;
    const first = chunks[0]?.latent;
    if (first === undefined) throw new Magi1Error('VideoDiT: a forward needs at least one chunk');
    const [batch, channels, frames, height, width] = first.shape as [number, number, number, number, number];
    const expected = half_channel_vae ? in_channels / 2 : in_channels;
    const grid: [number, number, number] = [frames / t_patch_size, height / patch_size, width / patch_size];
    if (batch !== 1 || channels !== expected || !grid.every(Number.isInteger)) {
      throw new Magi1Error(
        `VideoDiT: chunks must be f32[1,${expected},T,h,w] with T divisible by ${t_patch_size}, h and w by ${patch_size}; got ${describeSpec(first)}`,
      );
    }
    for (const { latent } of chunks) {
      if (describeSpec(latent) !== describeSpec(first)) {
        throw new Magi1Error(`VideoDiT: chunks differ in shape: ${describeSpec(first)} and ${describeSpec(latent)}`);
      }
    }
    return grid;
  }

  #context(input: DitForward, grid: readonly number[], bands: Float32Array, { tap }: RunOptions): BlockContext {
    const [frames, height, width] = grid as [number, number, number];
    const positions = input.chunks.flatMap(({ firstFrame }) =>
      Array.from({ length: frames }, (_, i) => firstFrame + i),
    );
    const tables = ropeTables(positions, height, width, bands);
    const tokensPerChunk = frames * height * width;
    const shape = [input.chunks.length * tokensPerChunk, 3 * bands.length];
    const { text, textRows } = packTexts(input.chunks.map((chunk) => chunk.text));
    tap?.('pre.y_xattn_flat', text);
    return {
      tokensPerChunk,
      cos: this.device.tensor(tables.cos, shape, 'f32'),
      sin: this.device.tensor(tables.sin, shape, 'f32'),
      condition: this.#condition(input, tap),
      text,
      textRows,
      keys: input.chunks.map(({ keys }) => keys),
      cache: input.cache,
      cached: input.cached ?? { first: 0, end: 0 },
      writes: input.writes ?? [],
      tap,
    };
  }

  /** condition[chunk] = t_emb[chunk] (+ dt_emb) + y_adaln: [chunks, conditioning width]. */
  #condition(input: DitForward, tap: RunOptions['tap']): Tensor {
    let condition = this.embedTime(input.chunks.map(({ t }) => t));
    if (input.dt !== null) condition = add(condition, this.embedTime([input.dt]));
    condition = add(condition, this.adalnCaption(input.condition));
    tap?.('pre.condition', condition);
    return condition;
  }

  /** Latents -> tokens [chunks * T*h*w, width]. */
  #embedPatches(chunks: readonly DitChunk[], { tap }: RunOptions): Tensor {
    const { t_patch_size, patch_size, x_rescale_factor, half_channel_vae } = this.model;
    const patches = chunks.map(({ latent }) => {
      const scaled = x_rescale_factor === 1 ? latent : affine(latent, { scale: x_rescale_factor, shift: 0 });
      const rows = patchify(scaled, { patch: [t_patch_size, patch_size, patch_size] });
      return half_channel_vae ? concat([rows, rows], 1) : rows; // the channel is the slowest feature
    });
    const tokens = this.#linear('x_embedder', patches.length === 1 ? patches[0]! : concat(patches, 0));
    tap?.('pre.x', tokens);
    return tokens;
  }

  async #velocities(h: Tensor, chunks: number, grid: readonly number[], options: RunOptions): Promise<Tensor[]> {
    const { layernorm_epsilon: eps, apply_layernorm_1p: onePlusWeight } = this.model;
    const features = await runStage(
      h,
      (x) => {
        const norm = this.#weights.at('videodit_blocks.final_layernorm');
        const n = layerNorm(x, { weight: norm.get('weight'), bias: norm.get('bias'), eps, onePlusWeight });
        options.tap?.('blocks.out', n);
        const out = this.#linear('final_linear.linear', n);
        options.tap?.('final_linear.out', out);
        return out;
      },
      options,
    );
    try {
      return scope(() => {
        const rows = features.shape[0]! / chunks;
        return Array.from({ length: chunks }, (_, i) =>
          this.#unpatchify(features.slice(i * rows, (i + 1) * rows), grid),
        );
      });
    } finally {
      features.dispose();
    }
  }

  #unpatchify(tokens: Tensor, grid: readonly number[]): Tensor {
    const { t_patch_size, patch_size, out_channels, half_channel_vae, x_rescale_factor } = this.model;
    const patch = [t_patch_size, patch_size, patch_size] as const;
    const [t, height, width] = grid as [number, number, number];
    const video = unpatchify(tokens, { batch: 1, grid: [t, height, width], patch, channels: out_channels });
    const kept = half_channel_vae ? narrow(video, 1, 0, out_channels / 2) : video;
    return x_rescale_factor === 1 ? kept : affine(kept, { scale: 1 / x_rescale_factor, shift: 0 });
  }
}

/** Readings one after the other, each distinct one once, and each chunk's rows among them. */
function packTexts(texts: readonly TextReading[]): { text: Tensor; textRows: TokenRange[] } {
  const starts = new Map<TextReading, number>();
  let rows = 0;
  for (const text of texts) {
    if (starts.has(text)) continue;
    starts.set(text, rows);
    rows += text.shape[0]!;
  }
  return {
    text: concat([...starts.keys()], 0),
    textRows: texts.map((text) => [starts.get(text)!, starts.get(text)! + text.shape[0]!]),
  };
}
