// VideoDiT: the MAGI-1 transformer. One forward takes some chunks of latents and gives their velocities.
import { add, affine, concat, narrow, patchify, unpatchify } from '@magi1/kernels';
import { Magi1Error, describeSpec, describeValue, scope } from '@magi1/tensor';
import type { Device, Tensor } from '@magi1/tensor';
import { latentChannels } from '../config/index.ts';
import type { EngineConfig, ModelConfig } from '../config/index.ts';
import { layoutNames, transformerLayouts } from '../layouts/index.ts';
import { LayerNorm, Linear, Module, overTiles, rowTiles, runBlocks, runStage } from '../nn/index.ts';
import type { NetworkDefinition, Params, RunOptions } from '../nn/index.ts';
import { rowsOf, withOutputs } from './block-context.ts';
import type { BlockContext, TokenRange } from './block-context.ts';
import { TransformerBlock } from './block.ts';
import { CaptionEmbedder, TimeEmbedder } from './embedders.ts';
import type { KvCache } from './kv-cache.ts';
import { Rope } from './rope.ts';
import type { RopeTables } from './rope.ts';

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
  /** Most tokens that go through a block's layers at once; as many as a hidden layer of 128 MiB when left out. */
  readonly tileTokens?: number | undefined;
}

/** Path of the layers. */
const BLOCKS = 'videodit_blocks.layers';

/** Bytes of the widest layer of a tile: the most, and what memory plans fall back to, the least at last. */
export const TILE_BYTES = [2 ** 27, 2 ** 26, 2 ** 25, 2 ** 24] as const;

/** Tokens whose widest layer has so many bytes. */
export const tokensOfTile = (
  { ffn_hidden_size, gated_linear_unit }: ModelConfig,
  bytes: number = TILE_BYTES[0],
): number => Math.max(1, Math.floor(bytes / (4 * ffn_hidden_size * (gated_linear_unit ? 2 : 1))));

/** What a transformer is built by. */
export interface DitConfig {
  readonly model_config: ModelConfig;
  /** With `fp8_quant` all blocks but the first and the last are quantised. */
  readonly engine_config: Pick<EngineConfig, 'fp8_quant'>;
}

/** One of the network's layers. */
export interface DitBlock {
  /** h [tokens, width] -> [output tokens, width]; what it makes beside that is freed by the caller's scope. */
  forward(h: Tensor, context: BlockContext): Tensor;
}

/** A variant's block, such as a subclass of `TransformerBlock`: `index` is its layer of the key-value cache too. */
export type DitBlockClass = new (p: Params, model: ModelConfig, index: number, quantized: boolean) => DitBlock;

export class VideoDiT extends Module {
  readonly model: ModelConfig;
  readonly params: Params;
  /** A convolution over whole patches. */
  readonly x_embedder: Linear;
  readonly t_embedder: TimeEmbedder;
  readonly y_embedder: CaptionEmbedder;
  readonly rope: Rope;
  readonly layers: readonly DitBlock[];
  readonly final_layernorm: LayerNorm;
  readonly final_linear: Linear;
  /** A published block reads no row of its input after it has written that row; a variant may. */
  readonly #overwrites: boolean;

  /** @param Block what its layers are; those of the published models when left out */
  constructor(
    p: Params,
    { model_config: model, engine_config: { fp8_quant } }: DitConfig,
    Block: DitBlockClass = TransformerBlock,
  ) {
    super(p);
    this.model = model;
    this.params = p;
    this.#overwrites = Block === TransformerBlock;
    const { hidden_size: width, num_layers, t_patch_size, patch_size, in_channels, out_channels } = model;
    const patch = [t_patch_size, patch_size, patch_size];
    this.x_embedder = Linear.at(p.at('x_embedder'), width, [in_channels, ...patch], {
      bias: false,
      precise: true,
    });
    this.t_embedder = new TimeEmbedder(p.at('t_embedder'), model);
    this.y_embedder = new CaptionEmbedder(p.at('y_embedder'), model);
    this.rope = new Rope(p.at('rope'), model);
    this.layers = Array.from({ length: num_layers }, (_, i) => {
      const quantized = fp8_quant && i > 0 && i < num_layers - 1;
      return new Block(p.at(BLOCKS).at(i), model, i, quantized);
    });
    const { layernorm_epsilon: eps, apply_layernorm_1p: onePlusWeight } = model;
    this.final_layernorm = new LayerNorm(p.at('videodit_blocks.final_layernorm'), width, { eps, onePlusWeight });
    const outputs = t_patch_size * patch_size * patch_size * out_channels;
    this.final_linear = Linear.at(p.at('final_linear.linear'), outputs, width, { bias: false, precise: true });
  }

  get device(): Device {
    return this.params.device;
  }

  /** The learned null caption [caption_max_length, caption_channels], on the host. */
  nullCaption(): Promise<Float32Array> {
    return this.y_embedder.nullCaption.read();
  }

  /** Its first rows, on the device; a view. */
  nullCaptionRows(rows: number): Tensor {
    return this.y_embedder.null_caption_embedding.slice(0, rows);
  }

  /** Caption features [rows, caption_channels] -> the reading of cross attention. The caller disposes it. */
  readText(features: Tensor): TextReading {
    return this.y_embedder.forward(features);
  }

