// Python's text primitives where JavaScript's differ: Unicode-aware regex classes, strip, lower and form decoding.
// Characters newer than Unicode 14 (Python 3.11) are classed by the engine's own, newer tables: the one known difference.

/** What `str.isspace` and `\s` accept: more than `\s` here (\x1c-\x1f, \x85), and not U+FEFF. */
const SPACE = String.raw`\t-\r\x1c-\x20\x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000`;
const WORD = String.raw`\p{L}\p{N}_`;
const DIGIT = String.raw`\p{Nd}`;

interface Classes {
  readonly outside: Readonly<Record<string, string>>;
  readonly inside: Readonly<Record<string, string>>;
}

function classes(word: string, digit: string, space: string): Classes {
  return {
    outside: {
      '\\b': `(?:(?<=[${word}])(?![${word}])|(?<![${word}])(?=[${word}]))`,
      '\\w': `[${word}]`,
      '\\d': `[${digit}]`,
      '\\D': `[^${digit}]`,
      '\\s': `[${space}]`,
      '\\S': `[^${space}]`,
      $: String.raw`(?=\n?(?![\s\S]))`,
      '.': String.raw`[^\n]`,
    },
    inside: { '\\w': word, '\\d': digit, '\\s': space },
  };
}

const UNICODE = classes(WORD, DIGIT, SPACE);
/** The same classes for texts of ASCII: patterns with whole Unicode categories take long to compile. */
const ASCII = classes('A-Za-z0-9_', '0-9', String.raw`\t-\r\x1c-\x20`);

export const isAscii = (text: string): boolean => !/[^\0-\x7f]/.test(text);

/**
 * A regular expression that matches as Python's `re` does for str patterns: `\b \w \d \s` are Unicode-aware, `$` also
 * matches before a final newline, `.` is anything but `\n`. Covers the syntax that the cleaning rules and the HTML parser use.
 * `ascii`: for texts that are ASCII, on which it matches the same.
 */
export function pythonRegExp(pattern: string, flags = 'g', ascii = false): RegExp {
  const { outside, inside } = ascii ? ASCII : UNICODE;
  let inClass = false;
  const source = pattern.replace(/\\[^]|[[\]$.]/g, (token) => {
    if (inClass) {
      if (token === ']') inClass = false;
      return inside[token] ?? token;
    }
    if (token === '[') inClass = true;
    return outside[token] ?? token;
  });
  return new RegExp(source, ascii ? flags : `${flags}u`);
}

const IS_SPACE = new RegExp(`^[${SPACE}]$`, 'u');

/** `str.strip()`. */
export function pythonStrip(text: string): string {
  let [start, end] = [0, text.length];
  while (start < end && IS_SPACE.test(text[start]!)) start++;
  while (start < end && IS_SPACE.test(text[end - 1]!)) end--;
  return text.slice(start, end);
}

/** `str.lower()`: full Unicode lower case with the final-sigma rule, the same in both languages. */
export function pythonLower(text: string): string {
  return text.toLowerCase();
}

const utf8 = new TextDecoder('utf-8', { ignoreBOM: true });

/** `urllib.parse.unquote_plus`: `+` is a space; %xx bytes are decoded as UTF-8 within each ASCII run, bad ones as U+FFFD. */
export function unquotePlus(text: string): string {
  // A percent-encoded sequence never continues across a literal non-ASCII character.
  return text.replaceAll('+', ' ').replace(/[\0-\x7f]+/g, (run) => {
    if (!run.includes('%')) return run;
    const units = run.match(/%[0-9a-fA-F]{2}|[^]/g) ?? [];
    const bytes = units.map((unit) => (unit.length === 3 ? parseInt(unit.slice(1), 16) : unit.charCodeAt(0)));
    return utf8.decode(Uint8Array.from(bytes));
  });
}
