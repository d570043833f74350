// Which text each chunk attends to: caption with special tokens per chunk, null text, negative prompt.
import { Magi1Error } from '@magi1/tensor';
import type { SpecialTokenSwitches } from '../config/environment.ts';
import {
  captionTokenKeys,
  negativeTokenKeys,
  prependTokens,
  resolveTokens,
  type SpecialTokenName,
  type SpecialTokenTable,
} from './special-tokens.ts';

/** Text features [length, width], valid rows only. */
export interface TextRows {
  readonly rows: Float32Array;
  readonly length: number;
}

/** Valid rows of the learned null caption. */
export const NULL_TEXT_ROWS = 50;

/** The texts of a run, before or after they are encoded. */
export interface Texts<Text> {
  readonly caption: Text;
  /** Captions that take over from a generated chunk on, by rising chunk. */
  readonly later: readonly { readonly chunk: number; readonly text: Text }[];
  /** Of what shall not be seen. */
  readonly negative: Text | undefined;
}

/** T5 features, valid rows only; the caption alone is enough. */
export interface TextConditioningInput extends Partial<Texts<TextRows>> {
  readonly caption: TextRows;
  /** `y_embedder.null_caption_embedding`; its first 50 rows are used. */
  readonly nullCaption: TextRows;
  readonly switches: SpecialTokenSwitches;
  /** Needed only if a switch is on. */
  readonly specialTokens?: SpecialTokenTable;
  /** Features per row (caption_channels). */
  readonly width: number;
  readonly captionMaxLength: number;
  /** Chunks of the video, prefix included, and whole prefix chunks among them. */
  readonly chunks: number;
  readonly prefixChunks: number;
}

export interface TextConditioning {
  /** No caption row at all, special tokens neither: the null text stands in for the caption everywhere. */
  readonly emptyText: boolean;
  /** Caption of each chunk, null for prefix chunks. Chunks with equal text share one object. */
  readonly caption: readonly (TextRows | null)[];
  /** Text of clean and prefix chunks in every pass, and of noisy chunks in passes B and U. */
  readonly nullText: TextRows;
  /** Takes the place of the null text for noisy chunks in passes B and U; null without a negative prompt. */
  readonly negative: TextRows | null;
}

/** @throws Magi1Error if a text is too long or of another width, or a switch is on without a token table */
export function conditionText(input: TextConditioningInput): TextConditioning {
  const { width, captionMaxLength, chunks, prefixChunks, switches } = input;
  checkRows('caption', input.caption, width);
  checkRows('null caption', input.nullCaption, width);
  if (input.negative) checkRows('negative prompt', input.negative, width);
  const captions = [{ chunk: 0, text: input.caption }, ...(input.later ?? [])];
  for (const { chunk, text } of captions.slice(1)) checkRows(`caption of chunk ${chunk}`, text, width);
  const keys = captionTokenKeys(switches);
  const generated = chunks - prefixChunks;
  const byName = new Map<string, TextRows>();
  const captionOf = (chunk: number): TextRows => {
    const names = resolveTokens(keys, chunk, generated);
    const which = captions.findLastIndex((from) => from.chunk <= chunk);
    const id = [which, ...names].join();
    let text = byName.get(id);
    if (!text) {
      text = withTokens(input, captions[which]!.text, names, captionMaxLength);
      byName.set(id, text);
    }
    return text;
  };
  const nullLength = Math.min(NULL_TEXT_ROWS, captionMaxLength, input.nullCaption.length);
  return {
    emptyText: keys.length === 0 && captions.every(({ text }) => text.length === 0),
    caption: Array.from({ length: chunks }, (_, c) => (c < prefixChunks ? null : captionOf(c - prefixChunks))),
    nullText: withTokens(
      input,
      firstRows(input.nullCaption, nullLength, width),
      negativeTokenKeys(switches),
      nullLength,
    ),
    negative: input.negative ? firstRows(input.negative, captionMaxLength, width) : null,
  };
}

function withTokens(
  input: TextConditioningInput,
  text: TextRows,
  names: readonly SpecialTokenName[],
  maxRows: number,
): TextRows {
  const { width, specialTokens } = input;
  if (names.length === 0) return firstRows(text, maxRows, width);
  if (!specialTokens)
    throw new Magi1Error(`special tokens are switched on (${names.join(', ')}), but there is no special_tokens.npz`);
  if (specialTokens.width !== width)
    throw new Magi1Error(`special tokens have ${specialTokens.width} features, the model's captions have ${width}`);
  const tokens = names.map((name) => specialTokens.tokens[name]);
  const rows = prependTokens(text.rows.subarray(0, text.length * width), tokens, width, maxRows);
  return { rows, length: rows.length / width };
}

function firstRows({ rows, length }: TextRows, maxRows: number, width: number): TextRows {
  const kept = Math.min(length, maxRows);
  return { rows: rows.subarray(0, kept * width), length: kept };
}

function checkRows(what: string, { rows, length }: TextRows, width: number): void {
  if (rows.length < length * width)
    throw new Magi1Error(`${what}: expected ${length} rows of ${width} features, got ${rows.length} values`);
}
