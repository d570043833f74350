// Messages that name options. They keep apart what is a name, so that a front end can show them as its users type them.
import { Magi1Error } from '@magi1/tensor';

/** An option of the library, or one entry of it. */
export class OptionName {
  readonly option: string;
  readonly index: number | undefined;

  constructor(option: string, index: number | undefined) {
    this.option = option;
    this.index = index;
  }
  toString(): string {
    return this.index === undefined ? this.option : `${this.option}[${this.index}]`;
  }
}

/** How a front end calls an option, or entry `index` of one that is a list. */
export type OptionNamer = (option: string, index: number | undefined) => string;

/** Text with the names of options in it; as a string it has the library's names. */
export class Wording {
  readonly parts: readonly (string | OptionName)[];

  constructor(parts: readonly (string | OptionName)[]) {
    this.parts = parts;
  }
  toString(): string {
    return this.parts.join('');
  }
  inNamesOf(name: OptionNamer): string {
    return this.parts.map((part) => (typeof part === 'string' ? part : name(part.option, part.index))).join('');
  }
}

/** The name of an option inside of `worded`. */
export const option = (name: string, index?: number): OptionName => new OptionName(name, index);

/** A text; names in it are `option(...)`, or wordings themselves. */
export function worded(texts: TemplateStringsArray, ...values: readonly (string | number | OptionName | Wording)[]) {
  return new Wording(
    texts.flatMap((text, i) => {
      const value = values[i];
      if (value === undefined) return [text];
      if (value instanceof Wording) return [text, ...value.parts];
      return [text, typeof value === 'number' ? String(value) : value];
    }),
  );
}

/** Several wordings as one, or the names of several options. */
export function joined(parts: readonly (OptionName | Wording)[], separator: string): Wording {
  return new Wording(
    parts.flatMap((part, i) => [...(i === 0 ? [] : [separator]), ...(part instanceof Wording ? part.parts : [part])]),
  );
}

/** What was asked for cannot be done; the message names the options that are at fault. */
export class RequestError extends Magi1Error {
  override name = 'RequestError';
  readonly wording: Wording;

  constructor(...faults: readonly Wording[]) {
    const wording = joined(faults, '; ');
    super(String(wording));
    this.wording = wording;
  }

  /** The options that the message names, each once, by the library's names. */
  get options(): string[] {
    return [...new Set(this.wording.parts.flatMap((part) => (typeof part === 'string' ? [] : [part.option])))];
  }
}

/** A value as it shows in messages. */
export function describe(value: unknown): string {
  if (typeof value === 'string') return JSON.stringify(value.length > 40 ? `${value.slice(0, 40)}...` : value);
  if (typeof value === 'object') return value === null ? 'null' : Array.isArray(value) ? 'an array' : 'an object';
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  return value === undefined ? 'nothing' : `a ${typeof value}`;
}
