// What of a request decides its memory.
import type { Tokenizer } from '@magi1/loaders';
import type { LoraChoice } from '../lora/lora-set.ts';
import { cleanPromptInTurns } from '../text/clean/clean-caption.ts';
import type { RunSize } from './memory-plan.ts';
import type { TextRows } from '../text/conditioning.ts';
import { NO_PREFIX } from './mode.ts';
import type { ModelFolder } from './model-folder.ts';
import { planRequest } from './prepare.ts';
import type { CheckedRequest } from './prepare.ts';

type Planned = Pick<CheckedRequest, 'settings' | 'sampling'>;
type Loras = Pick<LoraChoice, 'ranks' | 'deviceBytes'>;
const NO_LORAS: Loras = { ranks: new Map(), deviceBytes: 0 };

/** Of a request; its prompts are tokenised. */
export async function sizeOf(
  { settings, sampling: plan, texts }: Pick<CheckedRequest, 'settings' | 'sampling' | 'texts'>,
  tokenizer: Tokenizer,
  { loras = NO_LORAS, signal }: { readonly loras?: Loras; readonly signal?: AbortSignal | undefined } = {},
): Promise<RunSize> {
  let encoded = 0;
  const tokensOf = async (text: string | TextRows): Promise<number> => {
    if (typeof text !== 'string') return text.length;
    const all = tokenizer.encode(await cleanPromptInTurns(text, signal)).length;
    const tokens = Math.min(all, settings.maxSequenceLength);
    encoded = Math.max(encoded, tokens);
    return tokens;
  };
  const caption = await tokensOf(texts.caption);
  const later = [];
  for (const { chunk, text } of texts.later) later.push({ chunk, text: await tokensOf(text) });
  const negative = texts.negative === undefined ? undefined : await tokensOf(texts.negative);
  return { ...sizes(settings, loras), plan, texts: { caption, later, negative, encoded } };
}

/** By the config alone, without a prefix and with the longest prompt. */
export function defaultSize(source: ModelFolder, loras: Loras = NO_LORAS): RunSize {
  return plannedSize(planRequest({}, NO_PREFIX, source), loras);
}

/** With the longest prompt. */
export function plannedSize({ settings, sampling }: Planned, loras: Loras = NO_LORAS): RunSize {
  const { maxSequenceLength: tokens } = settings;
  const texts = { caption: tokens, later: [], negative: undefined, encoded: tokens };
  return { ...sizes(settings, loras), plan: sampling, texts };
}

function sizes({ height, width, prefixFrames, outputType, specialTokens }: CheckedRequest['settings'], loras: Loras) {
  return {
    height,
    width,
    prefixFrames,
    outputType,
    switches: specialTokens,
    loras: loras.ranks,
    loraBytes: loras.deviceBytes,
  };
}
