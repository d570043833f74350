// The texts of a request: put to chunks, and made T5 features.
import { refuseNotFinite } from '../not-finite.ts';
import { cleanPromptInTurns } from '../text/clean/clean-caption.ts';
import type { TextRows, Texts } from '../text/conditioning.ts';
import { RequestError, option, worded } from '../wording.ts';
import type { OptionName, Wording } from '../wording.ts';
import type { LoadingOptions, Networks } from './networks.ts';
import { validRows } from './option-checks.ts';
import type { ModelFiles } from './model.ts';
import type { EncodedPrompt, Facts, GenerationOptions, TextEmbeds } from './request.ts';

/** All prompts that say what is to be seen, those of later chunks and of a whole batch included. */
export function positivePrompts({ prompt, chunkPrompts = [] }: GenerationOptions): string[] {
  const given = typeof prompt === 'string' ? [prompt] : (prompt ?? []);
  return [...given, ...chunkPrompts.map((part) => part.prompt)].filter((text) => text !== undefined);
}

/**
 * The texts of one run; lists stand for their first entry.
 * @param firstFrames first frame of every chunk that comes out, then the number of frames
 * @throws RequestError for a prompt of a chunk that is not there, or has a prompt already
 */
export function resolveTexts(
  request: GenerationOptions,
  firstFrames: readonly number[],
  fps: number,
): Texts<string | TextRows> & { readonly notes: readonly string[] } {
  const given = request.prompt !== undefined || request.promptEmbeds !== undefined;
  const later: { chunk: number; index: number; text: string | TextRows }[] = [];
  const notes: string[] = [];
  for (const [index, part] of (request.chunkPrompts ?? []).entries()) {
    const chunk = part.chunk ?? chunkAt(part.second!, firstFrames, fps);
    const name = option('chunkPrompts', index);
    const asked = part.chunk === undefined ? `second ${part.second!}` : `chunk ${chunk}`;
    const chunks = firstFrames.length - 1;
    if (chunk >= chunks)
      throw new RequestError(
        worded`${name}: ${asked} is past the end of the video, which has ${chunks === 1 ? '1 chunk' : `${chunks} chunks`} and lasts ${seconds(firstFrames.at(-1)! / fps)} s`,
      );
    if (chunk === 0 && given) throw new RequestError(inFirstChunk(name, asked, request, firstFrames, fps));
    const other = later.find((earlier) => earlier.chunk === chunk);
    if (other !== undefined)
      throw new RequestError(
        worded`${option('chunkPrompts', other.index)} and ${name}: both start with chunk ${chunk}; chunks start at ${starts(firstFrames, fps)} s`,
      );
    later.push({ chunk, index, text: textOf(part.prompt, part.promptEmbeds) });
    const start = seconds(firstFrames[chunk]! / fps);
    if (part.second !== undefined && seconds(part.second) !== start)
      notes.push(`the prompt for second ${part.second} acts from ${start} s on, where its chunk starts`);
  }
  later.sort((a, b) => a.chunk - b.chunk);
  const caption = given ? textOf(single(request.prompt), single(request.promptEmbeds)) : later.shift()!.text;
  const negative =
    request.negativePrompt === undefined && request.negativePromptEmbeds === undefined
      ? undefined
      : textOf(single(request.negativePrompt), single(request.negativePromptEmbeds));
  return { caption, later: later.map(({ chunk, text }) => ({ chunk, text })), negative, notes };
}

/** A second prompt for the first chunk would leave the first one without any. */
function inFirstChunk(
  name: OptionName,
  asked: string,
  { prompt }: GenerationOptions,
  firstFrames: readonly number[],
  fps: number,
): Wording {
  const first = option(prompt === undefined ? 'promptEmbeds' : 'prompt');
  const remedy =
    firstFrames.length > 2
      ? `the first that another prompt can have starts at second ${seconds(firstFrames[1]! / fps)} (chunk 1)`
      : `the video has no other; more frames are needed for a second prompt`;
  return worded`${name}: ${asked} lies in the first chunk, which ${first} describes; ${remedy}`;
}

/** The one entry of a list of one. */
function single<T>(value: T | readonly T[] | undefined): T | undefined {
  return Array.isArray(value) ? (value as readonly T[])[0] : (value as T | undefined);
}

