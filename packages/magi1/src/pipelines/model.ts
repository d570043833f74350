// A model's files, opened once: each network's table of contents is checked here and stays open for loading.
import {
  NotFoundError,
  ifFound,
  locate,
  openCheckpoint,
  readJson,
  readNpz,
  readTokenizer,
  withFile,
} from '@magi1/loaders';
import type { Checkpoint, Folder, FolderOptions, StreamProgress, Tokenizer } from '@magi1/loaders';
import { Magi1Error, isFloat, toFloat32 } from '@magi1/tensor';
import type { DType } from '@magi1/tensor';
import { LATENT_STRIDE, latentChannels } from '../config/index.ts';
import { CheckedWeights } from '../nn/index.ts';
import type { NetworkDefinition } from '../nn/index.ts';
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
import type { ModelFolder } from './model-folder.ts';

/** dtype of matrices on the device, as stored where left out. One dtype stands for transformer and text encoder. */
export type WeightDTypes = DType | { readonly transformer?: DType; readonly textEncoder?: DType; readonly vae?: DType };

/** A network whose files are open and fit its config; no weight has been read. */
export class StoredNetwork<Network> extends CheckedWeights<Network, StreamProgress> {
  readonly name: 'text encoder' | 'transformer' | 'vae';
  /** Its folder. */
  readonly path: string;

  constructor(
    name: StoredNetwork<Network>['name'],
    { name: path }: Folder,
    checkpoint: Checkpoint,
    network: NetworkDefinition<Network>,
    dtype: DType | undefined,
  ) {
    super(checkpoint, network, dtype);
    this.name = name;
    this.path = path;
  }
}

/** A model folder whose files are open and fit the config, until they are closed. */
export interface ModelFiles extends ModelFolder {
  readonly transformer: StoredNetwork<VideoDiT>;
  readonly textEncoder: StoredNetwork<T5Encoder>;
  readonly t5Config: T5Config;
  readonly vae: StoredNetwork<ViTVae>;
  readonly vaeConfig: VaeConfig;
  readonly tokenizer: Tokenizer;
  /**
   * Read when a switch needs it.
   * @throws NotFoundError where the model has none
   */
  specialTokens(): Promise<SpecialTokenTable>;
  close(): Promise<void>;
}

/** Opens and checks every file of a model; one error names everything that is wrong with any of them. */
export async function openModelFiles(
  model: ModelFolder,
  dtypes: WeightDTypes | undefined,
  options: FolderOptions = {},
): Promise<ModelFiles> {
  const { config, folders, missing } = model;
  if (missing.length > 0)
    throw new Magi1Error(`${model.configFile}: these folders do not exist: ${missing.join('; ')}`);
  const dtype = weightDTypes(dtypes);
  const checkpoints: Checkpoint[] = [];
  async function open<Network>(
    name: StoredNetwork<Network>['name'],
    folder: Folder,
    network: NetworkDefinition<Network>,
    layers: Layers,
    type: DType | undefined,
  ): Promise<StoredNetwork<Network>> {
    const checkpoint = await openCheckpoint(folder, options);
    checkpoints.push(checkpoint);
    checkLayers(checkpoint, layers);
    return new StoredNetwork(name, folder, checkpoint, network, type);
  }
  const close = async () => {
    await Promise.all(checkpoints.map((checkpoint) => checkpoint.close()));
  };
  const results = await Promise.allSettled([
    (() => {
      const layers = { setting: 'num_layers', count: config.model_config.num_layers, name: TRANSFORMER_LAYER };
      return open('transformer', folders.transformer, transformerNetwork(config), layers, dtype.transformer);
    })(),
    (async () => {
      const { textEncoder: folder } = folders;
      const t5 = parseT5Config(await readJson(folder, CONFIG, options), folder.at(CONFIG).name);
      const { caption_channels: channels } = config.model_config;
      if (t5.d_model !== channels)
        throw new Magi1Error(
          `${folder.name}: d_model is ${t5.d_model}, but the transformer reads captions of ${channels} features (caption_channels)`,
        );
      const layers = { setting: 'num_layers', count: t5.num_layers, name: T5_LAYER };
      return [await open('text encoder', folder, t5Network(t5), layers, dtype.textEncoder), t5] as const;
    })(),
    (async () => {
      const { vae: folder } = folders;
      const vae = parseVaeConfig(await readJson(folder, CONFIG, options), folder.at(CONFIG).name);
      checkLatents(vae, model);
      const layers = { setting: 'depth', count: vae.depth, name: VAE_LAYER };
      return [await open('vae', folder, vaeNetwork(vae), layers, dtype.vae), vae] as const;
    })(),
    readTokenizer(folders.tokenizer),
  ] as const);
  const faults = results.filter((result) => result.status === 'rejected').map(({ reason }) => reason as Error);
  if (faults.length > 0 || options.signal?.aborted) {
    await close();
    options.signal?.throwIfAborted();
    if (faults.length === 1) throw faults[0]!;
    throw new Magi1Error([...new Set(faults.map(({ message }) => message))].join('; '), { cause: faults[0] });
  }
  const [transformer, [textEncoder, t5Config], [vae, vaeConfig], tokenizer] = results.map(
    (result) => (result as PromiseFulfilledResult<unknown>).value,
  ) as [StoredNetwork<VideoDiT>, [StoredNetwork<T5Encoder>, T5Config], [StoredNetwork<ViTVae>, VaeConfig], Tokenizer];
  let table: Promise<SpecialTokenTable> | undefined;
  const specialTokens = () => (table ??= readSpecialTokens(model));
  return { ...model, transformer, textEncoder, t5Config, vae, vaeConfig, tokenizer, specialTokens, close };
}

