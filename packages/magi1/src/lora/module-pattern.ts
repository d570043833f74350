// Names of modules as PEFT's settings give them: a regular expression of Python that the end of a module's name matches.
// Own matcher: JavaScript's expressions are another dialect, and a hostile one of them can backtrack for ever. Here all
// places that a part of the expression can reach are followed at once, one bit each.
import { FileFormatError } from '@magi1/tensor';

/** Trainers put these in front of a module's name. */
export const PREFIXES = ['base_model.model.', 'transformer.', 'diffusion_model.', 'model.', 'module.'];

/** A module's name without what trainers put in front of it. */
export function withoutPrefix(module: string): string {
  const prefix = PREFIXES.find((text) => module.startsWith(text));
  return prefix === undefined ? module : withoutPrefix(module.slice(prefix.length));
}

/** Places before and behind characters of a name, the place i as bit i. */
type Places = bigint;

/** One name and what is known of it. */
export interface ModuleName {
  readonly chars: readonly string[];
  /** Places with a character of that kind behind them. */
  readonly masks: Map<CharTest, Places>;
  steps: number;
}

/** The name of a module, to be matched against many keys. */
export function moduleName(name: string): ModuleName {
  if (name.length > MAX_LENGTH)
    throw new FileFormatError(`a module name of ${name.length} characters: ${name.slice(0, 40)}...`);
  return { chars: Array.from(name), masks: new Map(), steps: 0 };
}

type CharTest = (char: string) => boolean;
/** The places that a part leads to from these places. */
type Part = (from: Places, subject: ModuleName) => Places;

/** Parts tried for one name: some hundreds are usual. */
const MAX_STEPS = 200_000;
const MAX_LENGTH = 1000;
const MAX_DEPTH = 50;
const MAX_REPEATS = 1000;

/**
 * Whether PEFT takes a key of `rank_pattern` or `alpha_pattern` for a module of this name.
 * @param what names the key in messages
 * @returns a function of `moduleName(name)`
 * @throws FileFormatError for what is not a regular expression of Python, or one with references or inline flags
 */
export function modulePattern(key: string, what: string): (name: ModuleName) => boolean {
  const whole = new Parser(`(.*\\.)?(${key})$`, what).parse();
  return (name) => {
    name.steps = 0;
    const reached = whole(1n, name);
    if (name.steps > MAX_STEPS)
      throw new FileFormatError(`${what}: too involved to be matched against ${name.chars.join('')}`);
    return reached !== 0n;
  };
}

/** Every part goes through here: nothing is reached any more once too much was tried. */
function part(run: Part): Part {
  return (from, subject) => (from === 0n || ++subject.steps > MAX_STEPS ? 0n : run(from, subject));
}

function character(test: CharTest): Part {
  return part((from, { chars, masks }) => {
    let mask = masks.get(test);
    if (mask === undefined) {
      mask = chars.reduce((places, char, i) => (test(char) ? places | (1n << BigInt(i)) : places), 0n);
      masks.set(test, mask);
    }
    return (from & mask) << 1n;
  });
}

/** Places at which `holds`. */
function assertion(holds: (place: number, subject: ModuleName) => boolean): Part {
  return part((from, subject) => {
    let places = 0n;
    for (let i = 0; i <= subject.chars.length; i++)
      if ((from >> BigInt(i)) & 1n && holds(i, subject)) places |= 1n << BigInt(i);
    return places;
  });
}

/** One test for each character, so that its places in a name are looked for once. */
const LITERALS = new Map<string, CharTest>();
function literal(char: string): Part {
  let test = LITERALS.get(char);
  if (test === undefined) LITERALS.set(char, (test = (other) => other === char));
  return character(test);
}

/** Names have no line ends, which Python's dot leaves out. */
const ANY = character(() => true);
const ANYTHING = part((from, { chars }) => ((1n << BigInt(chars.length + 1)) - 1n) & ~((from & -from) - 1n));

