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
  // Counted by name, so that no tag looks through all those that are open.
  const openCount = new Map<string, number>();
  const closedVoidElements = new Map<string, number>();
  let [hiding, preserving] = [0, 0];
  let output = '';
  let pending: string[] = [];

  function endText(visible: boolean): void {
    if (pending.length === 0) return;
    let data = pending.join('');
    pending = [];
    if (ASCII_SPACES.test(data) && preserving === 0) {
      data = data.includes('\n') ? '\n' : ' ';
    }
    if (visible) output += data;
  }
  function endNormalText(): void {
    endText(hiding === 0);
  }
  function push(name: string): void {
    endNormalText();
    open.push(name);
    count(name, 1);
  }
  function count(name: string, change: 1 | -1): void {
    openCount.set(name, (openCount.get(name) ?? 0) + change);
    if (HIDDEN_TEXT_ELEMENTS.has(name)) hiding += change;
    if (PRESERVE_SPACE_ELEMENTS.has(name)) preserving += change;
  }
  /** Closes the most recent open element of that name and all inside it; nothing if none is open. */
  function pop(name: string): void {
    endNormalText();
    if ((openCount.get(name) ?? 0) === 0) return;
    for (let closed: string | undefined; closed !== name;) {
      closed = open.pop()!;
      count(closed, -1);
    }
  }

  parseHtml(html, {
    startTag(name) {
      push(name);
      if (!VOID_ELEMENTS.has(name)) return;
      pop(name);
      closedVoidElements.set(name, (closedVoidElements.get(name) ?? 0) + 1);
    },
    startEndTag(name) {
      push(name);
      pop(name);
    },
    endTag(name) {
      const closed = closedVoidElements.get(name) ?? 0;
      if (closed > 0) closedVoidElements.set(name, closed - 1);
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
