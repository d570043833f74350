// The texts of a request: prompts, embeddings, negative ones, prompts of later chunks; checked, and put to chunks.
import type { TextRows } from '../text/conditioning.ts';
import { RequestError, option, worded } from '../wording.ts';
import type { OptionName, Wording } from '../wording.ts';
import { describe } from '../describe.ts';
import type { ChunkPrompt, GenerationOptions, TextEmbeds } from './request.ts';

/** A text to encode, or its T5 features. */
export type TextSource = { readonly prompt: string } | { readonly embeds: TextRows };

export interface Texts {
  readonly caption: TextSource;
  /** Captions that take over at later chunks, counted among those that are made; in their order. */
  readonly later: readonly { readonly chunk: number; readonly source: TextSource }[];
  readonly negative: TextSource | undefined;
  /** Prompts that start earlier than was asked for. */
  readonly notes: readonly string[];
}

export interface TextLimits {
  /** caption_channels */
  readonly width: number;
  /** caption_max_length */
  readonly maxLength: number;
}

/** Everything that is wrong with the texts of a request, as far as its chunks need not be known. */
export function textFaults(request: GenerationOptions, limits: TextLimits): Wording[] {
  const { prompt, promptEmbeds, negativePrompt, negativePromptEmbeds, chunkPrompts } = request;
  const faults = [
    ...eachFault('prompt', prompt, promptFault),
    ...eachFault('promptEmbeds', promptEmbeds, (embeds) => embedsFault(embeds, limits)),
    ...eachFault('negativePrompt', negativePrompt, promptFault),
    ...eachFault('negativePromptEmbeds', negativePromptEmbeds, (embeds) => embedsFault(embeds, limits)),
    ...chunkPromptFaults(chunkPrompts, limits),
  ];
  if (prompt !== undefined && promptEmbeds !== undefined)
    faults.push(worded`${option('prompt')} and ${option('promptEmbeds')}: give one of them, not both`);
  if (negativePrompt !== undefined && negativePromptEmbeds !== undefined)
    faults.push(worded`${option('negativePrompt')} and ${option('negativePromptEmbeds')}: give one of them, not both`);
  const fromStart =
    Array.isArray(chunkPrompts) &&
    (chunkPrompts as (ChunkPrompt | null)[]).some((part) => part?.chunk === 0 || part?.second === 0);
  if (prompt === undefined && promptEmbeds === undefined && !fromStart)
    faults.push(worded`${option('prompt')}: text expected, got nothing (nor ${option('promptEmbeds')})`);
  const negative = negativePrompt ?? negativePromptEmbeds;
  if (faults.length === 0 && Array.isArray(negative) && negative.length !== countPrompts(request))
    faults.push(
      worded`${option(negativePrompt === undefined ? 'negativePromptEmbeds' : 'negativePrompt')}: ${negative.length} given for ${countPrompts(request)} prompts; give one, or one for each prompt`,
    );
  return faults;
}

/** Prompts of a batch; 1 where there is no list. */
export function countPrompts({ prompt, promptEmbeds }: GenerationOptions): number {
  const given: unknown = prompt ?? promptEmbeds;
  return Array.isArray(given) ? given.length : 1;
}

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
export function resolveTexts(request: GenerationOptions, firstFrames: readonly number[], fps: number): Texts {
  const given = request.prompt !== undefined || request.promptEmbeds !== undefined;
  const later: { chunk: number; index: number; source: TextSource }[] = [];
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
    later.push({ chunk, index, source: sourceOf(part.prompt, part.promptEmbeds) });
    const start = seconds(firstFrames[chunk]! / fps);
    if (part.second !== undefined && seconds(part.second) !== start)
      notes.push(`the prompt for second ${part.second} acts from ${start} s on, where its chunk starts`);
  }
  later.sort((a, b) => a.chunk - b.chunk);
  const caption = given ? sourceOf(single(request.prompt), single(request.promptEmbeds)) : later.shift()!.source;
  const negative =
    request.negativePrompt === undefined && request.negativePromptEmbeds === undefined
      ? undefined
      : sourceOf(single(request.negativePrompt), single(request.negativePromptEmbeds));
  return { caption, later: later.map(({ chunk, source }) => ({ chunk, source })), negative, notes };
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
export function single<T>(value: T | readonly T[] | undefined): T | undefined {
  return Array.isArray(value) ? (value as readonly T[])[0] : (value as T | undefined);
}