function repeated(inner: Part, least: number, most: number): Part {
  return part((from, subject) => {
    let places = from;
    for (let i = 0; i < least; i++) places = inner(places, subject);
    let fresh = places;
    for (let i = least; i < most && fresh !== 0n; i++) {
      fresh = inner(fresh, subject) & ~places;
      places |= fresh;
    }
    return places;
  });
}

const inSequence = (parts: readonly Part[]): Part =>
  part((from, subject) => parts.reduce((places, each) => (places === 0n ? 0n : each(places, subject)), from));
const eitherOf = (parts: readonly Part[]): Part =>
  parts.length === 1
    ? parts[0]!
    : part((from, subject) => parts.reduce((places, each) => places | each(from, subject), 0n));

const ahead = (inner: Part, wanted: boolean): Part =>
  assertion((place, subject) => (inner(1n << BigInt(place), subject) !== 0n) === wanted);
const behind = (inner: Part, wanted: boolean): Part =>
  assertion((place, subject) => {
    let found = false;
    for (let start = 0; start <= place && !found; start++)
      found = ((inner(1n << BigInt(start), subject) >> BigInt(place)) & 1n) === 1n;
    return found === wanted;
  });

const isWord = (char: string | undefined): boolean => char !== undefined && /[\p{L}\p{N}_]/u.test(char);
const atBoundary = (place: number, { chars }: ModuleName): boolean => isWord(chars[place - 1]) !== isWord(chars[place]);
const atEnd = (place: number, { chars }: ModuleName): boolean => place === chars.length;

const CLASSES = new Map<string, CharTest>([
  ['d', (char) => /\p{Nd}/u.test(char)],
  ['D', (char) => !/\p{Nd}/u.test(char)],
  ['w', isWord],
  ['W', (char) => !isWord(char)],
  ['s', (char) => /\s/.test(char)],
  ['S', (char) => !/\s/.test(char)],
]);
const CONTROLS = new Map(Object.entries({ n: '\n', t: '\t', r: '\r', f: '\f', v: '\v', a: '\x07' }));

class Parser {
  readonly #chars: readonly string[];
  readonly #what: string;
  #at = 0;
  #depth = 0;

  constructor(source: string, what: string) {
    this.#chars = Array.from(source);
    this.#what = what;
    if (this.#chars.length > MAX_LENGTH) this.#fail(`it is longer than ${MAX_LENGTH} characters`);
  }

  parse(): Part {
    const whole = this.#alternatives();
    if (this.#at < this.#chars.length) this.#fail('a ) too many');
    return whole;
  }

  #fail(problem: string): never {
    throw new FileFormatError(`${this.#what}: not a regular expression that is supported: ${problem}`);
  }

  #take(text: string): boolean {
    const found = this.#chars.slice(this.#at, this.#at + text.length).join('') === text;
    if (found) this.#at += text.length;
    return found;
  }

