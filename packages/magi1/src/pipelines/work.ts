// How a run's work spreads over its stages, roughly: multiply-adds of the linear layers, and bytes to load.
import { countChunkForwards } from '../sampler/index.ts';
import type { CheckedRequest } from './check-request.ts';
import type { ModelParts, Part } from './parts.ts';
import type { Work } from './progress.ts';

/** Multiply-adds that take as long as a byte takes to be loaded. */
const PER_BYTE = 50;
/** Tokens of a usual prompt: only the tokenizer knows, and the share is small. */
const PROMPT_TOKENS = 40;

/** @param loading bytes of the networks that have to be loaded */
export function estimateWork(parts: ModelParts, checked: CheckedRequest, loading: number): Work {
  const { settings, plan, texts } = checked;
  const { model_config: model, runtime_config: runtime } = parts.source.config;
  const { patch_length, patch_size } = parts.vaeConfig;
  const [transformer, textEncoder, vae] = [parts.transformer, parts.textEncoder, parts.vae].map(parametersOf);
  const side = 8 * model.patch_size;
  const area = settings.height * settings.width;
  const tokens = (runtime.chunk_width / model.t_patch_size) * (area / side ** 2);
  const patches = (frames: number) => (frames / patch_length) * (area / patch_size ** 2);
  const prompts = promptsOf(texts);
  return {
    loading: PER_BYTE * loading,
    text: textEncoder! * PROMPT_TOKENS * prompts,
    encoding: (vae! / 2) * patches(settings.prefixFrames),
    denoising: transformer! * tokens * countChunkForwards(plan).planned,
    decoding: settings.outputType === 'latents' ? 0 : (vae! / 2) * patches(settings.frames),
  };
}

/** Texts that the text encoder has to read. */
export function promptsOf({ caption, later, negative }: CheckedRequest['texts']): number {
  return [caption, ...later.map(({ source }) => source), negative].filter(
    (source) => source !== undefined && 'prompt' in source,
  ).length;
}

function parametersOf({ entries }: Part<unknown>): number {
  let count = 0;
  for (const { shape } of entries.values()) count += shape.reduce((product, dim) => product * dim, 1);
  return count;
}
