// What an option is, and what may be wrong with its value, one kind of value after the other. Nothing of a value is known
// before.
import { Magi1Error, describeValue, isOptions } from '@magi1/tensor';
import type { SpecialTokenSwitches } from '../config/environment.ts';
import type { Magi1Config } from '../config/index.ts';
import { usablePrefixFrames } from '../media/prefix-frames.ts';
import { MAX_SIDE, checkFrames, isRgbFrames } from '../media/rgb-frames.ts';
import type { MediaInput, RgbFrames } from '../media/rgb-frames.ts';
import { option, worded } from '../wording.ts';
import type { OptionName, Wording } from '../wording.ts';
import type { ChunkPrompt, ModeName, TextEmbeds } from './request.ts';
import type { RunState } from './kept.ts';

/** What is wrong with a value that was given for the option `name`. */
export type Check = (value: unknown, name: string, config: Magi1Config) => readonly Wording[];

/** An option as a flag of the command line. */
export interface Flag {
  readonly name: string;
  /** How the flag's text is read: as one of these kinds, or as one of a list of names. */
  readonly reads: 'text' | 'whole number' | 'number' | 'switch' | 'timed prompts' | readonly string[];
  /** Placeholder of its value in the help text. */
  readonly value?: string;
  readonly help: string;
  /** The original's name of it, where that differs in more than underscores. */
  readonly alias?: string;
  /** Of flags of some modes: what they say. */
  readonly says?: string;
}

/** What the table of options says of one. */
export interface RequestOption {
  /** Modes that have it; all where left out. */
  readonly modes?: readonly ModeName[];
  /** What must be given. */
  readonly required?: string;
  readonly check: Check;
  readonly flag?: Flag;
  /** The special token that it switches. */
  readonly token?: keyof SpecialTokenSwitches;
  /** Its name in the documented pipelines. */
  readonly documented?: string;
  /** How the command line has it, where that is no flag of its own. */
  readonly elsewhere?: string;
  /** For docs/options.md, in Markdown. */
  readonly does: string;
}

export function hasOption(mode: ModeName, { modes }: RequestOption): boolean {
  return modes === undefined || modes.includes(mode);
}

/**
 * The largest requests that are planned: beyond them a plan alone would fill the memory of the machine. Frames of over an
 * hour at 24 fps, the steps of a whole noise schedule, and sides that media have as well.
 */
export const LIMITS = {
  height: MAX_SIDE,
  width: MAX_SIDE,
  numFrames: 100_000,
  numInferenceSteps: 1000,
  prefixFrames: 100_000,
  numVideosPerPrompt: 10_000,
} as const;

/** Guidance and strengths far beyond what gives a picture; float32 holds what comes of them. */
export const MAX_SCALE = 1e6;

/** What is wrong with a number that a request or a config gives, `called` being its name there. */
export function limitFault(limited: keyof typeof LIMITS, value: number, called?: string): Wording[] {
  if (value <= LIMITS[limited]) return [];
  const name: OptionName | string = called ?? option(limited);
  return [worded`${name}: at most ${LIMITS[limited]} expected, got ${value}`];
}

/** `NAME: WHAT expected, got VALUE`. */
export function expected(name: string, what: string, value: unknown): Wording {
  return worded`${option(name)}: ${what} expected, got ${describeValue(value)}`;
}

/** Names that are none of the known ones. */
export function unknownNames(given: object, known: readonly string[]): Wording[] {
  const names = Object.keys(given).filter((name) => !known.includes(name));
  if (names.length === 0) return [];
  return [
    worded`unknown ${names.length === 1 ? 'option' : 'options'} ${names.join(', ')} (known: ${known.join(', ')})`,
  ];
}

/** A check by one question. */
export function a(what: string, fits: (value: unknown) => boolean): (value: unknown, name: string) => Wording[] {
  return (value, name) => (fits(value) ? [] : [expected(name, what, value)]);
}

export const aFunction = a('a function', (value) => typeof value === 'function');
export const anAbortSignal = a('an AbortSignal', (value) => value instanceof AbortSignal);
export const trueOrFalse = a('true or false', (value) => typeof value === 'boolean');
export const aChunk = a('a whole number from 0 up', (value) => Number.isSafeInteger(value) && (value as number) >= 0);
export const aRunState = a('a state that onState was called with, or decodeRunState gives,', (value) => {
  if (!isOptions(value)) return false;
  const { identity, latents, step, firstChunk } = value as Partial<RunState>;
  return isOptions(identity) && latents instanceof Map && [step, firstChunk].every(Number.isSafeInteger);
});
export const aWholeNumber = a('a whole number', Number.isSafeInteger);

/** Numbers too large to be safe whole numbers are above the limit, whatever else they are. */
export const aCount: Check = (value, name) =>
  Number.isInteger(value) && (value as number) > 0
    ? limitFault(name as keyof typeof LIMITS, value as number)
    : [expected(name, 'a whole number above 0', value)];

export const aPrefixLength: Check = (value, name, config) => {
  const faults = aCount(value, name, config);
  return faults.length > 0 ? faults : prefixFaults(value as number, config.runtime_config.fps);
};

export const aTextLength: Check = (value, name, { model_config: { caption_max_length: longest } }) =>
  Number.isSafeInteger(value) && (value as number) >= 1 && (value as number) <= longest
    ? []
    : [expected(name, `a whole number from 1 to ${longest} (caption_max_length)`, value)];

export const media: Check = (value, name) => {
  try {
    if (isRgbFrames(name, value as MediaInput)) checkFrames(name, value as RgbFrames);
    return [];
  } catch (error) {
    if (error instanceof Magi1Error) return [worded`${error.message}`];
    throw error;
  }
};

