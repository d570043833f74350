// A tokeniser for HTML as lenient as Python 3.11's html.parser (convert_charrefs off), which decides what a prompt such as
// "a < b" or "<unclosed" keeps. It reports tags, text and declarations; html-text.ts makes text of them.
import { pythonLower, pythonRegExp, pythonStrip } from './python-text.ts';

export interface HtmlEvents {
  startTag(name: string): void;
  /** `<name/>`. */
  startEndTag(name: string): void;
  endTag(name: string): void;
  text(data: string): void;
  /** Digits of a numeric reference, such as `65` or `x41`. */
  numericReference(digits: string): void;
  /** Name of a named reference, without `&` and `;`. */
  namedReference(name: string): void;
  /** Comments, document types, processing instructions: nothing that is shown. */
  hidden(): void;
  /** Body of a marked section, such as `CDATA[x`. */
  markedSection(data: string): void;
}

const TAG_OPEN = /<[a-zA-Z]/y;
const TAG_NAME = pythonRegExp(String.raw`([a-zA-Z][^\t\n\r\f />\x00]*)(?:\s|/(?!>))*`, 'y');
const ATTRIBUTE = pythonRegExp(
  String.raw`((?<=['"\s/])[^\s/>][^\s/=>]*)(\s*=+\s*('[^']*'|"[^"]*"|(?!['"])[^>\s]*))?(?:\s|/(?!>))*`,
  'y',
);
const WHOLE_START_TAG = pythonRegExp(
  String.raw`<[a-zA-Z][^\t\n\r\f />\x00]*` +
    String.raw`(?:[\s/]*(?:(?<=['"\s/])[^\s/>][^\s/=>]*(?:\s*=+\s*(?:'[^']*'|"[^"]*"|(?!['"])[^>\s]*)\s*)?(?:\s|/(?!>))*)*)?\s*`,
  'y',
);
const WHOLE_END_TAG = pythonRegExp(String.raw`</\s*([a-zA-Z][\-.a-zA-Z0-9:_]*)\s*>`, 'y');
// A character behind is needed, else more of the name might come; a semicolon is taken along.
const NAMED_REFERENCE = /&([a-zA-Z][-.a-zA-Z0-9]*)(?:;|(?=[^a-zA-Z0-9]))/y;
const NUMERIC_REFERENCE = /&#([0-9]+|[xX][0-9a-fA-F]+)(?:;|(?=[^0-9a-fA-F]))/y;
const INCOMPLETE_REFERENCE = /&[a-zA-Z#]/y;
const COMMENT_CLOSE = pythonRegExp(String.raw`--\s*>`);
const DECLARATION_CLOSE = />/g;
const SECTION_NAME = pythonRegExp(String.raw`([a-zA-Z][\-_.a-zA-Z0-9]*)\s*`, 'y');
const SECTION_CLOSE = pythonRegExp(String.raw`\]\s*\]\s*>`);
const OFFICE_SECTION_CLOSE = pythonRegExp(String.raw`\]\s*>`);

/** Elements whose content is text up to their end tag. */
const RAW_TEXT_ELEMENTS = new Set(['script', 'style']);
const INCOMPLETE = -1;

function execAt(pattern: RegExp, text: string, at: number): RegExpExecArray | null {
  pattern.lastIndex = at;
  return pattern.exec(text);
}

/** Texts' lengths that unclosed start tags may read in all; then tags must be closed within `SHORT_TAG` characters. */
const UNCLOSED_LENGTHS = 64;
const SHORT_TAG = 1000;

/** Parses a whole document in time that grows with its length alone; never throws, whatever the text. */
export function parseHtml(html: string, events: HtmlEvents): void {
  let rawTextElement: string | undefined;
  let readByUnclosedTags = 0;
  /** From where on a pattern is known to match nowhere in the present scan's source. */
  const absentFrom = new Map<RegExp, number>();

  /** The first match at or after `from`. */
  function findFrom(pattern: RegExp, source: string, from: number): RegExpExecArray | null {
    if (from >= (absentFrom.get(pattern) ?? Infinity)) return null;
    const found = execAt(pattern, source, from);
    if (found === null) absentFrom.set(pattern, from);
    return found;
  }

  function wholeStartTagEnd(source: string, at: number): number {
    if (readByUnclosedTags > UNCLOSED_LENGTHS * html.length) {
      const end = startTagEnd(source.slice(at, at + SHORT_TAG), 0);
      return end < 0 ? end : at + end;
    }
    const end = startTagEnd(source, at);
    if (end < 0) readByUnclosedTags += WHOLE_START_TAG.lastIndex - at;
    return end;
  }

  /** Each of these reads the construct that starts at `at` and returns its end, or INCOMPLETE if it is not closed. */
  function startTag(source: string, at: number): number {
    const end = wholeStartTagEnd(source, at);
    if (end < 0) return end;
    const nameMatch = execAt(TAG_NAME, source, at + 1);
    const name = pythonLower(nameMatch?.[1] ?? '');
    let position = nameMatch ? TAG_NAME.lastIndex : end;
    while (position < end) {
      if (!execAt(ATTRIBUTE, source, position)) break;
      position = ATTRIBUTE.lastIndex;
    }
    const close = pythonStrip(source.slice(position, end));
    if (close === '>') {
      events.startTag(name);
      if (RAW_TEXT_ELEMENTS.has(name)) rawTextElement = name;
    } else if (close === '/>') events.startEndTag(name);
    else events.text(source.slice(at, end));
    return end;
  }

  function endTag(source: string, at: number): number {
    const close = findFrom(DECLARATION_CLOSE, source, at + 1)?.index;
    if (close === undefined) return INCOMPLETE;
    const whole = execAt(WHOLE_END_TAG, source, at);
    if (whole) {
      const name = pythonLower(whole[1] ?? '');
      if (rawTextElement !== undefined && name !== rawTextElement) events.text(source.slice(at, close + 1));
      else {
        events.endTag(name);
        rawTextElement = undefined;
      }
      return close + 1;
    }
    if (rawTextElement !== undefined) {
      events.text(source.slice(at, close + 1));
      return close + 1;
    }
    const named = execAt(TAG_NAME, source, at + 2);
    if (named) {
      const end = source.indexOf('>', TAG_NAME.lastIndex) + 1;
      events.endTag(pythonLower(named[1] ?? ''));
      return end;
    }
    if (source.startsWith('</>', at)) return at + 3;
    events.hidden();
    return close + 1;
  }

  /** Skips to just behind the first match of `close` at or after `from`. */
  function hiddenUntil(source: string, from: number, close: RegExp): number {
    if (!findFrom(close, source, from)) return INCOMPLETE;
    events.hidden();
    return close.lastIndex;
  }

  function markedSection(source: string, at: number): number {
    const name = execAt(SECTION_NAME, source, at + 3);
    if (!name || SECTION_NAME.lastIndex === source.length) return INCOMPLETE;
    const keyword = pythonLower(name[1] ?? '');
    let close: RegExp;
    if (['temp', 'cdata', 'ignore', 'include', 'rcdata'].includes(keyword)) close = SECTION_CLOSE;
    else if (['if', 'else', 'endif'].includes(keyword)) close = OFFICE_SECTION_CLOSE;
    else return INCOMPLETE; // html.parser raises here and the original fails; as text the prompt is at least usable
    const match = findFrom(close, source, at + 3);
    if (!match) return INCOMPLETE;
    events.markedSection(source.slice(at + 3, match.index));
    return close.lastIndex;
  }

  function markup(source: string, at: number): number | undefined {
    if (execAt(TAG_OPEN, source, at)) return startTag(source, at);
    if (source.startsWith('</', at)) return endTag(source, at);
    if (source.startsWith('<!--', at)) return hiddenUntil(source, at + 4, COMMENT_CLOSE);
    if (source.startsWith('<?', at)) return hiddenUntil(source, at + 2, DECLARATION_CLOSE);
    if (source.startsWith('<![', at)) return markedSection(source, at);
    if (pythonLower(source.slice(at, at + 9)) === '<!doctype') return hiddenUntil(source, at + 9, DECLARATION_CLOSE);
    if (source.startsWith('<!', at)) return hiddenUntil(source, at + 2, DECLARATION_CLOSE);
    if (at + 1 >= source.length) return undefined;
    events.text('<');
    return at + 1;
  }

  /** Reads a reference; `next` is where to go on, or, with `stop`, where this scan has to end. */
  function reference(source: string, at: number, final: boolean): { next: number; stop: boolean } {
    if (source.startsWith('&#', at)) {
      const numeric = execAt(NUMERIC_REFERENCE, source, at);
      if (numeric) {
        events.numericReference(numeric[1] ?? '');
        return { next: NUMERIC_REFERENCE.lastIndex, stop: false };
      }
      if (!source.includes(';', at)) return { next: at, stop: true };
      events.text('&#');
      return { next: at + 2, stop: true };
    }
    const named = execAt(NAMED_REFERENCE, source, at);
    if (named) {
      events.namedReference(named[1] ?? '');
      return { next: NAMED_REFERENCE.lastIndex, stop: false };
    }
    if (execAt(INCOMPLETE_REFERENCE, source, at)) {
      // html.parser loses the ampersand of a last "&x".
      return { next: final && source.length === at + 2 ? at + 1 : at, stop: true };
    }
    if (at + 1 >= source.length) return { next: at, stop: true };
    events.text('&');
    return { next: at + 1, stop: false };
  }

  /** Where unclosed markup ends at the end of the document: behind the next `>`, else before the next `<`, else at once. */
  function unclosedEnd(source: string, at: number): number {
    if (findFrom(DECLARATION_CLOSE, source, at + 1)) return DECLARATION_CLOSE.lastIndex;
    const open = source.indexOf('<', at + 1);
    return open >= 0 ? open : at + 1;
  }

  /** One scan; returns what is left where it met something that could still be continued. */
  function scan(source: string, final: boolean): string {
    let at = 0;
    absentFrom.clear();
    while (at < source.length) {
      const interesting = rawTextElement === undefined ? /[&<]/g : rawTextEnd(rawTextElement);
      const found = execAt(interesting, source, at);
      if (!found && rawTextElement !== undefined) break;
      const from = found?.index ?? source.length;
      if (from > at) events.text(source.slice(at, from));
      at = from;
      if (at === source.length) break;
      if (source[at] === '&') {
        const { next, stop } = reference(source, at, final);
        at = next;
        if (stop) break;
        continue;
      }
      let end = markup(source, at);
      if (end === undefined) break;
      if (end < 0) {
        if (!final) break;
        end = unclosedEnd(source, at);
        events.text(source.slice(at, end));
      }
      at = end;
    }
    if (final && at < source.length && rawTextElement === undefined) {
      events.text(source.slice(at));
      return '';
    }
    return source.slice(at);
  }

  // html.parser is fed once and then closed: the second scan sees the rest alone and takes what is unclosed as text.
  scan(scan(html, false), true);
}

function rawTextEnd(element: string): RegExp {
  return pythonRegExp(String.raw`</\s*${element}\s*>`, 'gi');
}

function startTagEnd(source: string, at: number): number {
  if (!execAt(WHOLE_START_TAG, source, at)) return INCOMPLETE;
  const end = WHOLE_START_TAG.lastIndex;
  const next = source[end];
  if (next === '>') return end + 1;
  if (next === '/') return source[end + 1] === '>' ? end + 2 : INCOMPLETE;
  if (next === undefined || /[a-zA-Z=]/.test(next)) return INCOMPLETE;
  return end > at ? end : at + 1;
}
