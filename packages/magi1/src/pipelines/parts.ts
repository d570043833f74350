// The three networks of a model: each is checked by its table of contents first and loaded when it is needed.
import { Magi1Error, isFloat, toFloat32 } from '@magi1/tensor';
import type { Device, DType } from '@magi1/tensor';
import { readArrays, readJson, readTokenizer } from '../checkpoint.ts';
import type { CheckedCheckpoint, LoadOptions, StreamProgress, Tokenizer } from '../checkpoint.ts';
import { openT5 } from '../t5/load.ts';
import type { T5Config } from '../t5/config.ts';
import { T5Encoder } from '../t5/encoder.ts';
import { SPECIAL_TOKEN_ARRAYS, specialTokenTable } from '../text/special-tokens.ts';
import type { SpecialTokenTable } from '../text/special-tokens.ts';
import { openTransformer } from '../transformer/load.ts';
import { VideoDiT } from '../transformer/video-dit.ts';
import { parseVaeConfig } from '../vae/config.ts';
import type { VaeConfig } from '../vae/config.ts';
import { openVae } from '../vae/load.ts';
import { ViTVae } from '../vae/vit-vae.ts';
import type { WeightEntry, Weights } from '../weights.ts';
import type { ModelSource } from './model-folder.ts';

export type PartName = 'text encoder' | 'transformer' | 'vae';

/** dtype of matrices on the device, as stored where left out. One dtype stands for transformer and text encoder. */
export type WeightDTypes = DType | { readonly transformer?: DType; readonly textEncoder?: DType; readonly vae?: DType };

export interface PartLoadOptions {
  readonly signal?: AbortSignal | undefined;
  readonly onProgress?: ((progress: StreamProgress) => void) | undefined;
}

/** One network whose files fit its config; no weight has been read. */
export interface Part<Network> {
  readonly name: PartName;
  readonly path: string;
  readonly entries: ReadonlyMap<string, WeightEntry>;
  /** Bytes of its weights on a device. */
  readonly deviceBytes: number;
  load(device: Device, options?: PartLoadOptions): Promise<Network>;
  /** Overwrites the named weights of a loaded network with what the files hold. */
  restore(weights: Weights, names: Iterable<string>, options?: PartLoadOptions): Promise<void>;
}

export interface ModelParts {
  readonly source: ModelSource;
  readonly transformer: Part<VideoDiT>;
  readonly textEncoder: Part<T5Encoder>;
  readonly t5Config: T5Config;
  readonly vae: Part<ViTVae>;
  readonly vaeConfig: VaeConfig;
  readonly tokenizer: Tokenizer;
  /** Read when a switch needs it; an error names the file that is missing. */
  specialTokens(): Promise<SpecialTokenTable>;
}

/** Checks every part of a model; one error names everything that is wrong with any of them. */
export async function openParts(source: ModelSource, dtypes: WeightDTypes | undefined): Promise<ModelParts> {
  const { config, paths } = source;
  const { model_config: model, engine_config: engine } = config;
  const dtype = weightDTypes(dtypes);
  const vaeFile = `${paths.vae}/config.json`;
  const results = await Promise.allSettled([
    checkPart(
      'transformer',
      (load) => openTransformer(paths.transformer, model, engine, load),
      dtype.transformer,
      (weights) => new VideoDiT(model, weights),
    ),
    (async () => {
      const { config: t5Config, checkpoint } = await openT5(paths.textEncoder);
      await checkpoint.close();
      if (t5Config.d_model !== model.caption_channels)
        throw new Magi1Error(
          `${paths.textEncoder}: d_model is ${t5Config.d_model}, but the transformer reads captions of ${model.caption_channels} features (caption_channels)`,
        );
      const open = async (load: LoadOptions) => (await openT5(paths.textEncoder, load)).checkpoint;
      const part = await checkPart(
        'text encoder',
        open,
        dtype.textEncoder,
        (weights) => new T5Encoder(t5Config, weights),
      );
      return { part, t5Config };
    })(),
    (async () => {
      const vaeConfig = parseVaeConfig(await readJson(vaeFile), vaeFile);
      checkLatents(vaeConfig, source);
      const open = (load: LoadOptions) => openVae(paths.vae, vaeConfig, load);
      const part = await checkPart('vae', open, dtype.vae, (weights) => new ViTVae(vaeConfig, weights));
      return { part, vaeConfig };
    })(),
    readTokenizer(paths.tokenizer),
  ] as const);
  const faults = results.filter((result) => result.status === 'rejected').map(({ reason }) => reason as Error);
  if (faults.length === 1) throw faults[0]!;
  if (faults.length > 1)
    throw new Magi1Error([...new Set(faults.map(({ message }) => message))].join('; '), { cause: faults[0] });
  const [transformer, text, vae, tokenizer] = results.map(
    (result) => (result as PromiseFulfilledResult<unknown>).value,
  ) as [
    Part<VideoDiT>,
    { part: Part<T5Encoder>; t5Config: T5Config },
    { part: Part<ViTVae>; vaeConfig: VaeConfig },
    Tokenizer,
  ];
  let table: Promise<SpecialTokenTable> | undefined;
  return {
    source,
    transformer,
    textEncoder: text.part,
    t5Config: text.t5Config,
    vae: vae.part,
    vaeConfig: vae.vaeConfig,
    tokenizer,
    specialTokens: () => (table ??= readSpecialTokens(paths.specialTokens, model.caption_channels)),
  };
}

