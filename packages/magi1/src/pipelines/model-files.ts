// A model's files. The folder as it is found: its config, and where weights, tokenizer and token table are. Then the files,
// opened once: each network's table of contents is checked here and stays open for loading. No weights yet.
import {
  NotFoundError,
  ifFound,
  isFolder,
  listNames,
  locate,
  nodeFolder,
  openCheckpoint,
  readJson,
  readTokenizer,
} from '@magi1/loaders';
import type { Checkpoint, Folder, FolderOptions, StreamProgress, Tokenizer } from '@magi1/loaders';
import { Magi1Error, isBlocks } from '@magi1/tensor';
import type { DType } from '@magi1/tensor';
import { LATENT_STRIDE, latentChannels, parseConfig, readEnvironment } from '../config/index.ts';
import type { EngineConfig, Environment, Magi1Config } from '../config/index.ts';
import { T5_FOLDER, weightFolder } from '../config/folders.ts';
import { parseTrained } from '../config/trained.ts';
import type { Trained } from '../config/trained.ts';
import { originalConfig } from '../layouts/port-config.ts';
import { CheckedWeights } from '../nn/index.ts';
import type { NetworkDefinition } from '../nn/index.ts';
import { parseT5Config } from '../t5/config.ts';
import type { T5Config } from '../t5/config.ts';
import { t5Network } from '../t5/encoder.ts';
import type { T5Encoder } from '../t5/encoder.ts';
import { transformerNetwork } from '../transformer/video-dit.ts';
import type { VideoDiT } from '../transformer/video-dit.ts';
import { parseVaeConfig } from '../vae/config.ts';
import type { VaeConfig } from '../vae/config.ts';
import { vaeNetwork } from '../vae/vit-vae.ts';
import type { ViTVae } from '../vae/vit-vae.ts';
import { checkReading } from './check-options.ts';
import type { WeightDTypes } from './request.ts';

export interface ModelFolder {
  /** The config file; its whole path where it is on the disk. */
  readonly configFile: string;
  readonly config: Magi1Config;
  /** The config as JSON of the original's form, with what this program does not know. */
  readonly configJson: unknown;
  readonly environment: Environment;
  /** What the model was trained on, where it says so. */
  readonly trained: Trained | null;
  /** A config file of the original, to be run in its way. */
  readonly asOriginal: boolean;
  readonly folders: {
    /** Weights of the transformer. */
    readonly transformer: Folder;
    /** Config and weights. */
    readonly textEncoder: Folder;
    /** The original keeps its files with the text encoder. */
    readonly tokenizer: Folder;
    /** Config and weights. */
    readonly vae: Folder;
  };
  /** Where the table of special tokens may be, in turn, unless the environment says where it is. */
  readonly tokenFolders: readonly Folder[];
  /** Folders that the config names and that are not there, each with its setting. */
  readonly missing: readonly string[];
}

/** Warnings about config and environment, shown once: settings that are accepted and change nothing, and others. */
export function modelNotes({ config, environment }: Pick<ModelFolder, 'config' | 'environment'>): string[] {
  const offload =
    'OFFLOAD_VAE_CACHE is without effect here: the VAE stays loaded, as each chunk is decoded when it is done';
  return [...config.notes, ...(environment.offloadVaeCache ? [offload] : [])];
}

const CONFIG = 'config.json';
const DIFFUSERS = ['model_index.json', 'modular_model_index.json'];

export interface ModelFolderOptions extends FolderOptions {
  readonly environment?: Environment | undefined;
}

/**
 * Reads a model folder: `config.json` of the original's format, whose relative paths count from the folder, or the
 * diffusers layout with `model_index.json` and one folder for each network.
 * @param where a path, a `file:` URL or a Folder
 */
export async function readModelFolder(
  where: string | URL | Folder,
  options: ModelFolderOptions = {},
): Promise<ModelFolder> {
  checkReading(options);
  const { environment = readEnvironment({}), signal } = options;
  const given = where instanceof URL ? where.href : isFolder(where) ? where.name : where;
  const { folder, file } = await locate(where).catch((error: unknown) => {
    if (error instanceof NotFoundError) throw new Magi1Error(`model folder ${given}: does not exist`, { cause: error });
    throw error;
  });
  if (file !== undefined) throw new Magi1Error(`model folder ${given}: is a file; name the folder with its ${CONFIG}`);
  const names = await listNames(folder, { signal });
  const diffusers = DIFFUSERS.some((name) => names.includes(name));
  if (!diffusers && !names.includes(CONFIG))
    throw new Magi1Error(
      `model folder ${given}: holds no model, neither ${CONFIG} (the original's layout) nor ${DIFFUSERS[0]} (diffusers) is in it; name the folder that has one of them`,
    );
  const path = diffusers ? `transformer/${CONFIG}` : CONFIG;
  const configFile = isFolder(where) ? folder.at(path).name : await wholePath(folder.at(path).name);
  if (!diffusers) return readOriginal({ folder, path }, configFile, [folder], { environment, signal });
  return readDiffusers({ folder, path }, configFile, { environment, signal });
}

/**
 * Reads a config file of the original: its relative paths count from the working directory, as there, and where that
 * leads nowhere from the file's own folder.
 */
