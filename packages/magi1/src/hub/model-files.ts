// Which files of a repository in the original's layout one model needs.
import { checkpointFiles } from '@magi1/loaders';
import { Magi1Error } from '@magi1/tensor';
import { publishedConfig } from '../config/published.ts';
import type { PublishedModel } from '../config/published.ts';
import { T5_FOLDER, weightFolder } from '../config/folders.ts';
import type { HubFile, HubRepository } from './repository.ts';

const TRANSFORMERS = 'ckpt/magi';
const TEXT_ENCODERS = 'ckpt/t5';
const VAE = 'ckpt/vae';
const CONFIG = 'config.json';
/** One of the first two is enough; the others are read where they are there. */
const TOKENIZER = ['tokenizer.json', 'spiece.model', 'tokenizer_config.json', 'special_tokens_map.json'];

/** The published config of a model, for a folder from which `up` leads to the repository's files. */
export function modelConfig(model: PublishedModel, up: string): ReturnType<typeof publishedConfig> {
  const config = publishedConfig(model);
  Object.assign(config.runtime_config, {
    load: `${up}/${TRANSFORMERS}/${model}`,
    t5_pretrained: `${up}/${TEXT_ENCODERS}`,
    vae_pretrained: `${up}/${VAE}`,
  });
  return config;
}

/**
 * The files that are opened when the model is, in the order in which they are fetched: small ones first. Indices of
 * checkpoints are read over the network to know their shards.
 * @throws Magi1Error naming what the repository lacks
 */
export async function modelFiles(
  { name, folder, files }: HubRepository,
  model: PublishedModel,
  signal?: AbortSignal,
): Promise<readonly HubFile[]> {
  const transformer = `${TRANSFORMERS}/${model}/${weightFolder(publishedConfig(model).engine_config)}`;
  const textEncoder = `${TEXT_ENCODERS}/${T5_FOLDER}`;
  const all = [...files.keys()];
  const lacking = [transformer, textEncoder, VAE].filter((path) => !all.some((file) => file.startsWith(`${path}/`)));
  if (lacking.length > 0) {
    const models = new Set(all.map((path) => /^ckpt\/magi\/([^/]+)\//.exec(path)?.[1]).filter(Boolean));
    throw new Magi1Error(
      `${name}: has no ${lacking.join(', no ')}; ${models.size > 0 ? `its models: ${[...models].join(', ')}` : 'it is not in the layout of sand-ai/MAGI-1'}`,
    );
  }
  const weights = async (path: string) =>
    (await checkpointFiles(folder.at(path), { signal })).map((file) => `${path}/${file}`);
  const paths = [
    ...TOKENIZER.map((file) => `${textEncoder}/${file}`).filter((path) => files.has(path)),
    ...[textEncoder, VAE].map((path) => `${path}/${CONFIG}`),
    ...(await Promise.all([transformer, textEncoder, VAE].map(weights))).flat(),
  ];
  const missing = paths.filter((path) => !files.has(path));
  if (!TOKENIZER.slice(0, 2).some((file) => files.has(`${textEncoder}/${file}`)))
    missing.push(
      TOKENIZER.slice(0, 2)
        .map((file) => `${textEncoder}/${file}`)
        .join(' or '),
    );
  if (missing.length > 0) throw new Magi1Error(`${name}: lacks ${missing.join(', ')}`);
  return paths.map((path) => files.get(path)!).sort((a, b) => a.size - b.size);
}
