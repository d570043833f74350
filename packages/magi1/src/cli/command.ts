// A subcommand as data: its options make the parser and the help text.
import { parseArgs } from 'node:util';
import { Magi1Error } from '@magi1/tensor';
import { OptionName } from '../wording.ts';
import type { OptionNamer } from '../wording.ts';

/** The command line itself is wrong: exit status 2. */
export class UsageError extends Magi1Error {
  override name = 'UsageError';
}

export interface OptionSpec {
  /** Placeholder of its value in the help text; a switch has none. */
  readonly value?: string;
  readonly help: string;
  /** May be given several times. */
  readonly repeats?: true;
  /** The library's option that it sets, where that is not its own name in camelCase. */
  readonly sets?: string;
  /** The original's name of it, where that differs in more than underscores. */
  readonly alias?: string;
}

/** Values by option name; switches are true, options that may be repeated are lists. */
export type Values = Readonly<Record<string, string | true | readonly string[] | undefined>>;

export interface Command {
  readonly name: string;
  readonly summary: string;
  readonly usage: string;
  readonly positionals: number;
  readonly options: Readonly<Record<string, OptionSpec>>;
  /** Resolves to the exit status. */
  run(values: Values, positionals: readonly string[]): Promise<number>;
}

export const COMMON_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  debug: { help: 'show stack traces of errors' },
  help: { help: 'show this text' },
};

export const DEVICE_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  device: { value: 'NAME', help: 'auto (a GPU if there is one, else wasm), webgpu, wasm or reference; default auto' },
  adapter: { value: 'NAME', help: 'WebGPU adapter, by part of its name (magi1 info lists them)' },
  threads: { value: 'N', help: 'threads of the wasm device; default all cores' },
};

export const WEIGHT_DTYPES = ['f32', 'f16', 'bf16', 'q8', 'q4'] as const;

/** What decides the memory of a run, beside its size. */
export const MEMORY_OPTIONS: Readonly<Record<string, OptionSpec>> = {
  dtype: {
    value: 'DTYPE',
    help: 'of the weights of transformer and text encoder: f32, f16 or bf16, or q8 or q4 of all networks; default as stored',
  },
  offload: {
    value: 'MODE',
    help: 'none, text (text encoder freed after the text), group (blocks brought while a network runs) or disk (those from the files); default what fits',
  },
  'memory-budget': {
    value: 'BYTES',
    help: 'most that tensors may take on the device, as in 12GiB; default what the machine has left',
  },
};

export function parseCommand(command: Command, args: readonly string[]): { values: Values; positionals: string[] } {
  const options = { ...command.options, ...COMMON_OPTIONS };
  let parsed;
  try {
    parsed = parseArgs({
      args: joinValues(
        args.map((arg) => modernName(arg, options)),
        options,
      ),
      options: Object.fromEntries(
        Object.entries(options).map(([name, { value }]) => [
          name,
          { type: value === undefined ? ('boolean' as const) : ('string' as const), multiple: true as const },
        ]),
      ),
      allowPositionals: true,
    });
  } catch (error) {
    if (error instanceof UsageError) throw error;
    throw new UsageError(
      `${(error as Error).message.split('. ')[0]!} (magi1 ${command.name} --help lists the options)`,
    );
  }
  const values: Record<string, string | true | readonly string[] | undefined> = {};
  for (const [name, given] of Object.entries(parsed.values)) {
    if (given === undefined) continue;
    const { value = '' } = options[name]!;
    if (NAMED.test(value) && given.some((one) => String(one).trim() === ''))
      throw new UsageError(`--${name}: ${value} expected, got an empty name`);
    if (options[name]?.repeats === true) {
      values[name] = given as string[];
      continue;
    }
    if (given.length > 1) throw new UsageError(`--${name} was given ${given.length} times`);
    values[name] = given[0] as string | true;
  }
  const { positionals } = parsed;
  if (values.help === undefined && positionals.length !== command.positionals) {
    const what =
      positionals.length > command.positionals
        ? `unexpected argument "${positionals.at(-1)!}"`
        : 'an argument is missing';
    throw new UsageError(`${what}; usage: ${command.usage}`);
  }
  return { values, positionals };
}

/** Placeholders of what has a name, a file or a device. */
const NAMED = /^(PATH|FILE|DIR|NAME)/;

/**
 * `--seed -3` -> `--seed=-3`: there are no short options, so one dash begins a value.
 * @throws UsageError where an option that takes a value has none
 */