export async function readConfigFile(where: string | URL, options: ModelFolderOptions = {}): Promise<ModelFolder> {
  checkReading(options);
  const { environment = readEnvironment(process.env), signal } = options;
  const { folder, file } = await locate(where);
  if (file === undefined) throw new Magi1Error(`${folder.name}: expected a file, found a folder`);
  const place = { folder, path: file };
  const configFile = await wholePath(folder.at(file).name);
  const found = await readOriginal(place, configFile, [nodeFolder('.'), folder], { environment, signal });
  return { ...found, asOriginal: true };
}

const wholePath = async (path: string): Promise<string> => (await import('node:path')).resolve(path);

interface Options extends FolderOptions {
  readonly environment: Environment;
}

interface ConfigPlace {
  readonly folder: Folder;
  readonly path: string;
}

async function readTrained(folder: Folder, options: FolderOptions): Promise<Trained | null> {
  const json = await ifFound(readJson(folder, 'trained.json', options));
  return json === undefined ? null : parseTrained(json, folder.at('trained.json').name);
}

/** The diffusers layout: settings come from the transformer's own config, completed by those of the published models. */
async function readDiffusers(
  { folder, path }: ConfigPlace,
  configFile: string,
  { environment, signal }: Options,
): Promise<ModelFolder> {
  const { name } = folder.at(path);
  const configJson = originalConfig(await readJson(folder, path, { signal }), name);
  const config = parseConfig(configJson, name);
  const [textEncoder, tokenizer] = [folder.at('text_encoder'), folder.at('tokenizer')];
  const tokenizerFiles = (await ifFound(listNames(tokenizer, { signal }))) ?? [];
  const own = tokenizerFiles.some((file) => file === 'tokenizer.json' || file === 'spiece.model');
  return {
    configFile,
    config,
    configJson,
    environment,
    trained: await readTrained(folder, { signal }),
    asOriginal: false,
    folders: {
      transformer: folder.at('transformer'),
      textEncoder,
      tokenizer: own ? tokenizer : textEncoder,
      vae: folder.at('vae'),
    },
    tokenFolders: [folder],
    missing: [],
  };
}

async function readOriginal(
  { folder, path }: ConfigPlace,
  configFile: string,
  bases: readonly Folder[],
  { environment, signal }: Options,
): Promise<ModelFolder> {
  const { name } = folder.at(path);
  const configJson = await readJson(folder, path, { signal });
  const config = parseConfig(configJson, name);
  const { runtime_config: runtime, engine_config: engine } = config;
  const missing: string[] = [];
  const find = async (setting: string, path: string): Promise<Folder> => {
    const tried = bases.map((base) => below(base, path));
    for (const candidate of tried)
      if ((await ifFound(listNames(candidate, { signal }))) !== undefined) return candidate;
    missing.push(`runtime_config.${setting}: ${[...new Set(tried.map((one) => one.name))].join(' and ')}`);
    return tried[0]!;
  };
  const transformer = await find('load', `${runtime.load}/${weightFolder(engine)}`);
  if (missing.length > 0) missing.push(`${missing.pop()!}${await otherKinds(bases, runtime.load, engine, { signal })}`);
  const textEncoder = await find('t5_pretrained', `${runtime.t5_pretrained}/${T5_FOLDER}`);
  const vae = await find('vae_pretrained', runtime.vae_pretrained);
  return {
    configFile,
    config,
    configJson,
    environment,
    trained: await readTrained(folder, { signal }),
    asOriginal: false,
    folders: { transformer, textEncoder, tokenizer: textEncoder, vae },
    tokenFolders: [...new Set([folder, ...bases])],
    missing,
  };
}

/** The folder at a path as configs have them, `./vae` or `.` among them: what is handed to `at` has no such part. */
function below(base: Folder, path: string): Folder {
  const plain = path.replace(/(?<=^|\/)\.(\/|$)/g, '').replace(/(?<=.)\/+$/, '');
  return plain === '' ? base : base.at(plain);
}

/** Where weights of another kind are in the folder: what to set to run them. */
async function otherKinds(
  bases: readonly Folder[],
  load: string,
  wanted: EngineConfig,
  options: FolderOptions,
): Promise<string> {
  const kinds = [false, true].flatMap((fp8_quant) => [false, true].map((distill) => ({ fp8_quant, distill })));
  for (const base of bases) {
    const names = (await ifFound(listNames(below(base, load), options))) ?? [];
    const other = kinds.find((kind) => names.includes(weightFolder({ ...wanted, ...kind })));
    if (other === undefined) continue;
    const { fp8_quant, distill } = other;
    return ` (there is ${weightFolder({ ...wanted, ...other })}: to run it, set engine_config.fp8_quant to ${fp8_quant}, distill to ${distill} and runtime_config.cfg_number to ${fp8_quant || distill ? 1 : 3})`;
  }
  return '';
}

/** A network whose files are open and fit its config; no weight has been read. */
export class StoredNetwork<Network> extends CheckedWeights<Network, StreamProgress> {
  readonly name: 'text encoder' | 'transformer' | 'vae';
  /** Its folder. */
  readonly path: string;
  readonly checkpoint: Checkpoint;

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
    this.checkpoint = checkpoint;
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
  return { ...model, transformer, textEncoder, t5Config, vae, vaeConfig, tokenizer, close };
}

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

/** By network. */
export function weightDTypes(dtypes: WeightDTypes | undefined): Exclude<WeightDTypes, DType> {
  if (typeof dtypes === 'object') return dtypes;
  if (dtypes === undefined) return {};
  const both = { transformer: dtypes, textEncoder: dtypes };
  return isBlocks(dtypes) ? { ...both, vae: dtypes } : both;
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
