// Cleaning of prompts as the training captions were cleaned: an ordered list of substitutions, URL- and HTML-decoding, ftfy.
import { fixText } from './fix-text.ts';
import { htmlUnescape } from './html-entities.ts';
import { htmlText } from './html-text.ts';
import { pythonLower, pythonRegExp, pythonStrip, unquotePlus } from './python-text.ts';

type Substitution = readonly [pattern: RegExp, replacement: string];

function rule(pattern: string, replacement = ''): Substitution {
  return [pythonRegExp(pattern), replacement];
}

const HOST_AND_PATH = String.raw`[a-zA-Z0-9.\-]+[.](?:com|co|ru|net|org|edu|gov|it)[\w/\-]*\b/?(?!@)`;
const FILE_TYPES = 'png|jpg|jpeg|bmp|webp|eps|pdf|apk|mp4';

const URLS: Substitution[] = [
  rule(String.raw`\b(?:https?:(?:/{1,3}|[a-zA-Z0-9%])|${HOST_AND_PATH})`),
  rule(String.raw`\b(?:www:(?:/{1,3}|[a-zA-Z0-9%])|${HOST_AND_PATH})`),
];

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
  rule(String.raw`\S+\.(?:${FILE_TYPES})`), // file names
  rule(`["']{2,}`, '"'),
  rule(String.raw`\.{2,}`, ' '),
  rule(String.raw`[#®•©™&@·º½¾¿¡§~)(\]\[}{|\\/*]+`, ' '),
  rule(String.raw`\s+\.\s+`, ' '),
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
  rule(String.raw`\b\d*[a-zA-Z]+\d+[a-zA-Z]+\d+[a-zA-Z\d]*\b`, ' '), // j2d1a2a
  rule(String.raw`\b\d+\.?\d*[xх×]\d+\.?\d*\b`), // sizes; the second x is Cyrillic
  rule(String.raw`\b\s+:\s+`, ': '),
  rule(String.raw`(\D[,./])\b`, '$1 '),
  rule(String.raw`\s+`, ' '),
  rule(String.raw`^["']([^]+)["']$`, '$1'),
  rule(`^['_,\\-:;]`),
  rule(`['_,\\-:+]$`),
  rule(String.raw`^\.\S+$`),
];

function applyAll(text: string, rules: readonly Substitution[]): string {
  return rules.reduce((result, [pattern, replacement]) => result.replace(pattern, replacement), text);
}

/** More than three dashes and underscores are taken as separators of words. */
function splitCompounds(text: string): string {
  return (text.match(/[-_]/g)?.length ?? 0) > 3 ? text.replace(/[-_]/g, ' ') : text;
}

/** One pass of cleaning. Deterministic, never throws; the result may be empty. */
export function cleanCaption(text: string): string {
  let caption = pythonLower(pythonStrip(unquotePlus(text)));
  caption = caption.replaceAll('<person>', 'person');
  caption = htmlText(applyAll(caption, URLS));
  caption = splitCompounds(applyAll(caption, BEFORE_REPAIR));
  caption = basicClean(caption);
  return pythonStrip(applyAll(caption, AFTER_REPAIR));
}

/** ftfy, HTML references decoded twice, strip. */
export function basicClean(text: string): string {
  return pythonStrip(htmlUnescape(htmlUnescape(fixText(text))));
}

/** What the text encoder gets: two passes, as in the original pipeline. */
export function cleanPrompt(text: string): string {
  return cleanCaption(cleanCaption(text));
}
