import { describe, expect, it } from 'vitest';
import { NO_SPECIAL_TOKENS } from '../config/environment.ts';
import { durationToken, prependTokens, specialTokenTable, type TokenArray } from './special-tokens.ts';
import { conditionText, type TextConditioningInput } from './conditioning.ts';

const WIDTH = 2;
const arrays = new Map<string, TokenArray>([
  ['caption_token', { shape: [1, WIDTH], data: [900, 0] }],
  ['logo_token', { shape: [1, WIDTH], data: [901, 0] }],
  [
    'other_tokens',
    { shape: [100, WIDTH], data: Float64Array.from({ length: 200 }, (_, i) => (i % 2 === 0 ? i / 2 : 0.1)) },
  ],
]);
const rowsOf = (start: number, length: number) => ({
  rows: Float32Array.from({ length: length * WIDTH }, (_, i) => (i % 2 === 0 ? start + i / 2 : 0)),
  length,
});
const input: TextConditioningInput = {
  caption: rowsOf(1000, 3),
  nullCaption: rowsOf(2000, 60),
  switches: NO_SPECIAL_TOKENS,
  specialTokens: specialTokenTable(arrays, WIDTH),
  width: WIDTH,
  captionMaxLength: 800,
  chunks: 3,
  prefixChunks: 0,
};
const firsts = (text: { rows: Float32Array } | null): number[] =>
  Array.from(text?.rows ?? []).filter((_, i) => i % WIDTH === 0);

describe('specialTokenTable', () => {
  it('rounds to float16 once', () => {
    expect(input.specialTokens!.tokens.HQ_TOKEN).toEqual(Float32Array.from([1, 0.0999755859375]));
    expect(input.specialTokens!.tokens.TWO_D_ANIME_TOKEN[0]).toBe(16);
    expect(input.specialTokens!.tokens.LOGO_TOKEN[0]).toBe(901);
  });

  it('refuses missing arrays and other widths', () => {
    expect(() => specialTokenTable(new Map([['logo_token', arrays.get('logo_token')!]]), WIDTH)).toThrow(
      'other_tokens is missing, found logo_token',
    );
    expect(() => specialTokenTable(arrays, 4096)).toThrow('expected [1 or more, 4096 = caption_channels]');
    expect(() =>
      specialTokenTable(new Map(arrays).set('other_tokens', { shape: [5, WIDTH], data: [] }), WIDTH),
    ).toThrow('other_tokens has shape [5, 2]');
  });
});

describe('prependTokens', () => {
  it('puts the last token first and cuts at the end', () => {
    const tokens = [Float32Array.from([1, 1]), Float32Array.from([2, 2])];
    expect(prependTokens(Float32Array.from([7, 7, 8, 8]), tokens, 2, 3)).toEqual(Float32Array.from([2, 2, 1, 1, 7, 7]));
  });
});

describe('conditionText', () => {
  it('gives every chunk the same caption object without duration tokens', () => {
    const { caption, nullText, emptyText, negative } = conditionText(input);
    expect(caption[0]).toBe(caption[2]);
    expect(firsts(caption[0]!)).toEqual([1000, 1001, 1002]);
    expect(nullText.length).toBe(50);
    expect([emptyText, negative]).toEqual([false, null]);
  });

  it('counts the duration down per chunk, without prefix chunks', () => {
    const { caption } = conditionText({
      ...input,
      chunks: 11,
      prefixChunks: 1,
      switches: { ...NO_SPECIAL_TOKENS, hq: true, duration: true },
    });
    expect(caption.map((text) => firsts(text).slice(0, 3))).toEqual([
      [],
      ...[14, 14, 14, 13, 12, 11, 10, 9, 8, 7].map((token) => [token, 1, 1000]),
    ]);
    expect([durationToken(0, 1), durationToken(0, 20)]).toEqual(['DURATION_TOKEN_1', 'DURATION_TOKEN_8']);
  });

  it('changes the caption where a later one begins, counted without prefix chunks', () => {
    const later = [
      { chunk: 1, text: rowsOf(5000, 1) },
      { chunk: 3, text: rowsOf(6000, 2) },
    ];
    const { caption } = conditionText({ ...input, chunks: 6, prefixChunks: 1, later });
    expect(caption.map((text) => firsts(text)[0])).toEqual([undefined, 1000, 5000, 5000, 6000, 6000]);
    expect(caption[2]).toBe(caption[3]);
    const duration = { ...NO_SPECIAL_TOKENS, duration: true };
    const counted = conditionText({ ...input, chunks: 4, later, switches: duration }).caption;
    expect(counted.map((text) => firsts(text).slice(0, 2))).toEqual([
      [10, 1000],
      [9, 5000],
      [8, 5000],
      [7, 6000],
    ]);
    expect(() => conditionText({ ...input, later: [{ chunk: 2, text: { ...rowsOf(1, 1), length: 2 } }] })).toThrow(
      'caption of chunk 2: expected 2 rows',
    );
  });

  it('cuts at the longest caption', () => {
    const { caption } = conditionText({ ...input, captionMaxLength: 3, switches: { ...NO_SPECIAL_TOKENS, hq: true } });
    expect(firsts(caption[0]!)).toEqual([1, 1000, 1001]);
  });

  it('puts negative tokens within the 50 rows of the null text', () => {
    const { nullText } = conditionText({ ...input, switches: { ...NO_SPECIAL_TOKENS, negative: true } });
    expect(nullText.length).toBe(50);
    expect(firsts(nullText).slice(0, 5)).toEqual([4, 0, 901, 900, 2000]);
    expect(firsts(nullText).at(-1)).toBe(2045);
  });

  it('calls a text empty only without any row', () => {
    const none = { rows: new Float32Array(0), length: 0 };
    expect(conditionText({ ...input, caption: none }).emptyText).toBe(true);
    expect(conditionText({ ...input, caption: none, switches: { ...NO_SPECIAL_TOKENS, hq: true } }).emptyText).toBe(
      false,
    );
    expect(conditionText({ ...input, caption: rowsOf(1, 1) }).emptyText).toBe(false);
  });

  it('keeps a negative prompt beside the null text', () => {
    expect(firsts(conditionText({ ...input, negative: rowsOf(3000, 2) }).negative)).toEqual([3000, 3001]);
  });

  it('refuses switches without a table, and rows that are not there', () => {
    const bare = structuredClone(input) as { specialTokens?: unknown };
    delete bare.specialTokens;
    expect(() => conditionText({ ...(bare as typeof input), switches: { ...NO_SPECIAL_TOKENS, hq: true } })).toThrow(
      'HQ_TOKEN',
    );
    expect(() => conditionText({ ...input, caption: { rows: new Float32Array(3), length: 2 } })).toThrow(
      'caption: expected 2 rows of 2 features',
    );
  });
});
