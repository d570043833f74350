// Reads tokenizer.json of a T5 model. Only what T5's conversion produces is accepted; anything else would tokenise differently.
import { FileFormatError } from '@magi1/tensor';
import { compileCharsmap } from './charsmap.ts';
import {
  END_TOKEN,
  LEADING_SPACE,
  PAD_TOKEN,
  SPACE_MARK,
  TRAILING_SPACE,
  type SpecialToken,
  type TokenizerModel,
} from './tokenizer-model.ts';

const FILE = 'tokenizer.json';
type JsonObject = Record<string, unknown>;

function fail(what: string): never {
  throw new FileFormatError(`${FILE}: ${what}`);
}
function objectAt(value: unknown, path: string): JsonObject {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail(`${path} should be an object`);
  return value as JsonObject;
}
function arrayAt(value: unknown, path: string): unknown[] {
  if (!Array.isArray(value)) fail(`${path} should be an array`);
  return value;
}
function stringAt(value: unknown, path: string): string {
  if (typeof value !== 'string') fail(`${path} should be a string`);
  return value;
}
function expectValue(value: unknown, expected: unknown, path: string): void {
  if (value !== expected) fail(`${path} is ${JSON.stringify(value)}, expected ${JSON.stringify(expected)} for T5`);
}

function base64Bytes(text: string, path: string): Uint8Array {
  try {
    return Uint8Array.from(atob(text), (char) => char.charCodeAt(0));
  } catch (cause) {
    throw new FileFormatError(`${FILE}: ${path} is not base64`, { cause });
  }
}

const MAX_DEPTH = 16;

function readNormalizer(value: unknown, path: string, depth = 0): (text: string) => string {
  if (value === null) return (text) => text;
  if (depth > MAX_DEPTH) fail(`normalizers nested deeper than ${MAX_DEPTH}`);
  const normalizer = objectAt(value, path);
  switch (normalizer.type) {
    case 'Sequence': {
      const steps = arrayAt(normalizer.normalizers, `${path}.normalizers`).map((step, i) =>
        readNormalizer(step, `${path}.normalizers[${i}]`, depth + 1),
      );
      return (text) => steps.reduce((result, step) => step(result), text);
    }
    case 'Precompiled': {
      const charsmapPath = `${path}.precompiled_charsmap`;
      return compileCharsmap(base64Bytes(stringAt(normalizer.precompiled_charsmap, charsmapPath), charsmapPath), FILE);
    }
    case 'Strip': {
      const { strip_left: left, strip_right: right } = normalizer;
      return (text) => {
        const rest = left === true ? text.replace(LEADING_SPACE, '') : text;
        return right === true ? rest.replace(TRAILING_SPACE, '') : rest;
      };
    }
    case 'Replace': {
      const pattern = objectAt(normalizer.pattern, `${path}.pattern`);
      expectValue(pattern.Regex, ' {2,}', `${path}.pattern.Regex`);
      const content = stringAt(normalizer.content, `${path}.content`);
      return (text) => text.replace(/ {2,}/g, () => content);
    }
    default:
      return fail(
        `${path}.type is ${JSON.stringify(normalizer.type)}, expected Sequence, Precompiled, Strip or Replace`,
      );
  }
}

/** Metaspace, behind WhitespaceSplit in files of transformers 5: how words are cut, and where a space mark is prepended. */
function readPreTokenizer(value: unknown): Pick<TokenizerModel, 'prependSpace' | 'splitsWhiteSpace'> {
  const outer = objectAt(value, 'pre_tokenizer');
  if (outer.type !== 'Sequence')
    return { prependSpace: readMetaspace(outer, 'pre_tokenizer'), splitsWhiteSpace: false };
  const path = 'pre_tokenizer.pretokenizers';
  const steps = arrayAt(outer.pretokenizers, path).map((step, i) => objectAt(step, `${path}[${i}]`));
  const types = steps.map(({ type }) => type);
  if (types.length !== 2 || types[0] !== 'WhitespaceSplit' || types[1] !== 'Metaspace')
    fail(`${path} are ${JSON.stringify(types)}, expected ["WhitespaceSplit","Metaspace"] for T5`);
  return { prependSpace: readMetaspace(steps[1]!, `${path}[1]`), splitsWhiteSpace: true };
}

