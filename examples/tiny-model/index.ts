// The tiny model's weights, its memory plan and what it says.
import { readFile } from 'node:fs/promises';
import { CheckedWeights, Params } from '@magi1/core/model';
import { openCheckpoint } from '@magi1/loaders';
import { MetaDevice } from '@magi1/tensor';
import type { Device } from '@magi1/tensor';
import type { TinyConfig } from './config.ts';
import { TinyModel } from './model.ts';

export { TinyModel } from './model.ts';

/** One for each token. */
export const LETTERS = '0123456789+=.';
export const WEIGHTS = new URL(
  import.meta.url.includes('/dist/') ? '../../tiny-model/weights/' : 'weights/',
  import.meta.url,
);

async function readConfig(): Promise<TinyConfig> {
  return JSON.parse(await readFile(new URL('config.json', WEIGHTS), 'utf8')) as TinyConfig;
}

/** The model on a device; `params.dispose()` frees it. Throws Magi1Error when the file does not fit the config. */
export async function loadTinyModel(device: Device): Promise<{ model: TinyModel; params: Params }> {
  const config = await readConfig();
  const checkpoint = await openCheckpoint(new URL('model.safetensors', WEIGHTS).pathname);
  try {
    return await new CheckedWeights(checkpoint, { build }).load(device);
  } finally {
    await checkpoint.close();
  }

  function build(params: Params): { model: TinyModel; params: Params } {
    return { model: new TinyModel(params, config), params };
  }
}

/** What a forward of so many tokens takes on a device like the given one, in bytes and operations: a dry run. */
export async function planTinyModel(
  device: Device,
  tokens: number,
): Promise<{ weights: number; peak: number; flops: number }> {
  const meta = MetaDevice.like(device);
  const params = Params.meta(meta, () => 'f32');
  const model = new TinyModel(params, await readConfig());
  const weights = meta.memory().inUse;
  model.forward(new Array<number>(tokens).fill(0)).dispose();
  return { weights, peak: meta.memory().peak, flops: meta.counts.flops };
}

/** Continues a text by the likeliest letters up to a full stop, which is left out. */
export async function complete(model: TinyModel, text: string): Promise<string> {
  const tokens = Array.from(text, (letter) => LETTERS.indexOf(letter));
  if (tokens.includes(-1)) throw new RangeError(`the model knows ${LETTERS} only, got '${text}'`);
  let answer = '';
  while (answer.length < 8) {
    const logits = model.forward(tokens);
    const last = (await logits.toFloat32()).subarray(-LETTERS.length);
    logits.dispose();
    const token = last.indexOf(Math.max(...last));
    if (LETTERS[token] === '.') break;
    answer += LETTERS[token]!;
    tokens.push(token);
  }
  return answer;
}
