// The environment switches that the original's scripts use, read once into a plain object.
import { ConfigError } from './parse.ts';

/** Which special tokens are put before the caption, and whether negative tokens are put before the null text. */
export interface SpecialTokenSwitches {
  readonly static: boolean;
  readonly dynamic: boolean;
  readonly borderness: boolean;
  readonly hq: boolean;
  readonly threeDModel: boolean;
  readonly twoDAnime: boolean;
  readonly duration: boolean;
  readonly negative: boolean;
}

/** The environment's names of the switches. */
export const SPECIAL_TOKEN_VARIABLES: Readonly<Record<keyof SpecialTokenSwitches, string>> = {
  static: 'PAD_STATIC',
  dynamic: 'PAD_DYNAMIC',
  borderness: 'PAD_BORDERNESS',
  hq: 'PAD_HQ',
  threeDModel: 'PAD_THREE_D_MODEL',
  twoDAnime: 'PAD_TWO_D_ANIME',
  duration: 'PAD_DURATION',
  negative: 'NEG_PROMPT',
};

const switches = (on: (key: keyof SpecialTokenSwitches) => boolean): SpecialTokenSwitches => {
  const keys = Object.keys(SPECIAL_TOKEN_VARIABLES) as (keyof SpecialTokenSwitches)[];
  return Object.fromEntries(keys.map((key) => [key, on(key)])) as Record<keyof SpecialTokenSwitches, boolean>;
};

export const NO_SPECIAL_TOKENS = switches(() => false);

export interface Environment {
  readonly specialTokens: SpecialTokenSwitches;
  /** SPECIAL_TOKEN_PATH: the npz with the token table; null where unset. */
  readonly specialTokenPath: string | URL | null;
  /** prev_chunks_scale: share of the pass that sees previous chunks in a distilled model's nearly clean chunk. */
  readonly prevChunksScale: number;
  readonly offloadT5Cache: boolean;
  readonly offloadVaeCache: boolean;
}

const DEFAULT_PREV_CHUNKS_SCALE = 0.7;
const TRUE_WORDS = new Set(['1', 'true', 'yes', 'y', 'on', 'enabled']);

/**
 * Reads PAD_*, NEG_PROMPT, SPECIAL_TOKEN_PATH, prev_chunks_scale and OFFLOAD_*; everything else is left alone.
 * @throws ConfigError if prev_chunks_scale is not a number
 */
export function readEnvironment(env: Readonly<Record<string, string | undefined>>): Environment {
  const on = (name: string): boolean => TRUE_WORDS.has((env[name] ?? '').trim().toLowerCase());
  return {
    specialTokens: switches((key) => on(SPECIAL_TOKEN_VARIABLES[key])),
    specialTokenPath: env.SPECIAL_TOKEN_PATH || null,
    prevChunksScale: readScale(env.prev_chunks_scale),
    // These two accept only the word itself.
    offloadT5Cache: env.OFFLOAD_T5_CACHE === 'true',
    offloadVaeCache: env.OFFLOAD_VAE_CACHE === 'true',
  };
}

function readScale(text: string | undefined): number {
  if (text === undefined || text.trim() === '') return DEFAULT_PREV_CHUNKS_SCALE;
  const value = Number(text);
  if (!Number.isFinite(value))
    throw new ConfigError(`environment variable prev_chunks_scale: expected a number, got "${text}"`);
  return value;
}
