// The learned tokens that steer style, quality and duration: the table, and which of them are put before a text.
import { FileFormatError, fromFloat32, toFloat32 } from '@magi1/tensor';
import type { SpecialTokenSwitches } from '../config/environment.ts';

/** Row of `other_tokens` in special_tokens.npz. */
const OTHER_TOKEN_ROWS = {
  TRANS_TOKEN: 0,
  HQ_TOKEN: 1,
  STATIC_FIRST_FRAMES_TOKEN: 2,
  DYNAMIC_FIRST_FRAMES_TOKEN: 3,
  BORDERNESS_TOKEN: 4,
  DURATION_TOKEN_1: 7,
  DURATION_TOKEN_2: 8,
  DURATION_TOKEN_3: 9,
  DURATION_TOKEN_4: 10,
  DURATION_TOKEN_5: 11,
  DURATION_TOKEN_6: 12,
  DURATION_TOKEN_7: 13,
  DURATION_TOKEN_8: 14,
  THREE_D_MODEL_TOKEN: 15,
  TWO_D_ANIME_TOKEN: 16,
} as const;

export type SpecialTokenName = 'CAPTION_TOKEN' | 'LOGO_TOKEN' | keyof typeof OTHER_TOKEN_ROWS;

/** What a switch asks for; DURATION_TOKEN stands for one of eight, by chunk. */
export type SpecialTokenKey = SpecialTokenName | 'DURATION_TOKEN';

const MAX_DURATION = 8;

export interface SpecialTokenTable {
  /** Features per token (caption_channels). */
  readonly width: number;
  /** Each [width], rounded to float16. */
  readonly tokens: Readonly<Record<SpecialTokenName, Float32Array>>;
}

/** The arrays of special_tokens.npz that are read. */
export const SPECIAL_TOKEN_ARRAYS = ['caption_token', 'logo_token', 'other_tokens'] as const;

/** An array of special_tokens.npz: float64 as shipped; rounded to float16 once, here. */
export interface TokenArray {
  readonly shape: readonly number[];
  readonly data: ArrayLike<number>;
}

/**
 * Takes the tokens from the arrays of special_tokens.npz: caption_token [1,C], logo_token [1,C], other_tokens [100,C].
 * @throws FileFormatError if an array is missing or has another shape
 */
export function specialTokenTable(arrays: ReadonlyMap<string, TokenArray>, captionChannels: number): SpecialTokenTable {
  const row = (name: string, index: number): Float32Array => {
    const array = arrays.get(name);
    if (!array)
      throw new FileFormatError(
        `special tokens: ${name} is missing, found ${[...arrays.keys()].join(', ') || 'nothing'}`,
      );
    const [rows = 0, width] = array.shape;
    if (array.shape.length !== 2 || width !== captionChannels || rows <= index)
      throw new FileFormatError(
        `special tokens: ${name} has shape [${array.shape.join(', ')}], expected [${index + 1} or more, ${captionChannels} = caption_channels]`,
      );
    const values = Array.from({ length: width }, (_, k) => array.data[index * width + k]!);
    return toFloat32('f16', fromFloat32('f16', values));
  };
  const others = Object.entries(OTHER_TOKEN_ROWS).map(([name, index]) => [name, row('other_tokens', index)] as const);
  return {
    width: captionChannels,
    tokens: {
      CAPTION_TOKEN: row('caption_token', 0),
      LOGO_TOKEN: row('logo_token', 0),
      ...(Object.fromEntries(others) as Record<keyof typeof OTHER_TOKEN_ROWS, Float32Array>),
    },
  };
}

/** Tokens for the caption in the order in which they are prepended: the last ends up first. */
export function captionTokenKeys(switches: SpecialTokenSwitches): SpecialTokenKey[] {
  const wanted: [boolean, SpecialTokenKey][] = [
    [switches.static, 'STATIC_FIRST_FRAMES_TOKEN'],
    [switches.dynamic, 'DYNAMIC_FIRST_FRAMES_TOKEN'],
    [switches.borderness, 'BORDERNESS_TOKEN'],
    [switches.hq, 'HQ_TOKEN'],
    [switches.threeDModel, 'THREE_D_MODEL_TOKEN'],
    [switches.twoDAnime, 'TWO_D_ANIME_TOKEN'],
    [switches.duration, 'DURATION_TOKEN'],
  ];
  return wanted.filter(([on]) => on).map(([, key]) => key);
}

/** Tokens for the null text, in the order in which they are prepended. */
export function negativeTokenKeys(switches: SpecialTokenSwitches): SpecialTokenName[] {
  return switches.negative ? ['CAPTION_TOKEN', 'LOGO_TOKEN', 'TRANS_TOKEN', 'BORDERNESS_TOKEN'] : [];
}

/** The duration token of generated chunk `chunk` of `count`: how many chunks are left, itself included, up to 8. */
export function durationToken(chunk: number, count: number): SpecialTokenName {
  return `DURATION_TOKEN_${Math.min(count - chunk, MAX_DURATION)}` as SpecialTokenName;
}

/** Names the tokens of one generated chunk. */
export function resolveTokens(keys: readonly SpecialTokenKey[], chunk: number, count: number): SpecialTokenName[] {
  return keys.map((key) => (key === 'DURATION_TOKEN' ? durationToken(chunk, count) : key));
}

/** Puts `tokens` one after the other before `rows` [n, width] and cuts the result to maxRows. */
export function prependTokens(
  rows: Float32Array,
  tokens: readonly Float32Array[],
  width: number,
  maxRows: number,
): Float32Array {
  const all = new Float32Array(tokens.length * width + rows.length);
  tokens.forEach((token, i) => all.set(token, (tokens.length - 1 - i) * width));
  all.set(rows, tokens.length * width);
  return all.subarray(0, Math.min(all.length, maxRows * width));
}