const CONFIG = 'config.json';

/** How deep a config says that its network is, and the names of tensors up to the number of their layer. */
interface Layers {
  readonly setting: string;
  readonly count: number;
  readonly name: RegExp;
}

const TRANSFORMER_LAYER = /(?:^|\.)(?:layers|blocks|transformer_blocks)\.(\d+)\./;
const T5_LAYER = /^encoder\.block\.(\d+)\./;
const VAE_LAYER = /^(?:encoder|decoder)\.blocks\.(\d+)\./;

/** Before the network is described by its config; names of no known layout are left to the comparison of weights. */
function checkLayers(checkpoint: Checkpoint, { setting, count, name }: Layers): void {
  const numbers = checkpoint.names().map((tensor) => Number(name.exec(tensor)?.[1] ?? -1));
  const found = numbers.reduce((most, number) => Math.max(most, number + 1), 0);
  if (found > 0 && found !== count)
    throw new Magi1Error(`${checkpoint.name} does not fit its config: ${setting} is ${count}, the files have ${found}`);
}

const WEIGHT_DTYPES: readonly unknown[] = ['f32', 'f16', 'bf16', undefined];

function weightDTypes(dtypes: WeightDTypes | undefined): Exclude<WeightDTypes, DType> {
  const each = typeof dtypes === 'object' ? dtypes : dtypes && { transformer: dtypes, textEncoder: dtypes };
  for (const dtype of Object.values(each ?? {}))
    if (!WEIGHT_DTYPES.includes(dtype)) throw new Magi1Error(`dtype: f32, f16 or bf16 expected, got ${dtype}`);
  return each ?? {};
}

function checkLatents(vae: VaeConfig, { folders, config }: ModelFolder): void {
  const { model_config: model, runtime_config: runtime } = config;
  const channels = latentChannels(model);
  const faults = [
    vae.z_chans !== channels && `z_chans is ${vae.z_chans}, the transformer's latents have ${channels} channels`,
    vae.patch_length !== runtime.temporal_downsample_factor &&
      `patch_length is ${vae.patch_length}, temporal_downsample_factor ${runtime.temporal_downsample_factor}`,
    vae.patch_size !== LATENT_STRIDE && `patch_size is ${vae.patch_size}, latents of ${LATENT_STRIDE} pixels expected`,
  ].filter((fault) => fault !== false);
  if (faults.length > 0) throw new Magi1Error(`${folders.vae.at(CONFIG).name}: ${faults.join('; ')}`);
}

/** Where the token table may be: beside the config, and where the original's repository has it. */
const TOKEN_FILES = ['special_tokens.npz', 'example/assets/special_tokens.npz'];

async function readSpecialTokens({ config, environment, tokenFolders }: ModelFolder): Promise<SpecialTokenTable> {
  const { specialTokenPath: given } = environment;
  const { caption_channels: width } = config.model_config;
  if (given !== null) {
    const { folder, file } = await locate(given);
    if (file === undefined) throw new NotFoundError(`${String(given)}: expected a file, found a folder`);
    return readTokenTable(folder, file, width);
  }
  for (const path of TOKEN_FILES) {
    for (const folder of tokenFolders) {
      const table = await ifFound(readTokenTable(folder, path, width));
      if (table !== undefined) return table;
    }
  }
  throw new NotFoundError(`${tokenFolders[0]!.at(TOKEN_FILES[0]!).name}: there is no such file`);
}

async function readTokenTable(folder: Folder, path: string, captionChannels: number): Promise<SpecialTokenTable> {
  const arrays = await withFile(folder, path, (source) =>
    readNpz(source, { f64: 'f16', bf16: true, names: SPECIAL_TOKEN_ARRAYS }),
  );
  const widened = [...arrays].map(([name, { shape, dtype, data }]) => {
    const values = isFloat(dtype) ? toFloat32(dtype, data) : (data as ArrayLike<number>);
    return [name, { shape, data: values }] as const;
  });
  return specialTokenTable(new Map(widened), captionChannels);
}
