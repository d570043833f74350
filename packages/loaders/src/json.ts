// A strict JSON reader for file headers, where JSON.parse is too forgiving: duplicate keys are refused, objects come
// back as Maps (a tensor may be called __proto__), and numbers keep their text, so that 2.0 is not mistaken for 2.
import { FileFormatError } from '@magi1/tensor';

export type JsonValue = null | boolean | string | JsonNumber | JsonValue[] | JsonObject;
export type JsonObject = Map<string, JsonValue>;

export class JsonNumber {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

const MAX_DEPTH = 64;
/** Checkpoints have thousands of tensors. */
const MAX_MEMBERS = 200_000;
const SPACE = /[ \t\n\r]*/y;
const NUMBER = /-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?/y;
const QUOTE_OR_ESCAPE = /["\\]/g;
const LONE_SURROGATE = /\p{Surrogate}/u;

/**
 * Parses UTF-8 bytes as one JSON value.
 * @throws FileFormatError with `what` in front, on invalid UTF-8, invalid JSON, duplicate keys, deep nesting or too many members.
 */
export function parseJsonBytes(bytes: Uint8Array, what: string): JsonValue {
  let text: string;
  try {
    text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch (cause) {
    throw new FileFormatError(`${what}: not valid UTF-8`, { cause });
  }
  return parseJson(text, what);
}

export function parseJson(text: string, what: string): JsonValue {
  let at = 0;

  function fail(problem: string): never {
    throw new FileFormatError(`${what}: invalid JSON, ${problem} at character ${at}`);
  }
  function skipSpace(): void {
    SPACE.lastIndex = at;
    SPACE.test(text);
    at = SPACE.lastIndex;
  }
  function expect(char: string): void {
    if (text[at] !== char) fail(`expected '${char}', found ${at < text.length ? `'${text[at]!}'` : 'the end'}`);
    at++;
  }
  function match(pattern: RegExp): string | undefined {
    pattern.lastIndex = at;
    const found = pattern.exec(text)?.[0];
    if (found !== undefined) at += found.length;
    return found;
  }
  function string(): string {
    const start = at;
    expect('"');
    for (;;) {
      QUOTE_OR_ESCAPE.lastIndex = at;
      at = QUOTE_OR_ESCAPE.exec(text)?.index ?? text.length;
      if (text[at] !== '\\') break;
      at += 2;
    }
    expect('"');
    let value: string;
    try {
      value = JSON.parse(text.slice(start, at)) as string;
    } catch {
      at = start;
      return fail('bad string');
    }
    if (LONE_SURROGATE.test(value)) fail('string with half a surrogate pair');
    return value;
  }
  function value(depth: number): JsonValue {
    if (depth > MAX_DEPTH) fail(`nesting deeper than ${MAX_DEPTH}`);
    skipSpace();
    switch (text[at]) {
      case '{':
        return object(depth);
      case '[':
        return array(depth);
      case '"':
        return string();
      case 't':
        return word('true', true);
      case 'f':
        return word('false', false);
      case 'n':
        return word('null', null);
      default:
        return new JsonNumber(match(NUMBER) ?? fail(at < text.length ? `unexpected '${text[at]!}'` : 'unexpected end'));
    }
  }
  function word<T>(literal: string, meaning: T): T {
    if (!text.startsWith(literal, at)) fail('unknown word');
    at += literal.length;
    return meaning;
  }
  function array(depth: number): JsonValue[] {
    const items: JsonValue[] = [];
    expect('[');
    skipSpace();
    if (text[at] !== ']') {
      for (;;) {
        items.push(value(depth + 1));
        skipSpace();
        if (text[at] !== ',') break;
        at++;
      }
    }
    expect(']');
    return items;
  }
  function object(depth: number): JsonObject {
    const members: JsonObject = new Map();
    expect('{');
    skipSpace();
    if (text[at] !== '}') {
      for (;;) {
        skipSpace();
        const key = string();
        if (members.size === MAX_MEMBERS) fail(`more than ${MAX_MEMBERS} members in one object`);
        if (members.has(key)) fail(`duplicate key ${JSON.stringify(key)}`);
        skipSpace();
        expect(':');
        members.set(key, value(depth + 1));
        skipSpace();
        if (text[at] !== ',') break;
        at++;
      }
    }
    expect('}');
    return members;
  }

  const result = value(0);
  skipSpace();
  if (at < text.length) fail(`unexpected '${text[at]!}' after the value`);
  return result;
}

/** A non-negative integer written as one, that a double holds exactly; undefined for anything else. */
export function jsonSize(value: JsonValue | undefined): number | undefined {
  if (!(value instanceof JsonNumber) || !/^[0-9]+$/.test(value.text)) return undefined;
  const number = Number(value.text);
  return Number.isSafeInteger(number) ? number : undefined;
}

/** A short rendering of a value for error messages. */
export function showJson(value: JsonValue | undefined): string {
  if (value === undefined) return 'nothing';
  if (value instanceof JsonNumber) return value.text;
  if (value instanceof Map) return 'an object';
  if (Array.isArray(value)) return `[${value.slice(0, 8).map(showJson).join(', ')}${value.length > 8 ? ', ...' : ''}]`;
  return shorten(JSON.stringify(value));
}

export function shorten(text: string, limit = 80): string {
  return text.length > limit ? `${text.slice(0, limit)}...` : text;
}
