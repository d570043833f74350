// Removes web addresses as the cleaning rules of the training captions do, in time that grows with the text alone: as a
// pattern, a host name is tried at each of its words, and each try reads to its end.
import { pythonRegExp } from './python-text.ts';

/** How an address may begin; a bare host name needs none of this. */
export const HTTP = pythonRegExp('https?:(?:/{1,3}|[a-zA-Z0-9%])', 'y');
export const WWW = pythonRegExp('www:(?:/{1,3}|[a-zA-Z0-9%])', 'y');

const START = pythonRegExp(String.raw`\b(?=[a-zA-Z0-9.\-])`);
const HOST = /[a-zA-Z0-9.-]+/y;
const DOMAIN_AND_PATH = pythonRegExp(String.raw`[.](?:com|co|ru|net|org|edu|gov|it)[\w/\-]*\b/?(?!@)`, 'y');

/** A run of characters of host names. */
interface HostRun {
  readonly end: number;
  /** Its last top-level domain, -1 without one, and where the path behind that ends. */
  readonly domain: number;
  readonly pathEnd: number;
}

/** What the pattern `\b(?:scheme|[a-zA-Z0-9.\-]+[.](?:com|...)[\w/\-]*\b/?(?!@))` matches is left out. */
export function removeUrls(text: string, scheme: RegExp): string {
  let out = '';
  let kept = 0; // what was kept or left out so far
  let run: HostRun = { end: 0, domain: -1, pathEnd: 0 };
  START.lastIndex = 0;
  for (let start = START.exec(text); start !== null; start = START.exec(text)) {
    const at = start.index;
    if (at >= run.end) run = hostRun(text, at);
    scheme.lastIndex = at;
    const end = scheme.test(text) ? scheme.lastIndex : run.domain > at ? run.pathEnd : at;
    if (end > at) {
      out += text.slice(kept, at);
      kept = end;
    }
    START.lastIndex = end > at ? end : at + 1;
  }
  return out + text.slice(kept);
}

function hostRun(text: string, at: number): HostRun {
  HOST.lastIndex = at;
  HOST.test(text);
  const end = HOST.lastIndex;
  for (let dot = end - 1; dot > at; dot--) {
    if (text[dot] !== '.') continue;
    DOMAIN_AND_PATH.lastIndex = dot;
    if (DOMAIN_AND_PATH.test(text)) return { end, domain: dot, pathEnd: DOMAIN_AND_PATH.lastIndex };
  }
  return { end, domain: -1, pathEnd: 0 };
}
