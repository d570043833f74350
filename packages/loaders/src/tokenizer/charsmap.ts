// SentencePiece's precompiled character map: a darts-clone double array that leads from UTF-8 prefixes to replacements.
// Applied as the Hugging Face fast tokenizer does it, which is what the model was trained and is run with.
import { FileFormatError } from '@magi1/tensor';

/** Only graphemes shorter than this, in UTF-8 bytes, are looked up as a whole. */
const MAX_GRAPHEME_BYTES = 6;
const utf8 = new TextEncoder();

const hasLeaf = (unit: number): boolean => ((unit >>> 8) & 1) === 1;
const leafValue = (unit: number): number => unit & 0x7fffffff;
/** Bit 31 is set in leaves, so that they never equal a byte. */
const label = (unit: number): number => (unit & 0x800000ff) >>> 0;
const offset = (unit: number): number => (unit >>> 10) << ((unit & 0x200) >>> 6);

/**
 * Normaliser of a `precompiled_charsmap`: the length of the trie in bytes (u32 LE), the trie, NUL-terminated replacements.
 * @throws FileFormatError if the lengths do not fit.
 */
export function compileCharsmap(charsmap: Uint8Array, file: string): (text: string) => string {
  const view = new DataView(charsmap.buffer, charsmap.byteOffset, charsmap.byteLength);
  const trieBytes = charsmap.length >= 4 ? view.getUint32(0, true) : 0;
  if (trieBytes === 0 || trieBytes % 4 !== 0 || 4 + trieBytes > charsmap.length) {
    throw new FileFormatError(
      `${file}: precompiled_charsmap is corrupt: a trie of ${trieBytes} bytes in a map of ${charsmap.length} bytes`,
    );
  }
  const trie = new Uint32Array(trieBytes / 4);
  for (let i = 0; i < trie.length; i++) trie[i] = view.getUint32(4 + 4 * i, true);
  const replacements = charsmap.subarray(4 + trieBytes);
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  const known = new Map<string, string | undefined>();
  const graphemes = new Intl.Segmenter('en', { granularity: 'grapheme' });

  /** Replacement of the shortest prefix that the trie knows: the rest of the key is dropped with it, as in the original. */
  function find(key: Uint8Array): string | undefined {
    let node = offset(trie[0] ?? 0);
    for (const byte of key) {
      node ^= byte;
      const unit = trie[node];
      if (byte === 0 || unit === undefined || label(unit) !== byte) return undefined;
      node ^= offset(unit);
      if (!hasLeaf(unit)) continue;
      const start = leafValue(trie[node] ?? 0);
      const end = replacements.indexOf(0, start);
      return decoder.decode(replacements.subarray(start, end < 0 ? undefined : end));
    }
    return undefined;
  }
  function replacement(text: string): string | undefined {
    if (!known.has(text)) {
      const key = utf8.encode(text);
      known.set(text, key.length < MAX_GRAPHEME_BYTES ? find(key) : undefined);
    }
    return known.get(text);
  }

  return (text) => {
    let normalized = '';
    for (const { segment } of graphemes.segment(text)) {
      const whole = replacement(segment);
      if (whole !== undefined) normalized += whole;
      else for (const char of segment) normalized += replacement(char) ?? char;
    }
    return normalized;
  };
}