export const distillation: Check = (wanted, name, { engine_config: { distill } }) => {
  if (typeof wanted !== 'boolean') return trueOrFalse(wanted, name);
  if (wanted === distill) return [];
  return [
    wanted
      ? worded`${option(name)}: this is a base checkpoint (engine_config.distill is false), whose steps cannot be shortened this way; open a distilled checkpoint instead`
      : worded`${option(name)}: this is a distilled checkpoint (engine_config.distill is true), which gives garbage with the base settings; open a base checkpoint instead`,
  ];
};

export const nearlyCleanThreshold: Check = (value, name, { runtime_config: runtime }) => {
  if (!Number.isFinite(value)) return [expected(name, 'a number', value)];
  if (runtime.cfg_number === 1) return [];
  return [
    worded`${option(name)}: it acts on checkpoints that run in one pass (distilled, fp8), this is a base one; leave it out`,
  ];
};

/** One of a kind or a list of them, which is a batch. */
export function oneOrMore(fault: (value: unknown, config: Magi1Config) => string | undefined): Check {
  return (given, name, config) => {
    if (!Array.isArray(given)) return named(option(name), fault(given, config));
    if (given.length === 0) return [worded`${option(name)}: a list with at least one entry expected`];
    return listFaults(given, name, (value) => fault(value, config));
  };
}

export const chunkPrompts: Check = (given, name, config) =>
  Array.isArray(given)
    ? listFaults(given, name, (part) => chunkPromptFault(part, config))
    : [expected(name, 'a list', given)];

const named = (name: OptionName, fault: string | undefined): Wording[] =>
  fault === undefined ? [] : [worded`${name}: ${fault}`];

/** From a list with holes too, whose entries a plain map would skip. */
function listFaults(given: unknown[], name: string, fault: (value: unknown) => string | undefined): Wording[] {
  return Array.from(given).flatMap((value, i) => named(option(name, i), fault(value)));
}

/** Of a prompt, wherever it is given. */
export function promptFault(value: unknown): string | undefined {
  return typeof value === 'string' ? undefined : `text expected, got ${describeValue(value)}`;
}

export function embedsFault(value: unknown, { model_config: model }: Magi1Config): string | undefined {
  const { caption_channels: width, caption_max_length: maxLength } = model;
  const { rows, length, mask } = (value ?? {}) as Partial<TextEmbeds>;
  if (!(rows instanceof Float32Array) || !Number.isSafeInteger(length) || length! < 0)
    return `{ rows: Float32Array of [length, ${width}], length } expected, got ${describeValue(value)}`;
  if (rows.length !== length! * width)
    return `${length!} rows of ${width} features are ${length! * width} values, got ${rows.length}`;
  if (length! > maxLength) return `at most ${maxLength} rows expected (caption_max_length), got ${length!}`;
  if (!rows.every(Number.isFinite)) return 'finite values expected';
  if (mask === undefined) return undefined;
  const count = (mask as ArrayLike<number> | null)?.length;
  if (count === undefined || count !== length)
    return `a mask of ${length!} values expected, got ${count ?? describeValue(mask)}`;
  const valid = validRows({ rows, length, mask });
  const ordered = Array.from(mask).every((on, i) => on === (i < valid ? 1 : 0));
  return ordered ? undefined : 'a mask of ones, then zeros, expected';
}

/** Rows that count. */
export function validRows({ length, mask }: TextEmbeds): number {
  return mask === undefined ? length : Array.from(mask).filter((on) => on === 1).length;
}

const CHUNK_PROMPT_FIELDS = ['prompt', 'promptEmbeds', 'chunk', 'second'];

function chunkPromptFault(part: unknown, config: Magi1Config): string | undefined {
  if (!isOptions(part)) return `{ prompt, chunk or second } expected, got ${describeValue(part)}`;
  const { prompt, promptEmbeds, chunk, second } = part as ChunkPrompt;
  const unknown = Object.keys(part).filter((name) => !CHUNK_PROMPT_FIELDS.includes(name));
  if (unknown.length > 0) return `unknown option ${unknown.join(', ')} (known: ${CHUNK_PROMPT_FIELDS.join(', ')})`;
  if ((prompt === undefined) === (promptEmbeds === undefined)) return 'give prompt or promptEmbeds';
  if ((chunk === undefined) === (second === undefined)) return 'say the chunk or the second it starts at';
  if (chunk !== undefined && !(Number.isSafeInteger(chunk) && chunk >= 0))
    return `chunk: a whole number from 0 up expected, got ${describeValue(chunk)}`;
  if (second !== undefined && !(Number.isFinite(second) && second >= 0))
    return `second: a number from 0 up expected, got ${describeValue(second)}`;
  if (prompt !== undefined) return promptFault(prompt);
  return promptEmbeds!.length === 0 ? 'at least one row expected' : embedsFault(promptEmbeds, config);
}

/** What is wrong with a number of prefix frames that was asked for, whatever the clip. */
function prefixFaults(wanted: number, fps: number): Wording[] {
  const { used, note } = usablePrefixFrames(wanted, fps);
  if (used === wanted) return [];
  let above = wanted;
  while (above < wanted + fps && usablePrefixFrames(above, fps).used !== above) above++;
  const nearest = [used, above].filter((frames) => frames > 0 && usablePrefixFrames(frames, fps).used === frames);
  return [
    worded`${option('prefixFrames')}: ${note ?? `${wanted} frames cannot be used`}${nearest.length > 0 ? `; nearest valid: ${nearest.join(' and ')}` : ''}`,
  ];
}
