// The table of special tokens: many models come without one, which is said before any work.
import { NotFoundError } from '@magi1/loaders';
import type { SpecialTokenSwitches } from '../config/index.ts';
import { RequestError, joined, option, worded } from '../wording.ts';
import { tokenOptionOf } from './check-options.ts';
import type { ModelFiles } from './model.ts';
import type { GenerationOptions } from './request.ts';

/** The environment's names of the switches. */
const VARIABLES: Readonly<Record<keyof SpecialTokenSwitches, string>> = {
  static: 'PAD_STATIC',
  dynamic: 'PAD_DYNAMIC',
  borderness: 'PAD_BORDERNESS',
  hq: 'PAD_HQ',
  threeDModel: 'PAD_THREE_D_MODEL',
  twoDAnime: 'PAD_TWO_D_ANIME',
  duration: 'PAD_DURATION',
  negative: 'NEG_PROMPT',
};

/**
 * Reads the table where a switch is on.
 * @throws RequestError naming the switches where the model has no table, Magi1Error where it cannot be used
 */
export async function requireSpecialTokens(
  files: Pick<ModelFiles, 'specialTokens'>,
  request: GenerationOptions,
  switches: SpecialTokenSwitches,
): Promise<void> {
  const on = (Object.keys(switches) as (keyof SpecialTokenSwitches)[]).filter((key) => switches[key]);
  if (on.length === 0) return;
  try {
    await files.specialTokens();
  } catch (error) {
    if (!(error instanceof NotFoundError)) throw error;
    const names = on.map((key) => {
      const given = tokenOptionOf(request, key);
      return given === undefined ? worded`${VARIABLES[key]}` : worded`${option(given)}`;
    });
    throw new RequestError(
      worded`${joined(names, ', ')}: this model has no table of special tokens (${error.message}); leave ${on.length === 1 ? 'it' : 'them'} out, or name the special_tokens.npz that belongs to the model in SPECIAL_TOKEN_PATH`,
    );
  }
}
