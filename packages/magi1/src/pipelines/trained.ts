// trained.json beside a model's config: what a small model was trained on, so that messages can say what it knows.
import { Magi1Error } from '@magi1/tensor';
import { z } from 'zod';
import type { RuntimeConfig } from '../config/index.ts';
import type { Settings } from './request.ts';

const trainedSchema = z.strictObject({
  /** One sentence: what prompts the model understands. */
  knows: z.string().regex(/^[^\r\n]+$/, 'one line expected'),
  /** Pixels. */
  height: z.int().positive(),
  width: z.int().positive(),
  /** Length of the longest clips. */
  numFrames: z.int().positive(),
  /** Frames per second, latent frames of a chunk, and chunks that were worked on at once. */
  fps: z.number().positive().optional(),
  chunkWidth: z.int().positive().optional(),
  windowSize: z.int().positive().optional(),
  /** Every word of the captions it was trained on, in small letters. */
  words: z.array(z.string().regex(/^[\p{Ll}\p{N}]+$/u, 'words in small letters expected')).optional(),
});

export type Trained = z.infer<typeof trainedSchema>;

/** @param file what to call it in messages */
export function parseTrained(json: unknown, file: string): Trained {
  const parsed = trainedSchema.safeParse(json);
  if (parsed.success) return parsed.data;
  const faults = parsed.error.issues.map(({ path, message }) => `${path.join('.')}: ${message}`);
  throw new Magi1Error(`${file}: ${faults.join('; ')}`);
}

/** One note about a run of other sizes than the model has seen. */
export function untrainedSize(
  trained: Trained,
  { height, width, frames, prefixFrames, fps }: Pick<Settings, 'height' | 'width' | 'frames' | 'prefixFrames' | 'fps'>,
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
