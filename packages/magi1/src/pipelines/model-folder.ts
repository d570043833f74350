// Where a model's files are: from the original's config and a base folder to the paths of its parts.
import { Magi1Error } from '@magi1/tensor';
import { readJson } from '../checkpoint.ts';
import { parseConfig, readEnvironment } from '../config/index.ts';
import type { EngineConfig, Environment, Magi1Config } from '../config/index.ts';
import { originalConfig } from '../layouts/port-config.ts';
import { readTrained } from './trained.ts';
import type { Trained } from './trained.ts';

export interface ModelPaths {
  readonly config: string;
  /** Folder of the transformer's weights. */
  readonly transformer: string;
  /** Folder of the text encoder: config and weights. */
  readonly textEncoder: string;
  /** Folder of the tokenizer's files; the original keeps them with the text encoder. */
  readonly tokenizer: string;
  readonly vae: string;
  readonly specialTokens: string;
}

/** A config and where its parts are; nothing but the config has been read. */
export interface ModelSource {
  readonly config: Magi1Config;
  readonly environment: Environment;
  readonly paths: ModelPaths;
  /** What the model was trained on, where it says so. */
  readonly trained: Trained | null;
  /** A config file of the original, to be run in its way. */
  readonly asOriginal: boolean;
}

/** Warnings about config and environment, shown once: settings that are accepted and change nothing, and others. */
export function modelNotes({ config, environment }: ModelSource): string[] {
  const offload =
    'OFFLOAD_VAE_CACHE is without effect here: the VAE stays loaded, as each chunk is decoded when it is done';
  return [...config.notes, ...(environment.offloadVaeCache ? [offload] : [])];
}

/** The original's folder for the weights of one kind of checkpoint, below `load`. */
export function weightFolder({ distill, fp8_quant }: EngineConfig): string {
  return `inference_weight${fp8_quant ? '.fp8' : ''}${distill ? '.distill' : ''}`;
}

const T5_FOLDER = 't5-v1_1-xxl';
/** Where the token table may be: beside the config, and where the original's repository has it. */
const TOKEN_FILES = ['special_tokens.npz', 'example/assets/special_tokens.npz'];

/**
 * A model folder: `config.json` of the original's format, whose relative paths count from the folder, or the diffusers
 * layout with `model_index.json` and one folder for each part.
 */
export async function locateModel(
  folder: string,
  environment: Environment = readEnvironment({}),
): Promise<ModelSource> {
  const { stat } = await import('node:fs/promises');
  const path = await import('node:path');
  const facts = await stat(folder).catch((error: unknown) => error as NodeJS.ErrnoException);
  if (facts instanceof Error) {
    throw new Magi1Error(
      facts.code === 'ENOENT'
        ? `model folder ${folder}: does not exist`
        : `model folder ${folder}: cannot be read (${facts.code ?? facts.message})`,
    );
  }
  if (!facts.isDirectory())
    throw new Magi1Error(`model folder ${folder}: is a file; name the folder with its config.json`);
  const diffusers = await findFile(folder, ['model_index.json', 'modular_model_index.json']);
  if (diffusers !== undefined) return locateDiffusers(folder, environment);
  return locate(path.join(folder, 'config.json'), [folder], environment);
}

/** The diffusers layout: settings come from the transformer's own config, completed by those of the published models. */
async function locateDiffusers(folder: string, environment: Environment): Promise<ModelSource> {
  const path = await import('node:path');
  const config = path.join(folder, 'transformer', 'config.json');
  const parsed = parseConfig(originalConfig(await readJson(config), config), config);
  const part = (name: string) => path.join(folder, name);
  const textEncoder = part('text_encoder');
  const tokenizerFile = await findFile(part('tokenizer'), ['tokenizer.json', 'spiece.model']);
  const tokens = (await findFile(folder, TOKEN_FILES)) ?? TOKEN_FILES[0]!;
  return {
    config: parsed,
    environment,
    trained: await readTrained(folder),
    asOriginal: false,
    paths: {
      config: path.resolve(config),
      transformer: part('transformer'),
      textEncoder,
      tokenizer: tokenizerFile === undefined ? textEncoder : part('tokenizer'),
      vae: part('vae'),
      specialTokens: path.resolve(environment.specialTokenPath ?? path.join(folder, tokens)),
    },
  };
}

