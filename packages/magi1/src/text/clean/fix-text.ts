// The text repairs of ftfy 6.2.0 (Robyn Speer, Apache-2.0) with default options, which the training captions went through.
// Own code and not the npm port ftfy-js: that one follows 6.3, which decides differently, and weighs 16 MB.
import { htmlUnescape, namedEntity } from './html-entities.ts';
import { fixC1Controls, repairMojibake } from './mojibake.ts';
import { pythonRegExp } from './python-text.ts';

const LIGATURES: Record<string, string> = {
  ...{ Ĳ: 'IJ', ĳ: 'ij', ŉ: 'ʼn', Ǳ: 'DZ', ǲ: 'Dz', ǳ: 'dz', Ǆ: 'DŽ', ǅ: 'Dž', ǆ: 'dž' },
  ...{ Ǉ: 'LJ', ǈ: 'Lj', ǉ: 'lj', Ǌ: 'NJ', ǋ: 'Nj', ǌ: 'nj' },
  ...{ ﬀ: 'ff', ﬁ: 'fi', ﬂ: 'fl', ﬃ: 'ffi', ﬄ: 'ffl', ﬅ: 'ſt', ﬆ: 'st' },
};
const LIGATURE = new RegExp(`[${Object.keys(LIGATURES).join('')}]`, 'gu');
const TERMINAL_ESCAPE = pythonRegExp(String.raw`\x1b\[[\d;]*[a-zA-Z]`);
const UNWANTED_CONTROL = /[\0-\x08\x0b\x0e-\x1f\x7f\u206a-\u206f\ufeff\ufff9-\ufffc]/g;

/** Entities that end in a semicolon; lower-case names also written in capitals, with a capital result. */
function unescapeEntities(text: string): string {
  return text.replace(/&#?[0-9A-Za-z]{1,24};/g, (reference) => {
    if (reference.startsWith('&#')) {
      const char = htmlUnescape(reference);
      return char.includes(';') ? reference : char;
    }
    const name = reference.slice(1, -1);
    const char = namedEntity(name);
    if (char !== undefined) return char;
    const isCapital = name === name.toUpperCase() && htmlUnescape(reference) === reference;
    return (isCapital ? namedEntity(name.toLowerCase())?.toUpperCase() : undefined) ?? reference;
  });
}

function fixCharacterWidth(text: string): string {
  return text.replace(/\u3000/g, ' ').replace(/[\uff01-\uffef]/g, (char) => char.normalize('NFKC'));
}

function uncurlQuotes(text: string): string {
  return text.replace(/[\u201c-\u201f]/g, '"').replace(/[\u02bc\u2018-\u201b]/g, "'");
}

/** Entities nested more deeply than this stay as they are: each level takes a pass over the line. */
const MOST_PASSES = 64;

/** Repairs one line until nothing changes any more. */
function fixLine(line: string, unescapesEntities: boolean): string {
  let text = line;
  for (let pass = 0; pass < MOST_PASSES; pass++) {
    const before = text;
    if (unescapesEntities) text = unescapeEntities(text);
    text = fixC1Controls(repairMojibake(text)).replace(LIGATURE, (ligature) => LIGATURES[ligature] ?? ligature);
    text = uncurlQuotes(fixCharacterWidth(text))
      .replace(/\r\n|[\r\u2028\u2029\x85]/g, '\n')
      .replace(/\p{Surrogate}/gu, '\ufffd')
      .replace(TERMINAL_ESCAPE, '')
      .replace(UNWANTED_CONTROL, '')
      .normalize('NFC');
    if (text === before) break;
  }
  return text;
}

/** `ftfy.fix_text`: mojibake, entities, ligatures, widths, quotes, line breaks, controls, NFC; line by line. */
export function fixText(text: string): string {
  // From the first line with a "<" on, the text counts as HTML and its entities are left alone.
  let unescapesEntities = true;
  return text
    .split(/(?<=\n)/)
    .map((line) => {
      if (line.includes('<')) unescapesEntities = false;
      return fixLine(line, unescapesEntities);
    })
    .join('');
}
