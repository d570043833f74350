// What messages are made of: names of options, which a front end can show as its users type them, values, and bytes as
// people read them.
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

const UNITS = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB'];

function inUnit(bytes: number): { readonly value: number; readonly unit: string } {
  let value = bytes;
  let unit = 0;
  for (; value >= 1024 && unit < UNITS.length - 1; unit++) value /= 1024;
  return { value, unit: value === 1 && unit === 0 ? 'byte' : UNITS[unit]! };
}

/** `1.58 GiB`, `12.4 MiB`, `800 bytes`. */
export function formatBytes(bytes: number): string {
  const { value, unit } = inUnit(bytes);
  if (unit.startsWith('byte')) return `${bytes} ${unit}`;
  return `${value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(2)} ${unit}`;
}

/** An amount that suffices for what is needed when it is given as it reads here: `15.11 MiB`. */
export function formatNeed(bytes: number): string {
  // One byte more, since amounts that are read are rounded down to whole bytes.
  const { value, unit } = inUnit(Math.ceil(bytes) + 1);
  return unit.startsWith('byte') ? `${value} ${unit}` : `${(Math.ceil(100 * value) / 100).toFixed(2)} ${unit}`;
}

/** What there is, which never reads as more than that: beside a larger need (`formatNeed`) it always reads as less. */
export function formatLimit(bytes: number): string {
  const { value, unit } = inUnit(Math.floor(bytes));
  return unit.startsWith('byte') ? `${value} ${unit}` : `${(Math.floor(100 * value) / 100).toFixed(2)} ${unit}`;
}