function readMetaspace(preTokenizer: JsonObject, path: string): 'always' | 'first' {
  expectValue(preTokenizer.type, 'Metaspace', `${path}.type`);
  expectValue(preTokenizer.replacement, SPACE_MARK, `${path}.replacement`);
  expectValue(preTokenizer.split ?? true, true, `${path}.split`);
  expectValue(preTokenizer.add_prefix_space ?? true, true, `${path}.add_prefix_space`);
  const scheme = preTokenizer.prepend_scheme ?? 'always';
  if (scheme !== 'always' && scheme !== 'first') {
    fail(`${path}.prepend_scheme is ${JSON.stringify(scheme)}, expected "always" or "first"`);
  }
  return scheme;
}

function readModel(value: unknown): { pieces: string[]; scores: number[]; unknownId: number } {
  const model = objectAt(value, 'model');
  expectValue(model.type, 'Unigram', 'model.type');
  expectValue(model.byte_fallback ?? false, false, 'model.byte_fallback');
  const pieces: string[] = [];
  const scores: number[] = [];
  arrayAt(model.vocab, 'model.vocab').forEach((entry, id) => {
    const [piece, score] = arrayAt(entry, `model.vocab[${id}]`);
    pieces.push(stringAt(piece, `model.vocab[${id}][0]`));
    if (typeof score !== 'number') fail(`model.vocab[${id}][1] should be a number`);
    scores.push(score);
  });
  const unknownId = model.unk_id;
  if (typeof unknownId !== 'number' || !Number.isInteger(unknownId) || unknownId < 0 || unknownId >= pieces.length) {
    fail(`model.unk_id is ${JSON.stringify(unknownId)}, expected the id of one of the ${pieces.length} pieces`);
  }
  return { pieces, scores, unknownId };
}

function readSpecialToken(value: unknown, index: number): SpecialToken {
  const path = `added_tokens[${index}]`;
  const token = objectAt(value, path);
  const { id } = token;
  if (typeof id !== 'number' || !Number.isInteger(id) || id < 0) fail(`${path}.id should be a token id`);
  const text = stringAt(token.content, `${path}.content`);
  if (text === '') fail(`${path}.content is empty`);
  expectValue(token.single_word ?? false, false, `${path}.single_word`);
  expectValue(token.normalized ?? false, false, `${path}.normalized`);
  return { id, text, stripLeft: token.lstrip === true, stripRight: token.rstrip === true };
}

/** The post-processor of T5 appends the end token, and nothing else. */
function checkPostProcessor(value: unknown, endId: number): void {
  const postProcessor = objectAt(value, 'post_processor');
  expectValue(postProcessor.type, 'TemplateProcessing', 'post_processor.type');
  const kinds = arrayAt(postProcessor.single, 'post_processor.single').map((part) => {
    const { Sequence: sequence, SpecialToken: special } = objectAt(part, 'post_processor.single[]');
    return sequence ? 'text' : objectAt(special, 'post_processor.single[].SpecialToken').id;
  });
  if (kinds.length !== 2 || kinds[0] !== 'text' || kinds[1] !== END_TOKEN || endId < 0) {
    fail(`post_processor.single should be the text and ${END_TOKEN}`);
  }
}

/** @throws FileFormatError naming the entry that is broken or not T5's */
export function readTokenizerJson(text: string): TokenizerModel {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch (cause) {
    throw new FileFormatError(`${FILE}: not JSON: ${cause instanceof Error ? cause.message : String(cause)}`, {
      cause,
    });
  }
  const json = objectAt(parsed, 'the file');
  const vocabulary = readModel(json.model);
  const specialTokens = arrayAt(json.added_tokens ?? [], 'added_tokens').map(readSpecialToken);
  const idOf = (token: string): number =>
    specialTokens.find((special) => special.text === token)?.id ?? vocabulary.pieces.indexOf(token);
  const endId = idOf(END_TOKEN);
  const padId = idOf(PAD_TOKEN);
  if (endId < 0 || padId < 0) fail(`no token ${endId < 0 ? END_TOKEN : PAD_TOKEN}; not the tokenizer of a T5 model`);
  checkPostProcessor(json.post_processor, endId);
  return {
    vocabulary,
    specialTokens,
    normalize: readNormalizer(json.normalizer ?? null, 'normalizer'),
    ...readPreTokenizer(json.pre_tokenizer),
    endId,
    padId,
  };
}