function sourceOf(prompt: string | undefined, embeds: TextEmbeds | undefined): TextSource {
  if (prompt !== undefined) return { prompt };
  const { rows, mask } = embeds!;
  return { embeds: { rows, length: mask === undefined ? embeds!.length : validRows(mask) } };
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

function eachFault(name: string, given: unknown, fault: (value: unknown) => string | undefined): Wording[] {
  if (given === undefined) return [];
  if (Array.isArray(given) && given.length === 0)
    return [worded`${option(name)}: a list with at least one entry expected`];
  const values: readonly unknown[] = Array.isArray(given) ? Array.from(given as unknown[]) : [given];
  return values.flatMap((value, i) => {
    const found = fault(value);
    return found === undefined ? [] : [worded`${option(name, Array.isArray(given) ? i : undefined)}: ${found}`];
  });
}

/** Of a prompt, wherever it is given. */
export function promptFault(value: unknown): string | undefined {
  return typeof value === 'string' ? undefined : `text expected, got ${describe(value)}`;
}

function embedsFault(value: unknown, { width, maxLength }: TextLimits): string | undefined {
  const { rows, length, mask } = (value ?? {}) as Partial<TextEmbeds>;
  if (!(rows instanceof Float32Array) || !Number.isSafeInteger(length) || length! < 0)
    return `{ rows: Float32Array of [length, ${width}], length } expected, got ${describe(value)}`;
  if (rows.length !== length! * width)
    return `${length!} rows of ${width} features are ${length! * width} values, got ${rows.length}`;
  if (length! > maxLength) return `at most ${maxLength} rows expected (caption_max_length), got ${length!}`;
  if (!rows.every(Number.isFinite)) return 'finite values expected';
  if (mask === undefined) return undefined;
  if (mask.length !== length) return `a mask of ${length!} values expected, got ${mask.length}`;
  const valid = validRows(mask);
  const ordered = Array.from(mask).every((on, i) => on === (i < valid ? 1 : 0));
  return ordered ? undefined : 'a mask of ones, then zeros, expected';
}

function validRows(mask: ArrayLike<number>): number {
  return Array.from(mask).filter((on) => on === 1).length;
}

function chunkPromptFaults(given: unknown, limits: TextLimits): Wording[] {
  if (given === undefined) return [];
  if (!Array.isArray(given)) return [worded`${option('chunkPrompts')}: a list expected, got ${describe(given)}`];
  // From a list with holes too, whose entries a plain map would skip.
  return Array.from(given as unknown[]).flatMap((part, i) => {
    const found = chunkPromptFault(part, limits);
    return found === undefined ? [] : [worded`${option('chunkPrompts', i)}: ${found}`];
  });
}

const CHUNK_PROMPT_FIELDS = ['prompt', 'promptEmbeds', 'chunk', 'second'];

function chunkPromptFault(part: unknown, limits: TextLimits): string | undefined {
  if (typeof part !== 'object' || part === null) return `{ prompt, chunk or second } expected, got ${describe(part)}`;
  const { prompt, promptEmbeds, chunk, second } = part as ChunkPrompt;
  const unknown = Object.keys(part).filter((name) => !CHUNK_PROMPT_FIELDS.includes(name));
  if (unknown.length > 0) return `unknown option ${unknown.join(', ')} (known: ${CHUNK_PROMPT_FIELDS.join(', ')})`;
  if ((prompt === undefined) === (promptEmbeds === undefined)) return 'give prompt or promptEmbeds';
  if ((chunk === undefined) === (second === undefined)) return 'say the chunk or the second it starts at';
  if (chunk !== undefined && !(Number.isSafeInteger(chunk) && chunk >= 0))
    return `chunk: a whole number from 0 up expected, got ${describe(chunk)}`;
  if (second !== undefined && !(Number.isFinite(second) && second >= 0))
    return `second: a number from 0 up expected, got ${describe(second)}`;
  if (prompt !== undefined) return promptFault(prompt);
  return promptEmbeds!.length === 0 ? 'at least one row expected' : embedsFault(promptEmbeds, limits);
}
