// trained.json beside a model's config: what a small model was trained on, so that messages can say what it knows.
import { Magi1Error } from '@magi1/tensor';
import { fieldFaults, isRecord, kindOf, list, optional, positive, whole } from './fields.ts';
import type { Described, Field, Fields } from './fields.ts';
import type { RuntimeConfig } from './index.ts';

const matching = (expected: string, pattern: RegExp): Field<string> => ({
  expected,
  fits: (value): value is string => typeof value === 'string' && pattern.test(value),
});
const word = matching('a word in small letters', /^[\p{Ll}\p{N}]+$/u);

const FIELDS = {
  /** One sentence: what prompts the model understands. */
  knows: matching('one line', /^[^\r\n]+$/),
  /** Pixels. */
  height: whole(1),
  width: whole(1),
  /** Length of the longest clips. */
  numFrames: whole(1),
  /** Frames per second, latent frames of a chunk, and chunks that were worked on at once. */
  fps: optional(positive),
  chunkWidth: optional(whole(1)),
  windowSize: optional(whole(1)),
  /** Every word of the captions it was trained on, in small letters. */
  words: optional(list(word, 0, Infinity)),
} as const satisfies Fields;

export type Trained = Described<typeof FIELDS>;

/** @param file what to call it in messages */
export function parseTrained(json: unknown, file: string): Trained {
  if (!isRecord(json)) throw new Magi1Error(`${file}: an object expected, got ${kindOf(json)}`);
  const unknown = Object.keys(json).filter((name) => !Object.hasOwn(FIELDS, name));
  const faults = [...unknown.map((name) => `${name}: unknown field`), ...fieldFaults(json, FIELDS)];
  if (faults.length > 0) throw new Magi1Error(`${file}: ${faults.join('; ')}`);
  return json as never;
}

/** Of a run: pixels, frames that are made and given, and their rate. */
type RunSizes = Readonly<Record<'height' | 'width' | 'frames' | 'prefixFrames' | 'fps', number>>;

/** One note about a run of other sizes than the model has seen. */
export function untrainedSize(
  trained: Trained,
  { height, width, frames, prefixFrames, fps }: RunSizes,
  { chunk_width, window_size }: Pick<RuntimeConfig, 'chunk_width' | 'window_size'>,
): string[] {
  const faults: string[] = [];
  if (height !== trained.height || width !== trained.width)
    faults.push(`${width}x${height} where it was trained on ${trained.width}x${trained.height}`);
  if (prefixFrames + frames > trained.numFrames)
    faults.push(`${prefixFrames + frames} frames where it was trained on up to ${trained.numFrames}`);
  for (const [what, value, known] of [
    ['fps', fps, trained.fps],
    ['chunk_width', chunk_width, trained.chunkWidth],
    ['window_size', window_size, trained.windowSize],
  ] as const)
    if (known !== undefined && value !== known) faults.push(`${what} ${value} where it was trained with ${known}`);
  return faults.length === 0 ? [] : [`a size this model does not know, expect less of it: ${faults.join(', ')}`];
}

const SHOWN_WORDS = 8;
const SHOWN_LETTERS = 30;
/** Of a prompt that is looked at: more is never read by a text encoder. */
const READ_LETTERS = 20_000;

/** One note about prompts with words that the model has never seen, or with none at all. */
export function unknownWords({ words, knows }: Trained, prompts: readonly string[]): string[] {
  if (words === undefined) return [];
  const known = new Set(words);
  const wordsOf = (prompt: string) =>
    prompt
      .slice(0, READ_LETTERS)
      .toLowerCase()
      .match(/[\p{L}\p{M}\p{N}]+/gu) ?? [];
  const unknown = [...new Set(prompts.flatMap(wordsOf))].filter((word) => !known.has(word));
  const notes: string[] = [];
  if (unknown.length > 0) {
    const shown = unknown
      .slice(0, SHOWN_WORDS)
      .map((word) => (word.length > SHOWN_LETTERS ? `${word.slice(0, SHOWN_LETTERS)}...` : word));
    const more = unknown.length > shown.length ? ` and ${unknown.length - shown.length} more` : '';
    const what = unknown.length === 1 ? 'the word' : 'the words';
    notes.push(`this model does not know ${what} ${shown.join(', ')}${more}: it knows ${knows}`);
  }
  if (prompts.some((prompt) => wordsOf(prompt).length === 0))
    notes.push(`a prompt without words leaves to this model what to show: it knows ${knows}`);
  return notes;
}
