// What a T5 tokenizer consists of, read from either of its two file formats.
import type { UnigramVocabulary } from './unigram.ts';

/** A token that is found literally in the raw text, before normalisation. */
export interface SpecialToken {
  readonly id: number;
  readonly text: string;
  /** Swallow white space on that side. */
  readonly stripLeft: boolean;
  readonly stripRight: boolean;
}

export interface TokenizerModel {
  readonly vocabulary: UnigramVocabulary;
  readonly specialTokens: readonly SpecialToken[];
  readonly normalize: (text: string) => string;
  /** Whether every stretch of text between special tokens starts with a space mark, or only one at the text's start. */
  readonly prependSpace: 'always' | 'first';
  /** Whether white space is cut away between words before space marks are put; else only spaces become marks. */
  readonly splitsWhiteSpace: boolean;
  readonly endId: number;
  readonly padId: number;
}

export const END_TOKEN = '</s>';
export const PAD_TOKEN = '<pad>';
/** U+2581, which stands for a space in pieces. */
export const SPACE_MARK = '▁';
/** Unicode White_Space at the end; not `\s`, which has U+FEFF and lacks U+0085. */
export const TRAILING_SPACE = /\p{White_Space}+$/u;
export const LEADING_SPACE = /^\p{White_Space}+/u;
