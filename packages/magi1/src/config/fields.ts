// What a field of a JSON file must be. Small, since every start of the program reads files by it.

/** A field's check: what is expected of it, and whether a value is that. */
export interface Field<T> {
  readonly expected: string;
  readonly fits: (value: unknown) => value is T;
  /** Checks of the entries of a list. */
  readonly items?: Field<unknown>;
  readonly optional?: true;
}

export type Fields = Readonly<Record<string, Field<unknown>>>;
type Optional<Shape extends Fields> = {
  [Name in keyof Shape]: Shape[Name] extends { readonly optional: true } ? Name : never;
}[keyof Shape];
type ValueOf<One> = One extends Field<infer T> ? T : never;

/** The type that fields describe. */
export type Described<Shape extends Fields> = {
  readonly [Name in Exclude<keyof Shape, Optional<Shape>>]: ValueOf<Shape[Name]>;
} & { readonly [Name in Optional<Shape>]?: ValueOf<Shape[Name]> | undefined };

const field = <T>(expected: string, fits: (value: unknown) => boolean): Field<T> => ({
  expected,
  fits: (value): value is T => fits(value),
});

const isNumber = (value: unknown): value is number => typeof value === 'number' && Number.isFinite(value);

export const text = field<string>('text', (value) => typeof value === 'string');
export const trueOrFalse = field<boolean>('true or false', (value) => typeof value === 'boolean');
export const number = field<number>('a number', isNumber);
export const positive = field<number>('a number above 0', (value) => isNumber(value) && value > 0);
export const wholeNumber = field<number>('a whole number', Number.isSafeInteger);

export function whole(least: number, most = Number.MAX_SAFE_INTEGER): Field<number> {
  const range = most === Number.MAX_SAFE_INTEGER ? `of ${least} or more` : `from ${least} to ${most}`;
  return field(
    `a whole number ${range}`,
    (value) => Number.isSafeInteger(value) && (value as number) >= least && (value as number) <= most,
  );
}

export function oneOf<const T extends string | number>(...choices: readonly T[]): Field<T> {
  return field(`one of ${choices.join(', ')}`, (value) => (choices as readonly unknown[]).includes(value));
}

export function either<A, B>(a: Field<A>, b: Field<B>): Field<A | B> {
  return field(`${a.expected} or ${b.expected}`, (value) => a.fits(value) || b.fits(value));
}

export function list<T>(items: Field<T>, least: number, most: number): Field<T[]> {
  const fits = (value: unknown) => Array.isArray(value) && value.length >= least && value.length <= most;
  return { ...field<T[]>(`a list of ${least} to ${most}`, fits), items };
}

export function optional<T>(one: Field<T>): Field<T> & { readonly optional: true } {
  return { ...one, optional: true };
}

/** `PATH: WHAT expected, got VALUE` for every value that is not what it must be. */
export function fieldFaults(values: Readonly<Record<string, unknown>>, fields: Fields, path = ''): string[] {
  return Object.entries(fields).flatMap(([name, one]) => {
    const value = values[name];
    return value === undefined && one.optional === true ? [] : valueFaults(value, one, `${path}${name}`);
  });
}

function valueFaults(value: unknown, { expected, fits, items }: Field<unknown>, path: string): string[] {
  if (!fits(value)) return [`${path}: ${expected} expected, got ${kindOf(value)}`];
  if (items === undefined) return [];
  return (value as unknown[]).flatMap((item, i) => valueFaults(item, items, `${path}.${i}`));
}

export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** A value of a JSON file as it shows in messages. */
export function kindOf(value: unknown): string {
  if (typeof value === 'object')
    return value === null ? 'null' : Array.isArray(value) ? `a list of ${value.length}` : 'an object';
  return value === undefined ? 'nothing' : JSON.stringify(value);
}
