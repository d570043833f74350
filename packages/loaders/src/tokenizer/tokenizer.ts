// The T5 tokenizer: special tokens are cut out of the raw text, the rest is normalised, split into words and each word
// into pieces. Own code instead of @huggingface/tokenizers, which replaces the model's character map by NFKC.
import { FileFormatError, Magi1Error } from '@magi1/tensor';
import { readSentencePieceModel } from './sentencepiece-model.ts';
import { readTokenizerJson } from './tokenizer-json.ts';
import {
  LEADING_SPACE,
  SPACE_MARK,
  TRAILING_SPACE,
  type SpecialToken,
  type TokenizerModel,
} from './tokenizer-model.ts';
import { compileUnigram } from './unigram.ts';

/** Contents of a model folder's tokenizer files; tokenizer.json is taken if both are given, as the original does. */
export interface TokenizerFiles {
  /** spiece.model */
  readonly spiece?: Uint8Array;
  /** tokenizer.json */
  readonly tokenizerJson?: string;
  /** tokenizer_config.json, of which spiece.model needs `extra_ids` and `legacy`; defaults to 100 and true. */
  readonly tokenizerConfig?: string;
}

export interface PaddedIds {
  /** [maxLength], padded on the right. */
  readonly inputIds: Int32Array;
  /** [maxLength], 1 for tokens, 0 for padding. */
  readonly attentionMask: Int32Array;
}

export interface Tokenizer {
  /** Number of ids, `<extra_id_N>` included; the embedding of the model may have more rows. */
  readonly vocabularySize: number;
  readonly padId: number;
  readonly endId: number;
  /** Token ids of `text`, with the end token last. */
  encode(text: string): number[];
  /** Exactly `maxLength` ids: too long a text keeps its first `maxLength - 1` ids and the end token. */
  encodePadded(text: string, maxLength: number): PaddedIds;
}

/**
 * Loads a T5 tokenizer with the ids of Hugging Face's T5TokenizerFast.
 * @throws FileFormatError if a file is corrupt or describes another kind of tokenizer
 */
export function loadTokenizer(files: TokenizerFiles): Tokenizer {
  const model = readModel(files);
  const encodeText = compileEncoder(model);
  const ids = [...model.specialTokens.map(({ id }) => id), model.vocabulary.pieces.length - 1];

  function encode(text: string): number[] {
    return [...encodeText(text), model.endId];
  }
  return {
    vocabularySize: Math.max(...ids) + 1,
    padId: model.padId,
    endId: model.endId,
    encode,
    encodePadded(text, maxLength) {
      if (!Number.isInteger(maxLength) || maxLength < 1) {
        throw new Magi1Error(`tokenizer: maxLength is ${maxLength}, expected a whole number of at least 1`);
      }
      const tokens = encode(text);
      if (tokens.length > maxLength) tokens.splice(maxLength - 1, Infinity, model.endId);
      const inputIds = new Int32Array(maxLength).fill(model.padId);
      inputIds.set(tokens);
      return { inputIds, attentionMask: new Int32Array(maxLength).fill(1, 0, tokens.length) };
    },
  };
}

function readModel({ spiece, tokenizerJson, tokenizerConfig }: TokenizerFiles): TokenizerModel {
  if (tokenizerJson !== undefined) return readTokenizerJson(tokenizerJson);
  if (spiece === undefined) throw new FileFormatError('tokenizer: neither tokenizer.json nor spiece.model was given');
  const { extraIds, legacy } = readConfig(tokenizerConfig);
  return { ...readSentencePieceModel(spiece, extraIds), prependSpace: legacy ? 'always' : 'first' };
}

/** T5 has 100. */
const MAX_EXTRA_IDS = 100_000;

function readConfig(text = '{}'): { extraIds: number; legacy: boolean } {
  let config: unknown;
  try {
    config = JSON.parse(text);
  } catch (cause) {
    throw new FileFormatError('tokenizer_config.json: not JSON', { cause });
  }
  if (typeof config !== 'object' || config === null)
    throw new FileFormatError('tokenizer_config.json: expected an object');
  const { extra_ids: extraIds = 100, legacy } = config as { extra_ids?: unknown; legacy?: unknown };
  if (typeof extraIds !== 'number' || !Number.isInteger(extraIds) || extraIds < 0 || extraIds > MAX_EXTRA_IDS) {
    throw new FileFormatError(
      `tokenizer_config.json: extra_ids is ${JSON.stringify(extraIds)}, expected a whole number up to ${MAX_EXTRA_IDS}`,
    );
  }
  return { extraIds, legacy: legacy !== false };
}

const WHITE_SPACE = /\p{White_Space}+/u;

/** A stretch of raw text, or a special token in it. */
type Section = { readonly text: string; readonly start: number } | SpecialToken;

function compileEncoder(model: TokenizerModel): (text: string) => number[] {
  const encodeWord = compileUnigram(model.vocabulary);
  const sections = compileSplitter(model.specialTokens);
  return (text) =>
    sections(text).flatMap((section) => {
      if ('id' in section) return [section.id];
      const normalized = model.normalize(section.text);
      const stretches = model.splitsWhiteSpace ? normalized.split(WHITE_SPACE) : [normalized];
      return stretches.flatMap((stretch, i) => {
        const marked = stretch.replaceAll(' ', SPACE_MARK);
        if (marked === '') return [];
        const prepends = model.prependSpace === 'always' || (section.start === 0 && i === 0);
        const whole = prepends && !marked.startsWith(SPACE_MARK) ? SPACE_MARK + marked : marked;
        // A word goes from one space mark to just before the next.
        return whole.split(/(?=▁)/).flatMap(encodeWord);
      });
    });
}

/** Cuts special tokens out of a text: the leftmost first, of several at one place the longest. */
function compileSplitter(specialTokens: readonly SpecialToken[]): (text: string) => Section[] {
  const byText = new Map(specialTokens.map((token) => [token.text, token]));
  const longestFirst = [...byText.keys()].sort((a, b) => b.length - a.length);
  if (longestFirst.length === 0) return (text) => [{ text, start: 0 }];
  const anyToken = new RegExp(longestFirst.map((text) => text.replace(/[\\^$.*+?()[\]{}|/]/g, '\\$&')).join('|'), 'gu');

  return (text) => {
    const sections: Section[] = [];
    let start = 0;
    let stripsNext = false;
    const addText = (end: number, stripsEnd: boolean): void => {
      let part = text.slice(start, end);
      if (stripsNext) part = part.replace(LEADING_SPACE, '');
      if (stripsEnd) part = part.replace(TRAILING_SPACE, '');
      if (part !== '') sections.push({ text: part, start });
    };
    for (const match of text.matchAll(anyToken)) {
      const token = byText.get(match[0]);
      if (!token) continue;
      addText(match.index, token.stripLeft);
      sections.push(token);
      start = match.index + match[0].length;
      stripsNext = token.stripRight;
    }
    addText(text.length, false);
    return sections;
  };
}
