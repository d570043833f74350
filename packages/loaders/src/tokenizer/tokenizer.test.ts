import { FileFormatError, Magi1Error } from '@magi1/tensor';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { loadTokenizer } from './tokenizer.ts';

type Piece = readonly [text: string, score: number, type?: number];

const CONTROL = 3;
const PIECES: Piece[] = [
  ['<pad>', 0, CONTROL],
  ['</s>', 0, CONTROL],
  ['<unk>', 0, 2],
  ['▁', -4],
  ['a', -3],
  ['b', -3],
  ['ab', -5],
  ['▁a', -2],
  ['▁ab', -6],
  ['👋', -3],
];

// A writer of the protobuf wire format, for files that are as we want them.
function varint(value: number): number[] {
  return value < 0x80 ? [value] : [(value % 0x80) | 0x80, ...varint(Math.floor(value / 0x80))];
}
function bytesField(number: number, bytes: ArrayLike<number>): number[] {
  return [...varint(number * 8 + 2), ...varint(bytes.length), ...Array.from(bytes)];
}
function pieceMessage([text, score, type = 1]: Piece): number[] {
  const bits = new Uint8Array(Float32Array.of(score).buffer);
  return [...bytesField(1, new TextEncoder().encode(text)), 2 * 8 + 5, ...bits, 3 * 8, type];
}
function spiece(pieces: readonly Piece[] = PIECES, trainer: number[] = [3 * 8, 1, ...varint(40 * 8), 2]): Uint8Array {
  return Uint8Array.from([...pieces.flatMap((piece) => bytesField(1, pieceMessage(piece))), ...bytesField(2, trainer)]);
}

function tokenizerJson(change: (json: Record<string, unknown>) => void = () => undefined): string {
  const json: Record<string, unknown> = {
    added_tokens: PIECES.slice(0, 3).map(([content], id) => ({ id, content, special: true, normalized: false })),
    normalizer: null,
    pre_tokenizer: { type: 'Metaspace', replacement: '▁', prepend_scheme: 'always', split: true },
    post_processor: {
      type: 'TemplateProcessing',
      single: [{ Sequence: { id: 'A' } }, { SpecialToken: { id: '</s>' } }],
    },
    model: { type: 'Unigram', unk_id: 2, vocab: PIECES.map(([text, score]) => [text, score]) },
  };
  change(json);
  return JSON.stringify(json);
}

describe('a tokenizer.json of transformers 5', () => {
  const file = (prepend_scheme: string) =>
    tokenizerJson((json) => {
      json.pre_tokenizer = {
        type: 'Sequence',
        pretokenizers: [
          { type: 'WhitespaceSplit' },
          { type: 'Metaspace', replacement: '▁', prepend_scheme, split: true },
        ],
      };
    });

  it('cuts white space of every kind away, and marks every word', () => {
    const tokenizer = loadTokenizer({ tokenizerJson: file('always') });
    expect(tokenizer.encode('ab a')).toEqual([7, 5, 7, 1]);
    expect(tokenizer.encode('  a\u0085\n a\u3000 ')).toEqual([7, 7, 1]);
    expect(tokenizer.encode(' \t')).toEqual([1]);
    expect(tokenizer.encode('▁a')).toEqual([7, 1]);
  });
  it('or the first word, where nothing is in front of it', () => {
    const tokenizer = loadTokenizer({ tokenizerJson: file('first') });
    expect(tokenizer.encode('a b')).toEqual([7, 5, 1]);
    expect(tokenizer.encode(' a b')).toEqual([4, 5, 1]);
  });
  it('and no other sequence', () => {
    const other = (pretokenizers: unknown) =>
      loadTokenizer({
        tokenizerJson: tokenizerJson((json) => (json.pre_tokenizer = { type: 'Sequence', pretokenizers })),
      });
    expect(() => other([{ type: 'Metaspace' }, { type: 'WhitespaceSplit' }])).toThrow(
      /pre_tokenizer\.pretokenizers are \["Metaspace","WhitespaceSplit"\], expected/,
    );
    expect(() => other([{ type: 'WhitespaceSplit' }, { type: 'Metaspace' }])).toThrow(
      /pretokenizers\[1\]\.replacement is/,
    );
  });
});

