// The three networks of a model: each is checked by its table of contents first and loaded when it is needed.
import { Magi1Error, isFloat, toFloat32 } from '@magi1/tensor';
import type { Device, DType, MetaDevice } from '@magi1/tensor';
import { openNetwork, readArrays, readJson, readTokenizer } from '../checkpoint.ts';
import type { StreamProgress, Tokenizer } from '../checkpoint.ts';
import type { NetworkDefinition, Params, StreamingOptions, WeightEntry } from '../nn/index.ts';
import { parseT5Config } from '../t5/config.ts';
import type { T5Config } from '../t5/config.ts';
import { t5Network } from '../t5/encoder.ts';
import type { T5Encoder } from '../t5/encoder.ts';
import { SPECIAL_TOKEN_ARRAYS, specialTokenTable } from '../text/special-tokens.ts';
import type { SpecialTokenTable } from '../text/special-tokens.ts';
import { transformerNetwork } from '../transformer/video-dit.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { parseVaeConfig } from '../vae/config.ts';
import type { VaeConfig } from '../vae/config.ts';
import { vaeNetwork } from '../vae/vit-vae.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import type { ModelSource } from './model-folder.ts';

export type PartName = 'text encoder' | 'transformer' | 'vae';

/** dtype of matrices on the device, as stored where left out. One dtype stands for transformer and text encoder. */
export type WeightDTypes = DType | { readonly transformer?: DType; readonly textEncoder?: DType; readonly vae?: DType };

export type PartLoadOptions = StreamingOptions<StreamProgress>;

/** One network whose files fit its config; no weight has been read. */
export interface Part<Network> {
  readonly name: PartName;
  readonly path: string;
  readonly entries: ReadonlyMap<string, WeightEntry>;
  /** Bytes of its weights on a device. */
  readonly deviceBytes: number;
  load(device: Device, options?: PartLoadOptions): Promise<Network>;
  /** The network without values, for a dry run. */
  onMeta(device: MetaDevice): Network;
  /** Overwrites the named weights of a loaded network with what the files hold. */
  restore(params: Params, names: Iterable<string>, options?: PartLoadOptions): Promise<void>;
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
  const { model_config: model } = config;
  const dtype = weightDTypes(dtypes);
  const t5File = `${paths.textEncoder}/config.json`;
  const vaeFile = `${paths.vae}/config.json`;
  const results = await Promise.allSettled([
    checkPart('transformer', paths.transformer, transformerNetwork(config), dtype.transformer),
    (async () => {
      const t5Config = parseT5Config(await readJson(t5File), t5File);
      const part = await checkPart('text encoder', paths.textEncoder, t5Network(t5Config), dtype.textEncoder);
      if (t5Config.d_model !== model.caption_channels)
        throw new Magi1Error(
          `${paths.textEncoder}: d_model is ${t5Config.d_model}, but the transformer reads captions of ${model.caption_channels} features (caption_channels)`,
        );
      return { part, t5Config };
    })(),
    (async () => {
      const vaeConfig = parseVaeConfig(await readJson(vaeFile), vaeFile);
      checkLatents(vaeConfig, source);
      return { part: await checkPart('vae', paths.vae, vaeNetwork(vaeConfig), dtype.vae), vaeConfig };
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
  path: string,
  network: NetworkDefinition<Network>,
  dtype: DType | undefined,
): Promise<Part<Network>> {
  const { weights: checked, close } = await openNetwork(path, network, { dtype });
  await close();
  const opened = async <T>(use: (weights: typeof checked) => Promise<T>): Promise<T> => {
    const { weights, close } = await openNetwork(path, network, { dtype });
    try {
      return await use(weights);
    } finally {
      await close();
    }
  };
  return {
    name,
    path,
    entries: checked.entries,
    deviceBytes: checked.deviceBytes,
    load: (device, options) => opened((weights) => weights.load(device, options)),
    onMeta: (device) => checked.onMeta(device),
    restore: (params, names, options) => opened((weights) => weights.restore(params, names, options)),
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
