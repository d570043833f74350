// The visible text of HTML, as `BeautifulSoup(html, 'html.parser').text` gives it (Beautiful Soup 4.15, Python 3.11).
import { namedEntity, soupNumericEntity } from './html-entities.ts';
import { parseHtml } from './html-parser.ts';

const VOID_ELEMENTS = new Set(
  (
    'area base basefont bgsound br col command embed frame hr image img input isindex keygen link menuitem meta ' +
    'nextid param source spacer track wbr'
  ).split(' '),
);
/** Elements whose text is not part of the document's text. */
const HIDDEN_TEXT_ELEMENTS = new Set(['rt', 'rp', 'style', 'script', 'template']);
const PRESERVE_SPACE_ELEMENTS = new Set(['pre', 'textarea']);
const ASCII_SPACES = /^[ \n\t\f\r]*$/;

/** Visible text of an HTML fragment or document; lenient, never throws. */
export function htmlText(html: string): string {
  const open: string[] = [];
  const closedVoidElements: string[] = [];
  let output = '';
  let pending: string[] = [];

  function endText(visible: boolean): void {
    if (pending.length === 0) return;
    let data = pending.join('');
    pending = [];
    if (ASCII_SPACES.test(data) && !open.some((name) => PRESERVE_SPACE_ELEMENTS.has(name))) {
      data = data.includes('\n') ? '\n' : ' ';
    }
    if (visible) output += data;
  }
  function endNormalText(): void {
    endText(!open.some((name) => HIDDEN_TEXT_ELEMENTS.has(name)));
  }
  function push(name: string): void {
    endNormalText();
    open.push(name);
  }
  /** Closes the most recent open element of that name and all inside it; nothing if none is open. */
  function pop(name: string): void {
    endNormalText();
    const index = open.lastIndexOf(name);
    if (index >= 0) open.length = index;
  }

  parseHtml(html, {
    startTag(name) {
      push(name);
      if (!VOID_ELEMENTS.has(name)) return;
      pop(name);
      closedVoidElements.push(name);
    },
    startEndTag(name) {
      push(name);
      pop(name);
    },
    endTag(name) {
      const index = closedVoidElements.indexOf(name);
      if (index >= 0) closedVoidElements.splice(index, 1);
      else pop(name);
    },
    text: (data) => pending.push(data),
    numericReference: (digits) => pending.push(soupNumericEntity(digits)),
    namedReference: (name) => pending.push(namedEntity(name) ?? `&${name}`),
    hidden: endNormalText,
    markedSection(data) {
      endNormalText();
      if (!/^cdata\[/i.test(data)) return;
      pending.push(data.slice('CDATA['.length));
      endText(true);
    },
  });
  endNormalText();
  return output;
}
