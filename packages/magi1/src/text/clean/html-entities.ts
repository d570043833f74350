// HTML character references as Python resolves them: `html.unescape`, and the numeric rule that Beautiful Soup uses.
import { decodeHTML, decodeHTMLStrict } from 'entities/decode';

/** What the code points 0x80-0x9f of a numeric reference stand for: Windows-1252, unassigned ones unchanged. */
const WINDOWS_1252_C1 = '€\x81‚ƒ„…†‡ˆ‰Š‹Œ\x8dŽ\x8f\x90‘’“”•–—˜™š›œ\x9džŸ';

/** The text of an HTML5 entity given by its name without `&` and `;`, or undefined if there is no such name. */
export function namedEntity(name: string): string | undefined {
  const reference = `&${name};`;
  const text = decodeHTMLStrict(reference);
  return text === reference ? undefined : text;
}

/** The character of a numeric reference; undefined for one that html.unescape drops (controls, non-characters). */
function numericEntity(code: number): string | undefined {
  if (code >= 0x80 && code <= 0x9f) return WINDOWS_1252_C1[code - 0x80];
  if (code === 0 || (code >= 0xd800 && code <= 0xdfff) || code > 0x10ffff) return '\ufffd';
  const isDroppedControl = code < 0x20 && ![0x09, 0x0a, 0x0c, 0x0d].includes(code);
  const isNonCharacter = (code >= 0xfdd0 && code <= 0xfdef) || (code & 0xfffe) === 0xfffe;
  if (isDroppedControl || code === 0x7f || isNonCharacter) return undefined;
  return String.fromCodePoint(code);
}

/** Value of the digits of a numeric reference (`65`, `x41`); Infinity-safe, since any huge number is out of range alike. */
function referenceCode(digits: string): number {
  return /^[xX]/.test(digits) ? parseInt(digits.slice(1), 16) : parseInt(digits, 10);
}

/** The character of a numeric reference in Beautiful Soup, which keeps controls and non-characters. */
export function soupNumericEntity(digits: string): string {
  const code = referenceCode(digits);
  return numericEntity(code) ?? String.fromCodePoint(code);
}

/** `html.unescape`: named references also without semicolon (longest known prefix), numeric ones by the HTML5 rules. */
export function htmlUnescape(text: string): string {
  return text.replace(/&(?:#([0-9]+|[xX][0-9a-fA-F]+);?|([^\t\n\f <&#;]{1,32};?))/gu, (reference, digits?: string) => {
    if (digits === undefined) return decodeHTML(reference);
    return numericEntity(referenceCode(digits)) ?? '';
  });
}