describe('bounds', () => {
  it('of sentinels and of nested normalisers', () => {
    const extra = (extra_ids: number) =>
      loadTokenizer({ spiece: spiece(), tokenizerConfig: JSON.stringify({ extra_ids }) });
    expect(() => extra(100_001)).toThrow(/extra_ids is 100001, expected a whole number up to 100000/);
    const nested = (depth: number): unknown =>
      depth === 0 ? null : { type: 'Sequence', normalizers: [nested(depth - 1)] };
    const load = (depth: number) =>
      loadTokenizer({ tokenizerJson: tokenizerJson((json) => (json.normalizer = nested(depth))) });
    expect(() => load(18)).toThrow(/normalizers nested deeper than 16/);
    expect(load(10).encode('a')).toEqual([7, 1]);
  });
});

describe('encoding', () => {
  const tokenizer = loadTokenizer({ spiece: spiece() });

  it('takes the split with the highest score', () => {
    expect(tokenizer.encode('ab')).toEqual([7, 5, 1]); // ▁a b at -5, before ▁ab at -6 and ▁ ab at -9
    expect(tokenizer.encode('ab a')).toEqual([7, 5, 7, 1]);
  });
  it('joins neighbouring unknown characters of a word, not of two words', () => {
    expect(tokenizer.encode('axyb')).toEqual([7, 2, 5, 1]);
    expect(tokenizer.encode('x y')).toEqual([3, 2, 3, 2, 1]);
  });
  it('counts characters beyond the BMP as one', () => {
    expect(tokenizer.encode('a👋😀b')).toEqual([7, 9, 2, 5, 1]);
  });
  it('finds special tokens in the raw text', () => {
    expect(tokenizer.encode('a</s> <extra_id_0><extra_id_99>b')).toEqual([7, 1, 109, 10, 3, 5, 1]);
    expect(tokenizer.vocabularySize).toBe(110);
  });
  it('makes an empty text the end token alone', () => {
    expect(tokenizer.encode('')).toEqual([1]);
    expect(tokenizer.encode(' \n\u0085')).toEqual([1]);
  });
  it('pads on the right and keeps the end token when it cuts', () => {
    expect(tokenizer.encodePadded('ab', 5)).toEqual({
      inputIds: Int32Array.of(7, 5, 1, 0, 0),
      attentionMask: Int32Array.of(1, 1, 1, 0, 0),
    });
    expect(tokenizer.encodePadded('ab', 2).inputIds).toEqual(Int32Array.of(7, 1));
    expect(tokenizer.encodePadded('ab', 1)).toEqual({ inputIds: Int32Array.of(1), attentionMask: Int32Array.of(1) });
    expect(() => tokenizer.encodePadded('ab', 0)).toThrow(Magi1Error);
  });
  it('gives the same ids from tokenizer.json', () => {
    const other = loadTokenizer({ tokenizerJson: tokenizerJson() });
    for (const text of ['', 'ab a', 'xyab', 'a</s>b', '👋a'])
      expect(other.encode(text)).toEqual(tokenizer.encode(text));
  });
  it('reads extra_ids and legacy from tokenizer_config.json', () => {
    const tokenizerConfig = JSON.stringify({ extra_ids: 2, legacy: false });
    const other = loadTokenizer({ spiece: spiece(), tokenizerConfig });
    expect(other.vocabularySize).toBe(12);
    expect(other.encode('a<extra_id_1>a')).toEqual([7, 10, 4, 1]); // no space mark behind a special token
  });
  it('strips white space beside a special token that says so', () => {
    const text = tokenizerJson((json) => {
      json.added_tokens = [{ id: 1, content: '</s>', normalized: false, lstrip: true, rstrip: true }];
    });
    expect(loadTokenizer({ tokenizerJson: text }).encode('a \n</s> \tb')).toEqual([7, 1, 3, 5, 1]);
  });
});

