// A layout: how one kind of file spells a network's weights. Ours are the original's names.
import type { ParamSpecs, WeightPart } from '../nn/index.ts';

/**
 * One spelling of a weight: its name in the file, or the names of several tensors whose rows make it up, in turn and
 * `rows` at a time (all of one, then all of the next, when left out). `*` stands for the number of a block.
 */
export type Spelling = string | { readonly parts: readonly string[]; readonly rows?: number };

/** A weight or module of ours, and how files may spell it; the first spelling is the one that errors show. */
export type LayoutRow = readonly [ours: string, ...spellings: Spelling[]];

export interface Layout {
  readonly name: string;
  readonly rows: readonly LayoutRow[];
}

export interface SpelledWeight {
  readonly parts: readonly string[];
  readonly rows: number | undefined;
}

/** Every spelling of one of our names; none when the table has no row for it. `*` and the rest of the name carry over. */
function spellings({ rows }: Layout, name: string): SpelledWeight[] {
  let best: { row: LayoutRow; block: string; rest: string } | undefined;
  for (const row of rows) {
    const match = matchPrefix(row[0], name);
    if (match !== undefined && (best === undefined || match.rest.length < best.rest.length)) best = { row, ...match };
  }
  if (best === undefined) return [];
  const { row, block, rest } = best;
  return row.slice(1).map((spelling) => {
    const { parts, rows: turn } = typeof spelling === 'string' ? { parts: [spelling], rows: undefined } : spelling;
    return { parts: parts.map((part) => part.replace('*', block) + rest), rows: turn };
  });
}

/** Where `pattern` ends in `name`, on a dot or at the end. */
function matchPrefix(pattern: string, name: string): { block: string; rest: string } | undefined {
  const [before, after] = pattern.split('*') as [string, string | undefined];
  if (!name.startsWith(before)) return undefined;
  let block = '';
  let at = before.length;
  if (after !== undefined) {
    block = /^\d+/.exec(name.slice(at))?.[0] ?? '';
    at += block.length;
    if (block === '' || !name.startsWith(after, at)) return undefined;
    at += after.length;
  }
  return at === name.length || name[at] === '.' ? { block, rest: name.slice(at) } : undefined;
}

/** Names in a file -> weights of a model, under one layout. */
export class FileNames {
  readonly layout: Layout;
  readonly #targets = new Map<string, string | WeightPart>();

  constructor(layout: Layout, specs: ParamSpecs) {
    this.layout = layout;
    for (const name of specs.keys()) {
      for (const { parts, rows } of spellings(layout, name)) {
        for (const [part, file] of parts.entries())
          this.#targets.set(file, parts.length === 1 ? name : { weight: name, part, parts: parts.length, rows });
      }
    }
  }

  /** Our name, or which part of it; undefined where this layout does not know the name. */
  target(file: string): string | WeightPart | undefined {
    return this.#targets.get(file);
  }

  /** Every spelling of one of our names. */
  spellings(name: string): readonly SpelledWeight[] {
    return spellings(this.layout, name);
  }

  [Symbol.iterator](): IterableIterator<[string, string | WeightPart]> {
    return this.#targets.entries();
  }

  /** How many of a file's names this layout knows. */
  known(names: Iterable<string>): number {
    let count = 0;
    for (const name of names) if (this.#targets.has(name)) count++;
    return count;
  }
}

/** Translates a file's names by the layout, of those given, that knows most of them. */
export function layoutNames(layouts: readonly Layout[], specs: ParamSpecs) {
  let detected: { all: ReadonlySet<string>; names: FileNames } | undefined;
  const detect = (all: ReadonlySet<string>): FileNames => {
    if (detected?.all !== all) detected = { all, names: best(all) };
    return detected.names;
  };
  const best = (all: ReadonlySet<string>): FileNames => {
    let most: { names: FileNames; known: number } | undefined;
    for (const layout of layouts) {
      const names = new FileNames(layout, specs);
      const known = names.known(all);
      if (most === undefined || known > most.known) most = { names, known };
      if (known === all.size) break; // no other can know more
    }
    return most!.names;
  };
  return {
    // A name that the layout does not know stays as it is: it will be named as left over.
    rename: (name: string, all: ReadonlySet<string>): string | WeightPart => detect(all).target(name) ?? name,
    spelling: (name: string, all: ReadonlySet<string>): string => {
      return detect(all).spellings(name)[0]?.parts.join(' + ') ?? name;
    },
    layoutOf: (all: ReadonlySet<string>): string => detect(all).layout.name,
  };
}
