// Cleaning of prompts as the training captions were cleaned: an ordered list of substitutions, URL- and HTML-decoding, ftfy.
import { yieldToEventLoop } from '@magi1/tensor';
import { fixText } from './fix-text.ts';
import { htmlUnescape } from './html-entities.ts';
import { htmlText } from './html-text.ts';
import { isAscii, pythonLower, pythonRegExp, pythonStrip, unquotePlus } from './python-text.ts';
import { HTTP, WWW, removeUrls } from './remove-urls.ts';

/** Replaces what a pattern matches. */
type Substitution = (text: string, ascii: boolean) => string;

// Prompts may be whole books: every pattern takes time in proportion to the text. Where a pattern could begin anywhere in a
// run of characters and fail at its end, a lookbehind lets it begin at the start of the run only.

/** Patterns are compiled when they are first needed. */
function rule(pattern: string, replacement = ''): Substitution {
  let [forAscii, forAny]: RegExp[] = [];
  return (text, ascii) =>
    text.replace(
      ascii ? (forAscii ??= pythonRegExp(pattern, 'g', true)) : (forAny ??= pythonRegExp(pattern)),
      replacement,
    );
}

const FILE_TYPES = 'png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4';

const BEFORE_REPAIR: Substitution[] = [
  rule(String.raw`@[\w\d]+\b`), // nicknames
  rule('[\\u31c0-\\u31ef]+'),
  rule('[\\u31f0-\\u31ff]+'),
  rule('[\\u3200-\\u32ff]+'),
  rule('[\\u3300-\\u33ff]+'),
  rule('[\\u3400-\\u4dbf]+'),
  rule('[\\u4dc0-\\u4dff]+'),
  rule('[\\u4e00-\\u9fff]+'),
  rule(
    '[\\u002d\\u058a\\u05be\\u1400\\u1806\\u2010-\\u2015\\u2e17\\u2e1a\\u2e3a\\u2e3b\\u2e40\\u301c\\u3030\\u30a0\\ufe31\\ufe32\\ufe58\\ufe63\\uff0d]+',
    '-',
  ), // dashes
  rule('[`´«»“”¨]', '"'),
  rule('[‘’]', "'"),
  rule('&quot;?'),
  rule('&amp'),
  rule(String.raw`\d{1,3}\.\d{1,3}\.\d{1,3}\.\d{1,3}`, ' '), // IP addresses
  rule(String.raw`\d:\d\d\s+$`), // a time at the end
  rule(String.raw`\\n`, ' '), // backslash and n
  rule(String.raw`#\d{1,3}\b`), // article numbers
  rule(String.raw`#\d{5,}\b`),
  rule(String.raw`\b\d{6,}\b`),
  rule(String.raw`(?<!\S)\S+\.(?:${FILE_TYPES})`), // file names
  rule(`["']{2,}`, '"'),
  rule(String.raw`\.{2,}`, ' '),
  rule(String.raw`[#®•©™&@·º½¾¿¡§~)(\]\[}{|\\/*]+`, ' '),
  rule(String.raw`(?<!\s)\s+\.\s+`, ' '),
];

const AFTER_REPAIR: Substitution[] = [
  rule(String.raw`\b[a-zA-Z]{1,3}\d{3,15}\b`), // jc6640
  rule(String.raw`\b[a-zA-Z]+\d+[a-zA-Z]+\b`), // jc6640vc
  rule(String.raw`\b\d+[a-zA-Z]+\d+\b`), // 6640vc231
  rule(String.raw`(?:worldwide\s+)?(?:free\s+)?shipping`),
  rule(String.raw`(?:free\s)?download(?:\sfree)?`),
  rule(String.raw`\bclick\b\s(?:for|on)\s\w+`),
  rule(String.raw`\b(?:${FILE_TYPES})(?:\simages?)?`),
  rule(String.raw`\bpage\s+\d+\b`),
  rule(String.raw`\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d[a-zA-Z\d]*\b`, ' '), // j2d1a2a
  rule(String.raw`\b\d+(?:\.\d*)?[xх×]\d+(?:\.\d*)?\b`), // sizes; the second x is Cyrillic
  rule(String.raw`\b\s+:\s+`, ': '),
  rule(String.raw`(\D[,./])\b`, '$1 '),
  rule(String.raw`\s+`, ' '),
  rule(String.raw`^["']([^]+)["']$`, '$1'),
  rule(`^['_,\\-:;]`),
  rule(`['_,\\-:+]$`),
  rule(String.raw`^\.\S+$`),
];

/** Applies rules one after the other; may be left after each. */
function* applyAll(text: string, rules: readonly Substitution[]): Steps {
  const ascii = isAscii(text); // replacements are
  let result = text;
  for (const substitute of rules) {
    result = substitute(result, ascii);
    yield;
  }
  return result;
}

/** More than three dashes and underscores are taken as separators of words. */
function splitCompounds(text: string): string {
  return (text.match(/[-_]/g)?.length ?? 0) > 3 ? text.replace(/[-_]/g, ' ') : text;
}

/** Cleaning in small steps, with the result at the end. */
type Steps = Generator<undefined, string>;

function* captionSteps(text: string): Steps {
  let caption = pythonLower(pythonStrip(unquotePlus(text)));
  yield;
  caption = removeUrls(removeUrls(caption.replaceAll('<person>', 'person'), HTTP), WWW);
  yield;
  caption = htmlText(caption);
  yield;
  caption = splitCompounds(yield* applyAll(caption, BEFORE_REPAIR));
  caption = basicClean(caption);
  yield;
  return pythonStrip(yield* applyAll(caption, AFTER_REPAIR));
}

function* promptSteps(text: string): Steps {
  return yield* captionSteps(yield* captionSteps(text));
}

function atOnce(steps: Steps): string {
  for (;;) {
    const { done, value } = steps.next();
    if (done === true) return value;
  }
}

/** One pass of cleaning. Deterministic, never throws; the result may be empty. */
export function cleanCaption(text: string): string {
  return atOnce(captionSteps(text));
}

/** ftfy, HTML references decoded twice, strip. */
export function basicClean(text: string): string {
  return pythonStrip(htmlUnescape(htmlUnescape(fixText(text))));
}

/** What the text encoder gets: two passes, as in the original pipeline. */
export function cleanPrompt(text: string): string {
  return atOnce(promptSteps(text));
}

const TURN_MS = 8;

/** `cleanPrompt` for texts of any length: gives the event loop its turns, and ends when `signal` aborts. */
export async function cleanPromptInTurns(text: string, signal?: AbortSignal): Promise<string> {
  const steps = promptSteps(text);
  let last = performance.now();
  for (;;) {
    signal?.throwIfAborted();
    const { done, value } = steps.next();
    if (done === true) return value;
    if (performance.now() - last < TURN_MS) continue;
    await yieldToEventLoop();
    last = performance.now();
  }
}