describe('a vocabulary of the published size', () => {
  const letters = 'abcdefghijklmnopqrstuvwxyz';
  const word = (n: number): string =>
    `▁${n.toString(26).replace(/./g, (digit) => letters.charAt(parseInt(digit, 26)))}`;
  const pieces = [...PIECES.slice(0, 3), ...Array.from({ length: 31997 }, (_, n): Piece => [word(n), -5 - n / 4000])];

  it('loads fast and numbers the sentinels from the top', () => {
    const file = spiece(pieces);
    const start = performance.now();
    const tokenizer = loadTokenizer({ spiece: file });
    expect(tokenizer.encode('<extra_id_0><extra_id_99>')).toEqual([32099, 32000, 1]);
    expect(performance.now() - start).toBeLessThan(2000); // about 0.05 s; the bound allows for a busy machine
  });
});

describe('bad files', () => {
  const refuses = (files: Parameters<typeof loadTokenizer>[0], message: RegExp): void => {
    expect(() => loadTokenizer(files)).toThrow(FileFormatError);
    expect(() => loadTokenizer(files)).toThrow(message);
  };

  it('are named, with what is wrong', () => {
    refuses({}, /neither tokenizer\.json nor spiece\.model/);
    refuses({ spiece: new Uint8Array() }, /no pieces found/);
    refuses({ spiece: new TextEncoder().encode('version https://git-lfs.github.com/spec/v1') }, /spiece\.model: not a/);
    refuses({ spiece: spiece().subarray(0, 30) }, /reaches past the end/);
    refuses({ spiece: spiece(PIECES, [3 * 8, 2]) }, /model_type is 2, expected 1/);
    refuses({ spiece: spiece(PIECES, [...varint(40 * 8), 99]) }, /unk_id is 99/);
    refuses({ spiece: spiece(PIECES, [...varint(35 * 8), 1]) }, /byte_fallback/);
    refuses({ spiece: spiece(PIECES.slice(2)) }, /no piece <\/s>/);
    refuses({ spiece: spiece([['a', Number.NaN]]) }, /score of piece 0 is NaN/);
    const charsmap = bytesField(3, bytesField(2, [200, 0, 0, 0, 1, 2, 3]));
    refuses(
      { spiece: Uint8Array.from([...spiece(), ...charsmap]) },
      /precompiled_charsmap is corrupt: a trie of 200 bytes/,
    );
    refuses({ spiece: spiece(), tokenizerConfig: '{"extra_ids": -1}' }, /extra_ids is -1/);
    refuses({ spiece: spiece(), tokenizerConfig: '{' }, /tokenizer_config\.json: not JSON/);
    refuses({ tokenizerJson: '{"model": ' }, /tokenizer\.json: not JSON/);
    refuses({ tokenizerJson: '[]' }, /the file should be an object/);
    refuses(
      { tokenizerJson: tokenizerJson((json) => (json.model = { type: 'BPE' })) },
      /model\.type is "BPE", expected/,
    );
    refuses(
      { tokenizerJson: tokenizerJson((json) => (json.normalizer = { type: 'NFKC' })) },
      /normalizer\.type is "NFKC"/,
    );
    refuses(
      { tokenizerJson: tokenizerJson((json) => (json.post_processor = null)) },
      /post_processor should be an object/,
    );
  });

  it('never make the reader fail in another way', () => {
    const good = spiece();
    const damage = fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(damage, fc.nat(good.length), (changes, length) => {
        const bytes = good.slice(0, length);
        for (const [at, byte] of changes) if (at < length) bytes[at] = byte;
        try {
          loadTokenizer({ spiece: bytes }).encode('ab </s>👋');
        } catch (error) {
          expect(error).toBeInstanceOf(FileFormatError);
        }
      }),
    );
  });
});