function joinValues(args: readonly string[], options: Readonly<Record<string, OptionSpec>>): string[] {
  const joined: string[] = [];
  for (let i = 0; i < args.length; i++) {
    const option = args[i]!;
    if (option === '--') return [...joined, ...args.slice(i)];
    const name = option.startsWith('--') ? option.slice(2) : '';
    const value = Object.hasOwn(options, name) ? options[name]!.value : undefined;
    if (value === undefined) {
      joined.push(option);
      continue;
    }
    const next = args[++i];
    if (next === undefined) throw new UsageError(`${option}: ${value} expected, got nothing`);
    if (next.startsWith('--'))
      throw new UsageError(
        `${option}: ${value} expected, got the option ${next} (a value that begins with two dashes: ${option}=${next})`,
      );
    joined.push(`${option}=${next}`);
  }
  return joined;
}

/** `--output_path=x` -> `--output=x`; what is not an option stays as it was typed. */
function modernName(arg: string, options: Readonly<Record<string, OptionSpec>>): string {
  const match = /^--([a-z0-9_-]+)(=[^]*)?$/.exec(arg);
  if (match === null) return arg;
  const name = match[1]!.replaceAll('_', '-');
  const option = Object.keys(options).find((known) => options[known]!.alias === name) ?? name;
  return Object.hasOwn(options, option) ? `--${option}${match[2] ?? ''}` : arg;
}

/** How a command's users call an option of the library; its own name where the command has none for it. */
export function optionNamer({ options }: Command): OptionNamer {
  const names = new Map(Object.entries(options).map(([name, { sets }]) => [sets ?? camelCase(name), `--${name}`]));
  return (option, index) => {
    const name = names.get(option);
    if (name === undefined) return String(new OptionName(option, index));
    return index === undefined ? name : `${name} (number ${index + 1})`;
  };
}

export const camelCase = (name: string): string => name.replace(/-(.)/g, (_, letter: string) => letter.toUpperCase());

export function helpText(command: Command): string {
  const rows = Object.entries({ ...command.options, ...COMMON_OPTIONS }).map(([name, { value, help }]) => ({
    left: `  --${name}${value === undefined ? '' : ` ${value}`}`,
    help,
  }));
  const width = Math.max(...rows.map(({ left }) => left.length)) + 2;
  const lines = rows.map(({ left, help }) => `${left.padEnd(width)}${help}`);
  return `${command.summary}\n\nUsage: ${command.usage}\n\n${lines.join('\n')}\n`;
}

export function text(values: Values, name: string): string | undefined {
  const value = values[name];
  return typeof value === 'string' ? value : undefined;
}

/** Every value of an option that may be repeated. */
export function texts(values: Values, name: string): readonly string[] {
  const value = values[name];
  return typeof value === 'object' ? value : [];
}

/** @throws UsageError when it was not given */
export function requiredText(values: Values, name: string): string {
  const value = text(values, name);
  if (value === undefined) throw new UsageError(`--${name} is missing`);
  return value;
}

export function wholeNumber(values: Values, name: string): number | undefined {
  const value = text(values, name);
  if (value === undefined) return undefined;
  if (!/^[+-]?\d+$/.test(value) || !Number.isSafeInteger(Number(value)))
    throw new UsageError(`--${name}: a whole number expected, got "${value}"`);
  return Number(value);
}

export function decimalNumber(values: Values, name: string): number | undefined {
  const value = text(values, name);
  if (value === undefined) return undefined;
  if (value.trim() === '' || !Number.isFinite(Number(value)))
    throw new UsageError(`--${name}: a number expected, got "${value}"`);
  return Number(value);
}

export function choice<T extends string>(values: Values, name: string, choices: readonly T[]): T | undefined {
  const value = text(values, name);
  if (value === undefined) return undefined;
  if (!(choices as readonly string[]).includes(value))
    throw new UsageError(`--${name}: one of ${choices.join(', ')} expected, got "${value}"`);
  return value as T;
}

const UNITS: ReadonlyMap<string, number> = new Map([
  ['', 1],
  ['b', 1],
  ['byte', 1],
  ['bytes', 1],
  ['kb', 1e3],
  ['mb', 1e6],
  ['gb', 1e9],
  ['tb', 1e12],
  ['k', 2 ** 10],
  ['m', 2 ** 20],
  ['g', 2 ** 30],
  ['t', 2 ** 40],
  ['kib', 2 ** 10],
  ['mib', 2 ** 20],
  ['gib', 2 ** 30],
  ['tib', 2 ** 40],
]);

/** `12GiB`, `500 MB`, `1073741824`. */
export function byteCount(values: Values, name: string): number | undefined {
  const value = text(values, name);
  if (value === undefined) return undefined;
  const match = /^(\d+(?:\.\d+)?)\s*([a-z]*)$/.exec(value.toLowerCase());
  const unit = match === null ? undefined : UNITS.get(match[2]!);
  const bytes = Math.floor(Number(match?.[1]) * (unit ?? NaN));
  if (!(bytes > 0 && bytes <= Number.MAX_SAFE_INTEGER))
    throw new UsageError(`--${name}: bytes expected, as in 12GiB or 500MB, got "${value}"`);
  return bytes;
}
