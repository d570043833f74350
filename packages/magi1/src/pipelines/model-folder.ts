// A model folder as it is found: the config is read, and where weights, tokenizer and token table are. No weights yet.
import { NotFoundError, ifFound, locate, nodeFolder, readJson } from '@magi1/loaders';
import type { Folder, FolderOptions } from '@magi1/loaders';
import { Magi1Error } from '@magi1/tensor';
import { parseConfig, readEnvironment } from '../config/index.ts';
import type { EngineConfig, Environment, Magi1Config } from '../config/index.ts';
import { originalConfig } from '../layouts/port-config.ts';
import { parseTrained } from './trained.ts';
import type { Trained } from './trained.ts';

export interface ModelFolder {
  /** The config file; its whole path where it is on the disk. */
  readonly configFile: string;
  readonly config: Magi1Config;
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

/** The original's folder for the weights of one kind of checkpoint, below `load`. */
export function weightFolder({ distill, fp8_quant }: EngineConfig): string {
  return `inference_weight${fp8_quant ? '.fp8' : ''}${distill ? '.distill' : ''}`;
}

export const T5_FOLDER = 't5-v1_1-xxl';
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
  { environment = readEnvironment({}), signal }: ModelFolderOptions = {},
): Promise<ModelFolder> {
  const given = isFolder(where) ? where.name : String(where);
  const { folder, file } = await locate(where).catch((error: unknown) => {
    if (error instanceof NotFoundError) throw new Magi1Error(`model folder ${given}: does not exist`, { cause: error });
    throw error;
  });
  if (file !== undefined) throw new Magi1Error(`model folder ${given}: is a file; name the folder with its ${CONFIG}`);
  const names = await folder.list({ signal });
  const diffusers = DIFFUSERS.some((name) => names.includes(name));
  if (!diffusers && !names.includes(CONFIG))
    throw new Magi1Error(
      `model folder ${given}: holds no model, neither ${CONFIG} (the original's layout) nor ${DIFFUSERS[0]} (diffusers) is in it; name the folder that has one of them`,
    );
  const path = diffusers ? `transformer/${CONFIG}` : CONFIG;
  const configFile = isFolder(where) ? folder.at(path).name : await wholePath(folder.at(path).name);
  const options = { environment, signal };
  if (!diffusers) return readOriginal({ folder, path }, configFile, [folder], options);
  return readDiffusers({ folder, path }, configFile, options);
}

/**
 * Reads a config file of the original: its relative paths count from the working directory, as there, and where that
 * leads nowhere from the file's own folder.
 */
export async function readConfigFile(
  where: string | URL,
  { environment = readEnvironment(process.env), signal }: ModelFolderOptions = {},
): Promise<ModelFolder> {
  const { folder, file } = await locate(where);
  if (file === undefined) throw new Magi1Error(`${String(where)}: expected a file, found a folder`);
  const place = { folder, path: file };
  const configFile = await wholePath(folder.at(file).name);
  const found = await readOriginal(place, configFile, [nodeFolder('.'), folder], { environment, signal });
  return { ...found, asOriginal: true };
}

const isFolder = (where: string | URL | Folder): where is Folder =>
  typeof where !== 'string' && !(where instanceof URL);

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
  const config = parseConfig(originalConfig(await readJson(folder, path, { signal }), name), name);
  const [textEncoder, tokenizer] = [folder.at('text_encoder'), folder.at('tokenizer')];
  const tokenizerFiles = (await ifFound(tokenizer.list({ signal }))) ?? [];
  const own = tokenizerFiles.some((file) => file === 'tokenizer.json' || file === 'spiece.model');
  return {
    configFile,
    config,
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
  const config = parseConfig(await readJson(folder, path, { signal }), name);
  const { runtime_config: runtime, engine_config: engine } = config;
  const missing: string[] = [];
  const find = async (setting: string, path: string): Promise<Folder> => {
    const tried = bases.map((base) => below(base, path));
    for (const candidate of tried) if ((await ifFound(candidate.list({ signal }))) !== undefined) return candidate;
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
    const names = (await ifFound(below(base, load).list(options))) ?? [];
    const other = kinds.find((kind) => names.includes(weightFolder({ ...wanted, ...kind })));
    if (other === undefined) continue;
    const { fp8_quant, distill } = other;
    return ` (there is ${weightFolder({ ...wanted, ...other })}: to run it, set engine_config.fp8_quant to ${fp8_quant}, distill to ${distill} and runtime_config.cfg_number to ${fp8_quant || distill ? 1 : 3})`;
  }
  return '';
}