function textOf(prompt: string | undefined, embeds: TextEmbeds | undefined): string | TextRows {
  return prompt ?? { rows: embeds!.rows, length: validRows(embeds!) };
}

function chunkAt(second: number, firstFrames: readonly number[], fps: number): number {
  const frame = Math.floor(second * fps + 1e-6);
  const after = firstFrames.findIndex((first) => first > frame);
  return after < 0 ? firstFrames.length : after - 1;
}

const seconds = (value: number): string => String(Math.round(value * 1000) / 1000);

const SHOWN_STARTS = 8;

function starts(firstFrames: readonly number[], fps: number): string {
  const all = firstFrames.slice(0, -1).map((frame) => seconds(frame / fps));
  return all.length <= SHOWN_STARTS ? all.join(', ') : `${all.slice(0, SHOWN_STARTS).join(', ')}, ...`;
}

interface EncodePromptOptions extends LoadingOptions {
  readonly maxSequenceLength: number;
}

/**
 * Valid rows only.
 * @throws NotFiniteError where the text encoder gives anything else than numbers
 */
export async function encodePrompt(
  { networks, config, tokenizer }: Pick<ModelFiles, 'config' | 'tokenizer'> & { readonly networks: Networks },
  prompt: string,
  { maxSequenceLength: maxLength, signal, loading }: EncodePromptOptions,
): Promise<EncodedPrompt> {
  const { caption_channels: width } = config.model_config;
  const cleaned = await cleanPromptInTurns(prompt, signal);
  const { inputIds, attentionMask } = tokenizer.encodePadded(cleaned, maxLength);
  const length = attentionMask.indexOf(0) < 0 ? maxLength : attentionMask.indexOf(0);
  const truncated = length === maxLength && tokenizer.encode(cleaned).length > maxLength;
  using held = await networks.textEncoder({ signal, loading });
  const { textEncoder } = held.networks;
  // Masked keys are seen by no row: padding need not be run.
  const hidden = await textEncoder.encode(inputIds.slice(0, length), attentionMask.slice(0, length), { signal });
  try {
    const rows = (await hidden.toFloat32()).subarray(0, length * width);
    refuseNotFinite(rows, { stage: 'text', what: 'the features of the prompt' });
    return { rows, length, cleaned, truncated };
  } finally {
    hidden.dispose();
  }
}

/** Texts of a run that the text encoder has to read. */
export function promptsOf({ caption, later, negative }: Texts<string | TextRows>): number {
  return [caption, negative, ...later.map(({ text }) => text)].filter((text) => typeof text === 'string').length;
}

/** Encodes one after the other, features are taken as they are; and how the texts read in the facts of a run. */
export async function encodeTexts(
  { caption, later, negative }: Texts<string | TextRows>,
  maxLength: number,
  encode: (prompt: string) => Promise<EncodedPrompt>,
): Promise<{
  readonly texts: Texts<TextRows>;
  readonly notes: readonly string[];
  readonly facts: Pick<Facts, 'prompt' | 'cleanedPrompt' | 'chunkPrompts' | 'negativePrompt' | 'textTokens'>;
}> {
  const notes: string[] = [];
  const promptOf = (text: string | TextRows | undefined) => (typeof text === 'string' ? text : null);
  const rowsOf = async (text: string | TextRows, what: string): Promise<TextRows & { readonly cleaned?: string }> => {
    if (typeof text !== 'string') return text;
    const encoded = await encode(text);
    if (encoded.truncated) notes.push(`the ${what} was cut to ${maxLength} tokens`);
    return encoded;
  };
  const first = await rowsOf(caption, 'prompt');
  const others = [];
  for (const { chunk, text } of later) others.push({ chunk, text: await rowsOf(text, `prompt of chunk ${chunk}`) });
  const not = negative === undefined ? undefined : await rowsOf(negative, 'negative prompt');
  return {
    texts: { caption: first, later: others, negative: not },
    notes,
    facts: {
      prompt: promptOf(caption),
      cleanedPrompt: first.cleaned ?? null,
      chunkPrompts: later.map(({ chunk, text }) => ({ chunk, prompt: promptOf(text) })),
      negativePrompt: promptOf(negative),
      textTokens: first.length,
    },
  };
}
