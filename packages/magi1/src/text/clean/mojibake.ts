// Mojibake: UTF-8 text that was read in a single-byte encoding. Detection by unlikely neighbours and repair, with the results
// of ftfy 6.2.0 (Robyn Speer, Apache-2.0), whose character categories these are; later versions of ftfy differ.
import { pythonRegExp } from './python-text.ts';
import { encodeSingleByte, SINGLE_BYTE_ENCODINGS } from './single-byte-encodings.ts';

/** The characters that occur in mojibake, by their usual role, as contents of a regex class. */
const COMMON = '\xa0\xad·´–—―…’';
const C1 = '\x80-\x9f';
const BAD = '¦¤¨¬¯¶§¸ƒˆˇ˘˛˜†‡‰⌐◊\ufffdªº';
const CURRENCY = '¢£¥₧€';
const OPENING = '¡«¿©΄΅‘‚“„•‹\uf8ff';
const CLOSING = '®»˝”›™';
const NUMERIC = '²³¹±¼½¾×µ÷⁄∂∆∏∑√∞∩∫≈≠≡≤≥№';
/** Letters of emoticon faces, which stand in improbable places on purpose. */
const FACES = 'Ò-ÖÙ-Üò-öø-üŐ°';
const UPPER = 'À-ÑØÜÝĂĄĆČĎĐĘĚĞİĹĽŁŃŇŒŘŚŞŠŢŤŮŰŸŹŻŽҐ';
const LOWER = 'ßà-ñăąćčďđęěğĺľłœŕśşšťüźżžґﬁﬂ';
const UPPER_COMMON = 'ÞΑ-ΩΆΈΉΊΌΎΏΪΫЁ-Я';
const LOWER_COMMON = 'α-ωάέήίΰа-џ';
const BOX = '│┌┐┘├┤┬┼═-╬▀▄█▌▐░▒▓';

const ARABIC = `[ØÙ][${COMMON}${CURRENCY}${BAD}${NUMERIC}${OPENING}ŸŠ®°µ»]`;

/** Sequences that are far more likely to be mojibake than meant. */
const UNLIKELY = [
  `[${C1}]`,
  `[${BAD}${LOWER}${UPPER}${BOX}${OPENING}${CLOSING}${CURRENCY}${NUMERIC}][${BAD}]`,
  `[a-zA-Z][${LOWER_COMMON}${UPPER_COMMON}][${BAD}]`,
  `[${BAD}][${LOWER}${UPPER}${BOX}${OPENING}${CLOSING}${CURRENCY}${NUMERIC}]`,
  `[${LOWER}${LOWER_COMMON}${BOX}${CLOSING}${CURRENCY}${NUMERIC}][${UPPER}]`,
  `[${BOX}${CLOSING}${CURRENCY}${NUMERIC}][${LOWER}]`,
  `[${LOWER}${BOX}${CLOSING}][${CURRENCY}]`,
  `\\s[${UPPER}][${CURRENCY}]`,
  `[${UPPER}${BOX}][${NUMERIC}]`,
  `[${LOWER}${UPPER}${BOX}${CURRENCY}${CLOSING}][${OPENING}][${NUMERIC}]`,
  `[${LOWER}${UPPER}${CURRENCY}${NUMERIC}${BOX}][${CLOSING}][${OPENING}]`,
  `[${CURRENCY}${NUMERIC}${BOX}][${OPENING}]`,
  `[a-z][${UPPER}][${OPENING}${CURRENCY}]`,
  `[${BOX}][${FACES}]`,
  `[${LOWER}${UPPER}${CURRENCY}${NUMERIC}${OPENING}${CLOSING}][${BOX}]`,
  `[${BOX}][${CLOSING}]`,
  `[${LOWER}${UPPER}][${CLOSING}]\\w`,
  '[Œœ][^A-Za-z]',
  // Windows-1252: pairs, Arabic words, three-letter sequences of South Asian alphabets
  `[ÂÃÎÐ][€Šš¢£Ÿž\xa0\xad®©°·»${OPENING}${CLOSING}–—´]`,
  '×[²³]',
  ARABIC + ARABIC,
  'à[²µ¹¼½¾]',
  // MacRoman
  '√[±∂†≠®™´≤≥¥µø]',
  '≈[°¢]',
  '‚Ä[ìîïòôúùû†°¢π]',
  '‚[âó][àä°ê]',
  // Windows-1251: punctuation, Cyrillic letters, and a second layer on top of Windows-1252
  'вЂ',
  `[ВГРС][${C1}${BAD}${OPENING}${CLOSING}${CURRENCY}°µ][ВГРС]`,
  'ГўВЂВ.[A-Za-z ]',
  // Windows-1252: à, á and the no-break space
  'Ã[\xa0¡]',
  '[a-z]\\s?[ÃÂ] ',
  '^[ÃÂ] ',
  `[a-z.,?!${CLOSING}]Â[ ${OPENING}${CLOSING}]`,
  // Windows-1253: punctuation, Latin-1 and Greek letters
  'β€[™\xa0Ά\xad®°]',
  `[ΒΓΞΟ][${C1}${BAD}${OPENING}${CLOSING}${CURRENCY}°][ΒΓΞΟ]`,
];
const UNLIKELY_RE = pythonRegExp(UNLIKELY.join('|'), '');

