// What is said about a LoRA outside its tensors: PEFT's settings, beside the file or in its metadata, or a trainer's.
import { FileFormatError } from '@magi1/tensor';
import { moduleName, modulePattern, withoutPrefix } from './module-pattern.ts';
import type { ModuleName } from './module-pattern.ts';
import type { Setting } from './read-lora.ts';

/** A key of `alpha_pattern` or `rank_pattern`, in the file's order. */
interface PatternRow {
  readonly key: string;
  readonly matches: (name: ModuleName) => boolean;
  readonly value: number;
}

const MAX_KEYS = 10_000;
/** Initialisations that take the first factors out of the base weights: these factors belong to those other weights. */
const CHANGES_BASE = /^(pissa(_niter_\d+)?|corda|olora|loftq|lora_ga)$/i;
/** Settings under which the factors alone are not what the adapter does. */
const OTHER_METHODS = [
  'use_dora',
  'use_qalora',
  'use_bdlora',
  'alora_invocation_tokens',
  'arrow_config',
  'kasa_config',
];
const SHOWN = 3;

export class AdapterSettings {
  readonly #settings: ReadonlyMap<string, Setting>;
  readonly #source: string;
  readonly #alphas: readonly PatternRow[];
  readonly #ranks: readonly PatternRow[];
  readonly #peft: boolean;
  readonly #ambiguous: string[] = [];
  readonly #otherRanks: string[] = [];

  /**
   * @param source where the settings come from
   * @throws FileFormatError for settings of the wrong type, and for adapters that are more than their factors
   */
  constructor(settings: ReadonlyMap<string, Setting>, source: string) {
    this.#settings = settings;
    this.#source = source;
    this.#peft = ['lora_alpha', 'r', 'peft_type', 'alpha_pattern'].some((name) => this.#setting(name) !== undefined);
    this.#refuseOthers();
    this.#alphas = this.#pattern('alpha_pattern');
    this.#ranks = this.#pattern('rank_pattern');
  }

  /**
   * What B A of a module is multiplied by: alpha / rank (its root where the adapter was trained so); alpha is the rank
   * where nothing is said.
   * @param own alpha among the tensors
   * @returns the fault, as text, where that is not a finite number
   */
  strength(module: string, rank: number, own: number | undefined): number | string {
    const declared = this.#find(this.#ranks, module) ?? this.#number('r');
    if (declared !== undefined && declared !== rank) this.#otherRanks.push(`${module} ${rank} and not ${declared}`);
    const alpha =
      own ?? this.#find(this.#alphas, module) ?? this.#number('lora_alpha') ?? this.#number('ss_network_alpha') ?? rank;
    const scale = this.#setting('use_rslora') === true ? alpha / Math.sqrt(rank) : alpha / rank;
    return Number.isFinite(scale) ? scale : `${module}: alpha ${alpha} is not a finite number`;
  }

  notes(): string[] {
    return [
      ...(this.#peft ? [`strengths as ${this.#source} says`] : []),
      ...summary(this.#ambiguous, 'two keys match one module, and PEFT sorts them when it saves; the first one counts'),
      ...summary(this.#otherRanks, 'other ranks than the settings say, those of the factors count'),
    ];
  }

  /** Settings may carry the name of the network they are for. */
  #setting(name: string): Setting | undefined {
    return this.#settings.get(name) ?? this.#settings.get(`transformer.${name}`) ?? undefined;
  }

  #fail(problem: string): never {
    throw new FileFormatError(`${this.#source}: ${problem}`);
  }

  /** Metadata are texts, numbers among them too. */
  #number(name: string): number | undefined {
    const value = this.#setting(name);
    if (value === undefined || value === 'None') return undefined;
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value;
    return this.#finite(name, Number.isNaN(number) ? value : number);
  }

  #finite(name: string, value: Setting): number {
    if (typeof value === 'number' && Number.isFinite(value)) return value;
    return this.#fail(`${name}: a finite number expected, got ${show(value)}`);
  }

  #pattern(name: string): PatternRow[] {
    const value = this.#setting(name);
    if (value === undefined) return [];
    if (!(value instanceof Map)) return this.#fail(`${name}: an object expected, got ${show(value)}`);
    const rows = value as ReadonlyMap<string, Setting>;
    if (rows.size > MAX_KEYS) this.#fail(`${name}: ${rows.size} keys, at most ${MAX_KEYS} expected`);
    return [...rows].map(([key, item]) => {
      const what = `${name} ${JSON.stringify(key)}`;
      return {
        key,
        matches: modulePattern(key, `${this.#source}: ${what}`),
        value: this.#finite(what, item),
      };
    });
  }

  /** The value of the first key that matches; PEFT matches names without what it and pipelines put in front. */
  #find(rows: readonly PatternRow[], module: string): number | undefined {
    if (rows.length === 0) return undefined;
    const name = moduleName(withoutPrefix(module));
    const found = rows.filter(({ matches }) => matches(name));
    const [first] = found;
    const other = found.find(({ value }) => value !== first?.value);
    if (first && other)
      this.#ambiguous.push(
        `${module}: ${JSON.stringify(first.key)} ${first.value}, ${JSON.stringify(other.key)} ${other.value}`,
      );
    return first?.value;
  }

  #refuseOthers(): void {
    const kind = this.#setting('peft_type');
    if (kind !== undefined && kind !== 'LORA') this.#fail(`peft_type is ${show(kind)}, "LORA" expected`);
    const start = this.#setting('init_lora_weights');
    if (typeof start === 'string' && CHANGES_BASE.test(start))
      this.#fail(
        `init_lora_weights is ${show(start)}: it changed the base weights, so these factors do not fit the model's own; ` +
          'convert the adapter to a plain LoRA first (PEFT: save_pretrained with path_initial_model_for_weight_conversion)',
      );
    const other = OTHER_METHODS.find((name) => ![undefined, false].includes(this.#setting(name) as undefined));
    if (other !== undefined)
      this.#fail(`${other} is set: this adapter is more than its factors; merge it into the weights with PEFT instead`);
  }
}

function summary(items: readonly string[], what: string): string[] {
  if (items.length === 0) return [];
  const more = items.length > SHOWN ? `; and ${items.length - SHOWN} more` : '';
  return [`${what} (${items.slice(0, SHOWN).join('; ')}${more})`];
}

function show(value: Setting | undefined): string {
  if (value instanceof Map) return 'an object';
  if (typeof value === 'object') return value === null ? 'null' : 'a list';
  return typeof value === 'number' ? String(value) : JSON.stringify(value);
}