  #next(): string {
    return this.#chars[this.#at++] ?? this.#fail('it ends early');
  }

  #alternatives(): Part {
    if (++this.#depth > MAX_DEPTH) this.#fail(`groups nested deeper than ${MAX_DEPTH}`);
    const options: Part[] = [];
    do options.push(this.#sequence());
    while (this.#take('|'));
    this.#depth--;
    return eitherOf(options);
  }

  #sequence(): Part {
    const parts: Part[] = [];
    while (this.#at < this.#chars.length && !['|', ')'].includes(this.#chars[this.#at]!)) {
      const atom = this.#atom();
      if (atom !== undefined) parts.push(this.#quantified(atom));
    }
    return inSequence(parts);
  }

  #quantified(atom: Part): Part {
    const counts = this.#quantifier();
    if (counts === undefined) return atom;
    if (this.#take('+')) this.#fail('possessive quantifiers are not supported');
    this.#take('?'); // lazy: the same names match
    if (this.#quantifier() !== undefined) this.#fail('two quantifiers in a row');
    return atom === ANY && counts[0] === 0 && counts[1] === Infinity ? ANYTHING : repeated(atom, ...counts);
  }

  #quantifier(): [number, number] | undefined {
    if (this.#take('*')) return [0, Infinity];
    if (this.#take('+')) return [1, Infinity];
    if (this.#take('?')) return [0, 1];
    // A brace that is not a count stands for itself.
    const found = /^\{(\d*)(,?)(\d*)\}/.exec(this.#chars.slice(this.#at, this.#at + 20).join(''));
    if (found === null || found[0] === '{}') return undefined;
    this.#at += found[0].length;
    const least = Number(found[1]);
    const most = found[2] === '' ? least : found[3] === '' ? Infinity : Number(found[3]);
    if (most < least) this.#fail(`${found[0]} is not a range`);
    if (least > MAX_REPEATS || (most !== Infinity && most > MAX_REPEATS))
      this.#fail(`more than ${MAX_REPEATS} repeats`);
    return [least, most];
  }

  /** Undefined for a comment. */
  #atom(): Part | undefined {
    const char = this.#next();
    switch (char) {
      case '.':
        return ANY;
      case '^':
        return assertion((place) => place === 0);
      case '$':
        return assertion(atEnd);
      case '(':
        return this.#group();
      case '[':
        return character(this.#set());
      case '*':
      case '+':
      case '?':
        return this.#fail(`nothing in front of ${char}`);
      case '\\':
        return this.#escape();
      default:
        return literal(char);
    }
  }

  #group(): Part | undefined {
    let wrap = (inner: Part): Part => inner;
    if (this.#take('?')) {
      if (this.#take('#')) {
        while (this.#next() !== ')');
        return undefined;
      }
      if (this.#take('=')) wrap = (inner) => ahead(inner, true);
      else if (this.#take('!')) wrap = (inner) => ahead(inner, false);
      else if (this.#take('<=')) wrap = (inner) => behind(inner, true);
      else if (this.#take('<!')) wrap = (inner) => behind(inner, false);
      else if (this.#take('P<')) while (this.#next() !== '>');
      else if (!this.#take(':')) this.#fail('flags, references, conditions and atomic groups are not supported');
    }
    const inner = this.#alternatives();
    if (!this.#take(')')) this.#fail('a ) is missing');
    return wrap(inner);
  }

  #escape(): Part {
    const char = this.#next();
    if (char === 'A') return assertion((place) => place === 0);
    if (char === 'Z') return assertion(atEnd);
    if (char === 'b') return assertion(atBoundary);
    if (char === 'B') return assertion((place, subject) => !atBoundary(place, subject));
    const known = CLASSES.get(char);
    if (known !== undefined) return character(known);
    return literal(this.#escaped(char));
  }

  /** The character that an escape stands for. */
  #escaped(char: string): string {
    const digits = char === 'x' ? 2 : char === 'u' ? 4 : 0;
    if (digits > 0) {
      const code = this.#chars.slice(this.#at, this.#at + digits).join('');
      if (!new RegExp(`^[0-9a-fA-F]{${digits}}$`).test(code)) this.#fail(`bad \\${char}`);
      this.#at += digits;
      return String.fromCharCode(parseInt(code, 16));
    }
    const control = CONTROLS.get(char);
    if (control !== undefined) return control;
    if (/[A-Za-z0-9]/.test(char)) this.#fail(`\\${char} is not supported`);
    return char;
  }

  #set(): CharTest {
    const negated = this.#take('^');
    const tests: CharTest[] = [];
    for (let first = true; first || this.#chars[this.#at] !== ']'; first = false) {
      const start = this.#setMember();
      if (typeof start === 'string' && this.#chars[this.#at] === '-' && this.#chars[this.#at + 1] !== ']') {
        this.#at++;
        const end = this.#setMember();
        if (typeof end !== 'string' || end < start) return this.#fail('a bad range in [ ]');
        tests.push((char) => char >= start && char <= end);
      } else {
        tests.push(typeof start === 'string' ? (char) => char === start : start);
      }
    }
    this.#at++;
    return (char) => tests.some((test) => test(char)) !== negated;
  }

  #setMember(): string | CharTest {
    const char = this.#next();
    if (char !== '\\') return char;
    const escaped = this.#next();
    return CLASSES.get(escaped) ?? (escaped === 'b' ? '\b' : this.#escaped(escaped));
  }
}