/** What the lead bytes of two, three and four byte UTF-8 sequences and their continuation bytes look like when misread. */
const LEAD_2 =
  'ÂÃÄÅÆÇÈÉÊËÌÍÎÏÐÑÒÓÔÕÖ×ØÙÚÛÜÝÞßĂĆČĎĐĘĚĞİĹŃŇŐŘŞŢŮŰ' + 'ΒΓΔΕΖΗΘΙΚΛΜΝΞΟΠΡΣΤΥΦΧΨΩΪΫάέήίВГДЕЖЗИЙКЛМНОПРСТУФХЦЧШЩЪЫЬЭЮЯ';
const LEAD_3 = 'àáâãäåæçèéêëìíîïăćčďęěĺŕΰαβγδεζηθικλμνξοабвгдежзийклмноп';
const LEAD_4 = 'ðóđğπσру';
const CONTINUATION_STRICT = '\x80-\xbfĄąĽľŁłŒœŚśŞşŠšŤťŸŹźŻżŽžƒˆˇ˘˛˜˝΄΅ΆΈΉΊΌΎΏЁЂЃЄЅІЇЈЉЊЋЌЎЏёђѓєѕіїјљњћќўџҐґ†‡•‰‹›€№™';
/** A space may stand for byte 0xa0; dashes, quotes and the ellipsis are common beside mojibake, too. */
const CONTINUATION = `${CONTINUATION_STRICT}–—―‘’‚“”„… `;
const EMBEDDED_UTF8 = new RegExp(
  `(?<![${CONTINUATION_STRICT}])(?:[${LEAD_2}][${CONTINUATION}]|[${LEAD_3}][${CONTINUATION}]{2}|[${LEAD_4}][${CONTINUATION}]{3})+`,
  'gu',
);

// Byte patterns; bytes are chars 0-255.
/** "Ã" for "à" as a word keeps its space; as the start of a Portuguese contraction it does not. */
const A_GRAVE_WORD = /\xc3 (?! |quele|quela|quilo|s )/g;
/** UTF-8 in which byte 0xa0 became a space. */
const SPACE_FOR_A0 =
  /[\xc2\xc3\xc5\xce\xd0\xd9] |[\xe2\xe3] [\x80-\x84\x86-\x9f\xa1-\xbf]|[\xe0-\xe3][\x80-\x84\x86-\x9f\xa1-\xbf] |\xf0 [\x80-\xbf][\x80-\xbf]|\xf0[\x80-\xbf] [\x80-\xbf]|\xf0[\x80-\xbf][\x80-\xbf] /g;