  /**
   * Velocities f32 [1, C, T, h, w] of the chunks from `firstOutput` on, in order. The caller disposes them.
   * Yields to the device between blocks, where it can be cancelled.
   */
  async forward(input: DitForward, options: RunOptions = {}): Promise<Tensor[]> {
    const { chunks, firstOutput = 0 } = input;
    const grid = this.#checkChunks(input);
    const tables = await this.rope.tables(framesOf(chunks, grid[0]), grid[1], grid[2]);
    let context: BlockContext | undefined;
    try {
      const shared = (context = scope(() => this.context(input, grid, tables)));
      const embedded = scope(() => this.embed(chunks));
      // The last block need not compute what nobody reads.
      const skipped = (i: number) => (i === this.layers.length - 1 ? firstOutput : 0);
      const through = (block: DitBlock, x: Tensor, i: number) => block.forward(x, withOutputs(shared, skipped(i)));
      const h = await runBlocks(this.params.at(BLOCKS), this.layers, embedded, through, options);
      const velocities = await runStage(h, (x) => this.final(x, tileTokensOf(input, this.model)), options);
      return this.#unpatchified(velocities, chunks.length - firstOutput, grid);
    } finally {
      for (const tensor of [tables.cos, tables.sin, context?.condition, context?.text]) tensor?.dispose();
    }
  }

  dispose(): void {
    this.params.dispose();
  }

  /** Patches along t, h, w of every chunk; refuses chunks that differ or do not divide, and tiles of no tokens. */
  #checkChunks({ chunks, tileTokens }: DitForward): [number, number, number] {
    const { t_patch_size, patch_size } = this.model;
    if (tileTokens !== undefined && !(Number.isSafeInteger(tileTokens) && tileTokens >= 1))
      throw new Magi1Error(`VideoDiT: tileTokens: a whole number from 1 expected, got ${describeValue(tileTokens)}`);
    const first = chunks[0]?.latent;
    if (first === undefined) throw new Magi1Error('VideoDiT: a forward needs at least one chunk');
    const [batch, channels, frames, height, width] = first.shape as [number, number, number, number, number];
    const expected = latentChannels(this.model);
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

  context(input: DitForward, grid: readonly number[], { cos, sin }: RopeTables<Tensor>): BlockContext {
    const [frames, height, width] = grid as [number, number, number];
    return {
      tokensPerChunk: frames * height * width,
      skipped: 0,
      cos,
      sin,
      ...packTexts(input.chunks.map(({ text }) => text)),
      condition: this.condition(input),
      keys: input.chunks.map(({ keys }) => keys),
      cache: input.cache,
      cached: input.cached ?? { first: 0, end: 0 },
      writes: input.writes ?? [],
      tileTokens: tileTokensOf(input, this.model),
      overwrite: this.#overwrites,
    };
  }

  /** condition[chunk] = t_emb[chunk] (+ dt_emb) + y_adaln: [chunks, conditioning width]. */
  condition({ chunks, dt, condition }: DitForward): Tensor {
    const times = this.t_embedder.forward(chunks.map(({ t }) => t));
    const stepped = dt === null ? times : add(times, this.t_embedder.forward([dt]));
    return add(stepped, this.y_embedder.adaln(condition));
  }

  /** Latents -> tokens [chunks * T*h*w, width]. */
  embed(chunks: readonly DitChunk[]): Tensor {
    const { t_patch_size, patch_size, x_rescale_factor, half_channel_vae } = this.model;
    const patches = chunks.map(({ latent }) => {
      const scaled = x_rescale_factor === 1 ? latent : affine(latent, { scale: x_rescale_factor, shift: 0 });
      const rows = patchify(scaled, { patch: [t_patch_size, patch_size, patch_size] });
      return half_channel_vae ? concat([rows, rows], 1) : rows; // the channel is the slowest feature
    });
    return this.x_embedder.forward(patches.length === 1 ? patches[0]! : concat(patches, 0));
  }

  /** h [tokens, width] -> velocities by patch [tokens, patch x channels]. */
  final(h: Tensor, tileTokens: number): Tensor {
    const tiles = rowTiles([0, h.shape[0]!], tileTokens);
    const features = (rows: TokenRange) => this.final_linear.forward(this.final_layernorm.forward(rowsOf(h, rows)));
    return overTiles(h.device, tiles, [[this.final_linear.weight.shape[0]!]], (rows) => [features(rows)])[0]!;
  }

  #unpatchified(features: Tensor, chunks: number, grid: readonly number[]): Tensor[] {
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

const tileTokensOf = ({ tileTokens }: DitForward, model: ModelConfig): number => tileTokens ?? tokensOfTile(model);

/** Absolute positions of all latent frames, `count` of each chunk. */
function framesOf(chunks: readonly DitChunk[], count: number): number[] {
  return chunks.flatMap(({ firstFrame }) => Array.from({ length: count }, (_, i) => firstFrame + i));
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

/** The transformer of a file in any known layout. */
export const transformerNetwork = (config: DitConfig): NetworkDefinition<VideoDiT> => ({
  build: (p) => new VideoDiT(p, config),
  names: (specs) => layoutNames(transformerLayouts(config.model_config), specs),
  blocks: [BLOCKS],
});