const WEIGHT_DTYPES: readonly unknown[] = ['f32', 'f16', 'bf16', undefined];

function weightDTypes(dtypes: WeightDTypes | undefined): Exclude<WeightDTypes, DType> {
  const each = typeof dtypes === 'object' ? dtypes : dtypes && { transformer: dtypes, textEncoder: dtypes };
  for (const dtype of Object.values(each ?? {}))
    if (!WEIGHT_DTYPES.includes(dtype)) throw new Magi1Error(`dtype: f32, f16 or bf16 expected, got ${dtype}`);
  return each ?? {};
}

/** Opens and closes: handles are not kept, a part may be loaded much later, or twice. */
async function checkPart<Network>(
  name: PartName,
  open: (options: LoadOptions) => Promise<CheckedCheckpoint>,
  dtype: DType | undefined,
  build: (weights: Weights) => Network,
): Promise<Part<Network>> {
  const checked = await open({ dtype });
  await checked.close();
  const { path, entries, deviceBytes } = checked;
  return {
    name,
    path,
    entries,
    deviceBytes,
    async load(device, options = {}) {
      const checkpoint = await open({ dtype, ...options });
      try {
        return build(await checkpoint.load(device));
      } finally {
        await checkpoint.close();
      }
    },
    async restore(weights, names, options = {}) {
      const checkpoint = await open({ dtype, ...options });
      try {
        await checkpoint.restore(weights, names);
      } finally {
        await checkpoint.close();
      }
    },
  };
}

function checkLatents(vae: VaeConfig, { paths, config }: ModelSource): void {
  const { model_config: model, runtime_config: runtime } = config;
  const channels = model.half_channel_vae ? model.in_channels / 2 : model.in_channels;
  const faults = [
    vae.z_chans !== channels && `z_chans is ${vae.z_chans}, the transformer's latents have ${channels} channels`,
    vae.patch_length !== runtime.temporal_downsample_factor &&
      `patch_length is ${vae.patch_length}, temporal_downsample_factor ${runtime.temporal_downsample_factor}`,
    vae.patch_size !== 8 && `patch_size is ${vae.patch_size}, latents of 8 pixels expected`,
  ].filter((fault) => fault !== false);
  if (faults.length > 0) throw new Magi1Error(`${paths.vae}/config.json: ${faults.join('; ')}`);
}

async function readSpecialTokens(path: string, captionChannels: number): Promise<SpecialTokenTable> {
  const arrays = await readArrays(path, { f64: 'f16', bf16: true, names: SPECIAL_TOKEN_ARRAYS });
  const widened = [...arrays].map(([name, { shape, dtype, data }]) => {
    const values = isFloat(dtype) ? toFloat32(dtype, data) : (data as ArrayLike<number>);
    return [name, { shape, data: values }] as const;
  });
  return specialTokenTable(new Map(widened), captionChannels);
}