/** UTF-8 in which one byte was lost (0x1a, or `?`). */
const LOSSY_UTF8 =
  /[\xc2-\xdf]\x1a|[\xc2-\xc3]\?|\xed[\xa0-\xaf][\x1a?]\xed[\xb0-\xbf][\x1a?\x80-\xbf]|\xed[\xa0-\xaf][\x1a?\x80-\xbf]\xed[\xb0-\xbf][\x1a?]|[\xe0-\xef][\x1a?][\x1a\x80-\xbf]|[\xe0-\xef][\x1a\x80-\xbf][\x1a?]|[\xf0-\xf4][\x1a?][\x1a\x80-\xbf][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf][\x1a?][\x1a\x80-\xbf]|[\xf0-\xf4][\x1a\x80-\xbf][\x1a\x80-\xbf][\x1a?]|\x1a/g;
const UTF8_OF_REPLACEMENT = '\xef\xbf\xbd';
/** A surrogate pair encoded as two three-byte sequences (CESU-8), or Java's two-byte NUL. */
const UTF8_VARIANT = /(\xed[\xa0-\xaf][\x80-\xbf]\xed[\xb0-\xbf][\x80-\xbf]|\xc0\x80)/;

const strictUtf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function decodeStrict(bytes: string): string {
  return strictUtf8.decode(Uint8Array.from(bytes, (char) => char.charCodeAt(0)));
}

function cesu8CodePoint(bytes: string): number {
  const bits = (i: number, mask: number): number => bytes.charCodeAt(i) & mask;
  return 0x10000 + ((bits(1, 0x0f) << 16) | (bits(2, 0x3f) << 10) | (bits(4, 0x0f) << 6) | bits(5, 0x3f));
}

/** Decodes UTF-8, CESU-8 pairs and Java NULs included; undefined if the bytes are anything else. */
function decodeUtf8(bytes: string): string | undefined {
  try {
    return bytes
      .split(UTF8_VARIANT)
      .map((part, i) => {
        if (i % 2 === 0) return decodeStrict(part);
        return part === '\xc0\x80' ? '\0' : String.fromCodePoint(cesu8CodePoint(part));
      })
      .join('');
  } catch (error) {
    if (error instanceof TypeError) return undefined; // TextDecoder: not UTF-8
    throw error;
  }
}

/** Whether some of the text seems to be mojibake. */
function looksMisread(text: string): boolean {
  return UNLIKELY_RE.test(text);
}

/** C1 controls as Windows-1252 has them. */
export function fixC1Controls(text: string): string {
  return text.replace(/[\x80-\x9f]/g, (control) => windows1252Char(control.charCodeAt(0)));
}

function windows1252Char(byte: number): string {
  const windows1252 = SINGLE_BYTE_ENCODINGS.find(({ name }) => name === 'windows-1252');
  return windows1252?.high[byte - 0x80] ?? String.fromCharCode(byte);
}

function repairOnce(text: string): string {
  if (/^[\0-\x7f]*$/.test(text) || !looksMisread(text)) return text;

  for (const encoding of SINGLE_BYTE_ENCODINGS) {
    let bytes = encodeSingleByte(text, encoding);
    if (bytes === undefined) continue;
    // MacRoman is left out: an en dash and a space would match.
    if (encoding.name !== 'macroman' && bytes.search(SPACE_FOR_A0) >= 0) {
      bytes = bytes.replace(A_GRAVE_WORD, '\xc3\xa0 ').replace(SPACE_FOR_A0, (part) => part.replaceAll(' ', '\xa0'));
    }
    if (encoding.lossy) bytes = bytes.replace(LOSSY_UTF8, UTF8_OF_REPLACEMENT);
    const decoded = decodeUtf8(bytes);
    if (decoded !== undefined) return decoded;
  }

  const inParts = text.replace(EMBEDDED_UTF8, (part) =>
    part.length < text.length && looksMisread(part) ? repairMojibake(part) : part,
  );
  return inParts === text ? fixC1Controls(text) : inParts;
}

/** Undoes misreadings, layer by layer, until the text looks meant. */
export function repairMojibake(text: string): string {
  let current = text;
  for (;;) {
    const repaired = repairOnce(current);
    if (repaired === current) return current;
    current = repaired;
  }
}