/** The first of these names that is in the folder. */
async function findFile(folder: string, names: readonly string[]): Promise<string | undefined> {
  const { access } = await import('node:fs/promises');
  const path = await import('node:path');
  for (const name of names) {
    const there = await access(path.join(folder, name)).then(
      () => true,
      () => false,
    );
    if (there) return name;
  }
  return undefined;
}

/**
 * A config file of the original: its relative paths count from the working directory, as there, and where that leads
 * nowhere from the file's own folder.
 */
export async function locateByConfigFile(
  file: string,
  environment: Environment = readEnvironment(process.env),
): Promise<ModelSource> {
  const path = await import('node:path');
  return { ...(await locate(file, ['.', path.dirname(file)], environment)), asOriginal: true };
}

async function locate(config: string, bases: readonly string[], environment: Environment): Promise<ModelSource> {
  const path = await import('node:path');
  const { access } = await import('node:fs/promises');
  const parsed = parseConfig(await readJson(config), config);
  const { runtime_config: runtime, engine_config: engine } = parsed;
  const exists = (file: string) =>
    access(file).then(
      () => true,
      () => false,
    );
  const missing: string[] = [];
  const find = async (setting: string, given: string): Promise<string> => {
    const tried = [...new Set(bases.map((base) => path.resolve(base, given)))];
    for (const candidate of tried) if (await exists(candidate)) return candidate;
    missing.push(`${setting} ${tried.join(' and ')}`);
    return tried[0]!;
  };
  const folders = [path.dirname(config), ...bases];
  const findTokens = async (): Promise<string> => {
    const tried = TOKEN_FILES.flatMap((file) => folders.map((folder) => path.resolve(folder, file)));
    for (const candidate of tried) if (await exists(candidate)) return candidate;
    return tried[0]!; // named when a switch asks for it
  };
  const transformer = await find('runtime_config.load:', path.join(runtime.load, weightFolder(engine)));
  if (missing.length > 0) missing.push(`${missing.pop()!}${await otherKinds(bases, runtime.load, engine)}`);
  const textEncoder = await find('runtime_config.t5_pretrained:', path.join(runtime.t5_pretrained, T5_FOLDER));
  const paths: ModelPaths = {
    config: path.resolve(config),
    transformer,
    textEncoder,
    tokenizer: textEncoder,
    vae: await find('runtime_config.vae_pretrained:', runtime.vae_pretrained),
    specialTokens:
      environment.specialTokenPath === null ? await findTokens() : path.resolve(environment.specialTokenPath),
  };
  if (missing.length > 0) throw new Magi1Error(`${config}: these folders do not exist: ${missing.join('; ')}`);
  return { config: parsed, environment, paths, trained: await readTrained(path.dirname(config)), asOriginal: false };
}

/** Where weights of another kind are in the folder: what to set to run them. */
async function otherKinds(bases: readonly string[], load: string, wanted: EngineConfig): Promise<string> {
  const path = await import('node:path');
  const kinds = [false, true].flatMap((fp8_quant) => [false, true].map((distill) => ({ fp8_quant, distill })));
  const others = kinds.filter(({ fp8_quant, distill }) => fp8_quant !== wanted.fp8_quant || distill !== wanted.distill);
  for (const base of bases) {
    const names = others.map((kind) => weightFolder({ ...wanted, ...kind }));
    const name = await findFile(path.resolve(base, load), names);
    if (name === undefined) continue;
    const { fp8_quant, distill } = others[names.indexOf(name)]!;
    return ` (there is ${name}: to run it, set engine_config.fp8_quant to ${fp8_quant}, distill to ${distill} and runtime_config.cfg_number to ${fp8_quant || distill ? 1 : 3})`;
  }
  return '';
}
